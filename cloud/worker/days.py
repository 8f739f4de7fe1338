"""A machine's day under way, for the comparison with its peers."""

from msgspec import Struct

from cloud.core.evidence import NS
from models import artefact, peers
from models.peers import Day
from models.sample import Layout, Sample, Vector

DAY_NS = 86400 * NS


class Today(Struct):
    """A machine's day under way."""

    number: int
    """Days since 1970; -1 before the first."""
    day: Day


def begin(layout: Layout, number: int = -1) -> Today:
    """Return a day without readings."""
    return Today(number, peers.start(layout))


def add(today: Today, s: Sample, layout: Layout) -> tuple[int, tuple[Vector, Vector]] | None:
    """Take in a judged reading, in place; return the day before it, summed up, if it is over.

    A reading from an earlier day changes nothing.
    """
    number, ended = s.time_ns // DAY_NS, None
    if number > today.number:
        if today.number >= 0:
            ended = today.number, peers.summarise(today.day)
        today.number, today.day = number, peers.start(layout)
    if number == today.number:
        peers.add(today.day, s, layout)
    return ended


def made_from(layout: Layout) -> list[list[str]]:
    """Return what saved days depend on."""
    return [["peers"], *layout.fingerprint()]


def save(today: Today, layout: Layout) -> bytes:
    """Return the day under way as bytes."""
    return artefact.pack(today, made_from(layout))


def restore(data: bytes, layout: Layout) -> Today:
    """Go on with a saved day.

    Raises:
        Malformed: it does not fit this machine type or version.
    """
    return artefact.unpack(data, Today, made_from(layout))
