"""When to poll a device next.

Times are plant time on a clock that never jumps. Each device has a schedule of its own, so a
silent one delays nobody; on a bus that several share, its probes may take a tenth of the time.
"""

from msgspec import Struct

BACKOFF_CAP_S = 60.0
"""A device that came back is noticed after this long at the latest, or after its interval."""
SILENT_AFTER = 2
"""Failed reads in a row before a device counts as silent: one lost frame is no news."""
PROBE_SHARE = 0.1
"""Share of a bus's time that its silent units may cost together."""


class Schedule(Struct, frozen=True):
    """When a device is due, and how many reads in a row have failed."""

    interval_ns: int
    due_ns: int
    failures: int = 0

    @property
    def silent(self) -> bool:
        """Tell whether the device counts as silent."""
        return self.failures >= SILENT_AFTER


def start(interval_s: float, now_ns: int) -> Schedule:
    """Poll at once, then at every interval."""
    return Schedule(interval_ns=int(interval_s * 1e9), due_ns=now_ns)


def answered(schedule: Schedule, now_ns: int) -> Schedule:
    """Go on to the next tick that lies ahead; ticks that were missed are skipped, not made up."""
    return Schedule(schedule.interval_ns, _next_tick(schedule, now_ns))


def failed(
    schedule: Schedule, now_ns: int, spent_ns: int, silent_units: int, units: int
) -> Schedule:
    """Wait twice as long after every failure, up to a cap, and longer to be fair to others.

    Args:
        schedule: the schedule so far.
        now_ns: when the attempt ended.
        spent_ns: how long an attempt keeps the bus.
        silent_units: silent devices on this bus, this one included.
        units: devices on this bus; while all are silent, nobody suffers from a probe.
    """
    failures = schedule.failures + 1
    if failures < SILENT_AFTER:
        return Schedule(schedule.interval_ns, _next_tick(schedule, now_ns), failures)
    cap_ns = max(int(BACKOFF_CAP_S * 1e9), schedule.interval_ns)
    wait_ns = min(schedule.interval_ns << min(failures - 1, 16), cap_ns)
    if silent_units < units:
        fair_ns = int(silent_units * spent_ns / PROBE_SHARE) - spent_ns
        wait_ns = max(wait_ns, fair_ns)
    return Schedule(schedule.interval_ns, now_ns + wait_ns, failures)


def pause_s(timeout_s: float, most_s: float) -> float:
    """Return how long a command leaves a device alone that did not answer.

    Three timeouts leave its neighbours most of the bus; `most_s` keeps the command on time.
    """
    return min(3 * timeout_s, most_s)


def _next_tick(schedule: Schedule, now_ns: int) -> int:
    missed = max(0, (now_ns - schedule.due_ns) // schedule.interval_ns)
    return schedule.due_ns + (missed + 1) * schedule.interval_ns
