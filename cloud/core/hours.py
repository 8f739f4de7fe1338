"""A machine's hours as vectors: the mean deviation of every signal, for what wears slowly.

Hours are of event time. A reading that is older than the hour under way changes nothing, so
readings that are replayed after a crash count once.
"""

from msgspec import Struct

from cloud.core.evidence import NS
from contract.faults import Deviation, Direction

HOUR_NS = 3600 * NS
SIGMAS_MAX = 50.0
"""Some ten times the alarm level: how sick a machine is beyond that, no life can tell any more."""
READINGS_MIN = 20
"""Deviations are smoothed over ten readings: fewer than two such spans are no mean of an hour."""


class Hour(Struct):
    """Sums over the judged readings of one hour, by signal; as large as the machine type."""

    number: int = -1
    """Hours since 1970; -1 before the first."""
    readings: int = 0
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}


class Ended(Struct, frozen=True):
    """An hour that is over."""

    end_ns: int
    means: dict[str, float]
    """Signed, in sigmas of healthy running; signals that were not judged are missing."""


def add(hour: Hour, time_ns: int, deviations: list[Deviation]) -> Ended | None:
    """Take in one judged reading, in place; return the hour before it if that is over now.

    An hour with too few judged readings ends without a word.
    """
    number = time_ns // HOUR_NS
    ended = None
    if number > hour.number:
        ended = _ended(hour)
        hour.number, hour.readings, hour.sums, hour.counts = number, 0, {}, {}
    elif number < hour.number:
        return None
    hour.readings += 1
    for d in deviations:
        sign = 1.0 if d.direction is Direction.ABOVE else -1.0
        hour.sums[d.signal] = hour.sums.get(d.signal, 0.0) + sign * min(d.sigmas, SIGMAS_MAX)
        hour.counts[d.signal] = hour.counts.get(d.signal, 0) + 1
    return ended


def _ended(hour: Hour) -> Ended | None:
    if hour.readings < READINGS_MIN:
        return None
    means = {name: total / hour.counts[name] for name, total in hour.sums.items()}
    return Ended((hour.number + 1) * HOUR_NS, means)
