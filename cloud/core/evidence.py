"""What measurements say about health. Silence says nothing.

Evidence is ordered by the time it was measured. What is older than the newest seen never acts.
"""

from msgspec import Struct

NS = 10**9


class Streak(Struct, frozen=True, kw_only=True):
    """The newest evidence, and the unbroken run of healthy evidence that leads up to it."""

    last_ns: int = 0
    healthy: bool | None = None
    """What the newest evidence said; None while there is none."""
    since_ns: int = 0
    """When the run began; meaningless unless ``healthy``."""
    samples: int = 0
    """Length of the run."""
    sick_ns: int = 0
    """When the fault was last seen."""


def add(streak: Streak, measured_ns: int, dwell_s: float, *, healthy: bool) -> Streak:
    """Return the streak after one more measurement, which must be newer than the newest.

    A run with a gap longer than the dwell itself begins anew: nobody knows what happened in it.
    """
    if not healthy:
        return Streak(last_ns=measured_ns, healthy=False, sick_ns=measured_ns)
    unbroken = streak.healthy and measured_ns - streak.last_ns <= dwell_s * NS
    return Streak(
        last_ns=measured_ns,
        healthy=True,
        since_ns=streak.since_ns if unbroken else measured_ns,
        samples=streak.samples + 1 if unbroken else 1,
        sick_ns=streak.sick_ns,
    )


def proven(streak: Streak, dwell_s: float, min_samples: int) -> bool:
    """Tell whether the run is long and dense enough to call the machine healthy."""
    return (
        streak.healthy is True
        and streak.samples >= min_samples
        and streak.last_ns - streak.since_ns >= dwell_s * NS
    )


def promising(streak: Streak, now_ns: int, dwell_s: float) -> bool:
    """Tell whether a run is under way that may still become proof."""
    return streak.healthy is True and now_ns - streak.last_ns <= dwell_s * NS


def sick(streak: Streak, now_ns: int, dwell_s: float) -> bool:
    """Tell whether the newest evidence shows the fault, and is fresh."""
    return streak.healthy is False and now_ns - streak.last_ns <= dwell_s * NS
