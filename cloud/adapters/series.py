"""Telemetry over time: the port, and the choice of what fills it."""

import math
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Protocol

from msgspec import Struct

NAME_MAX = 128
FIELDS_MAX = 512


class Row(Struct, frozen=True):
    """What was measured of one device at one instant."""

    measurement: str
    tags: Mapping[str, str]
    """Names whose it is; ``device`` is always among them."""
    fields: Mapping[str, float | None]
    """Numbers by name; None means that there is no value, and nothing is written for it."""
    time_ns: int
    """Event time, nanoseconds since 1970 UTC."""


class Points(Struct, frozen=True):
    """Columns of equal length: ``columns[field][i]`` belongs to ``times_ns[i]``."""

    times_ns: list[int]
    columns: dict[str, list[float | None]]


class Series(Protocol):
    """A store of rows. One row is told from another by measurement, tags and time."""

    def write(self, rows: list[Row]) -> list[tuple[Row, str]]:
        """Keep rows durably; a row that is there already takes the new values.

        Returns:
            The rows that will never be taken, each with the reason. They are not to be sent again.

        Raises:
            Unreachable: not all rows were kept; the same call may work later, and repeating it
                changes nothing about those that were.
        """
        ...

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


def problem(row: Row) -> str:
    """Say why no store may take a row; empty if it may.

    Names are held to what InfluxDB's line protocol can carry: it has no way to write control
    characters or backslashes, and keeps ``time`` for itself.
    """
    return next(_problems(row), "")


def _problems(row: Row) -> Iterator[str]:
    if "device" not in row.tags:
        yield "the tag device is missing"
    if not 0 <= row.time_ns < 2**63:
        yield f"time {row.time_ns} is outside 0 to 2^63-1"
    values = [value for value in row.fields.values() if value is not None]
    if not values:
        yield "it has no values"
    if len(row.fields) > FIELDS_MAX:
        yield f"it has {len(row.fields)} fields, more than {FIELDS_MAX}"
    if not all(math.isfinite(value) for value in values):
        yield "a value is not a finite number"
    for name in (row.measurement, *row.tags, *row.tags.values(), *row.fields):
        if not _writable(name):
            yield f"{name[:NAME_MAX]!r} is no name for a measurement, tag or field"
    if row.measurement.startswith("#"):
        yield f"measurement {row.measurement!r} begins like a comment"
    taken = {*row.tags, *row.fields}
    if len(taken) < len(row.tags) + len(row.fields) or "time" in taken:
        yield "a name stands for two of tag, field and time"


@lru_cache(maxsize=8192)  # the same names come in every row
def _writable(name: str) -> bool:
    return (
        0 < len(name) <= NAME_MAX
        and "\\" not in name
        and not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name)
    )


def sift(rows: list[Row]) -> tuple[list[Row], list[tuple[Row, str]]]:
    """Part rows that may be written from those that may not."""
    judged = [(row, problem(row)) for row in rows]
    return [row for row, why in judged if not why], [(row, why) for row, why in judged if why]


def bucket_ns(from_ns: int, to_ns: int, max_points: int) -> int:
    """Return the span over which to average, so that at most ``max_points`` cover the range."""
    return max(1, -(-(to_ns - from_ns) // max(1, max_points)))
