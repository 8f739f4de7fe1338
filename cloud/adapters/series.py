"""Telemetry over time: the port, and the choice of what fills it."""

import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

NAME_MAX = 128
FIELDS_MAX = 512
TAGS = ("device", "site")
TIME_MAX_NS = 2**63 - 2
"""As in InfluxDB: every time has one after it."""


class Frame(NamedTuple):
    """What was measured of many devices at many instants: n rows of k fields.

    Rows of one measurement are best given with one and the same ``fields``: a store keeps them
    together. A value of a row that is there already is replaced, unless the new one is NaN.
    """

    measurement: str
    """Name of the machine type."""
    fields: tuple[str, ...]
    devices: list[str]
    """Whose each row is (n)."""
    sites: list[str]
    """Where each device stands (n)."""
    times_ns: NDArray[np.int64]
    """Event time of each row (n), nanoseconds since 1970 UTC, in any order."""
    values: NDArray[np.float64]
    """(n, k); NaN: there is no value, and nothing is written for it."""


class Row(Struct, frozen=True):
    """What was measured of one device at one instant: how a store shows what it refuses."""

    measurement: str
    tags: Mapping[str, str]
    """Names whose it is: ``device`` and ``site``."""
    fields: Mapping[str, float | None]
    """Numbers by name; None means that there is no value."""
    time_ns: int
    """Event time, nanoseconds since 1970 UTC."""


Rejected = list[tuple[Row, str]]
"""Rows that will never be taken, each with the reason. They are not to be sent again."""


class Points(Struct, frozen=True):
    """Columns of equal length: ``columns[field][i]`` belongs to ``times_ns[i]``."""

    times_ns: list[int]
    columns: dict[str, list[float | None]]


class Readable(Protocol):
    """Telemetry to be read."""

    def read(  # noqa: PLR0917 (what, then when, then how much)
        self,
        measurement: str,
        device: str,
        fields: list[str],
        from_ns: int,
        to_ns: int,
        max_points: int,
    ) -> Points:
        """Return what was measured from ``from_ns`` until before ``to_ns``.

        Up to ``max_points`` rows come as they are. More are averaged in equal spans of time, each
        given at its beginning.

        Raises:
            Unreachable: the store does not answer.
        """
        ...

    def last(self, measurement: str, device: str) -> dict[str, float]:
        """Return the values of the newest row; nothing if there is none.

        Raises:
            Unreachable: the store does not answer.
        """
        ...

    def close(self) -> None:
        """Close files and connections."""
        ...


class Series(Readable, Protocol):
    """A store of rows. One row is told from another by measurement, device and time."""

    def write(self, frames: Sequence[Frame]) -> Rejected:
        """Keep rows durably; a row that is there already takes the new values.

        Returns:
            The rows that will never be taken.

        Raises:
            Unreachable: not all rows were kept; the same call may work later, and repeating it
                changes nothing about those that were.
        """
        ...


def row(frame: Frame, i: int) -> Row:
    """Return one row of a frame."""
    values = [None if math.isnan(value) else value for value in frame.values[i].tolist()]
    return Row(
        frame.measurement,
        {"device": frame.devices[i], "site": frame.sites[i]},
        dict(zip(frame.fields, values, strict=True)),
        int(frame.times_ns[i]),
    )


def sift(frames: Sequence[Frame]) -> tuple[list[Frame], Rejected]:
    """Part rows that may be written from those that no store may take.

    Names are held to what InfluxDB's line protocol can carry: it has no way to write control
    characters or backslashes, and keeps ``time`` for itself.
    """
    good: list[Frame] = []
    rejected: Rejected = []
    for frame in frames:
        reason = next(_name_problems(frame), "")
        bad = dict.fromkeys(range(len(frame.devices)), reason) if reason else _bad_rows(frame)
        rejected += [(row(frame, i), why) for i, why in sorted(bad.items())]
        if len(bad) < len(frame.devices):
            good.append(_without(frame, bad) if bad else frame)
    return good, rejected


def _name_problems(frame: Frame) -> Iterator[str]:
    if len(frame.fields) > FIELDS_MAX:
        yield f"it has {len(frame.fields)} fields, more than {FIELDS_MAX}"
    for name in (frame.measurement, *frame.fields):
        if not _writable(name):
            yield f"{name[:NAME_MAX]!r} is no name for a measurement or field"
    if frame.measurement.startswith("#"):
        yield f"measurement {frame.measurement!r} begins like a comment"
    if len({*TAGS, "time", *frame.fields}) < len(TAGS) + 1 + len(frame.fields):
        yield "a name stands for two of tag, field and time"


def _bad_rows(frame: Frame) -> dict[int, str]:
    """Say of single rows why they cannot be written."""
    found: dict[int, str] = {}
    for names in (frame.devices, frame.sites):
        strange = {name for name in set(names) if not _writable(name)}
        if strange:
            for i, name in enumerate(names):
                if name in strange:
                    found[i] = f"{name[:NAME_MAX]!r} is no name for a device or site"
    for wrong, why in (
        (np.isinf(frame.values).any(axis=1), "a value is not a finite number"),
        (np.isnan(frame.values).all(axis=1), "it has no values"),
        (frame.times_ns < 0, "its time is before 1970"),
        (frame.times_ns > TIME_MAX_NS, f"its time is after {TIME_MAX_NS} ns"),
    ):
        found.update(dict.fromkeys(np.flatnonzero(wrong).tolist(), why))
    return found


def _without(frame: Frame, bad: Mapping[int, str]) -> Frame:
    kept = [i for i in range(len(frame.devices)) if i not in bad]
    return frame._replace(
        devices=[frame.devices[i] for i in kept],
        sites=[frame.sites[i] for i in kept],
        times_ns=frame.times_ns[kept],
        values=frame.values[kept],
    )


@lru_cache(maxsize=65536)  # the same names come in every frame
def _writable(name: str) -> bool:
    if not 0 < len(name) <= NAME_MAX or "\\" in name:
        return False
    return name.isprintable() or not any(
        unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name
    )


def bucket_ns(from_ns: int, to_ns: int, max_points: int) -> int:
    """Return the span over which to average, so that at most ``max_points`` cover the range."""
    return max(1, -(-(to_ns - from_ns) // max(1, max_points)))
