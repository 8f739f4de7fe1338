"""Telemetry: several ticks of several signals of one device in one message."""

import math
from enum import IntEnum
from typing import Annotated

from msgspec import Meta, Struct

from contract.codec import Message
from contract.errors import Malformed

MAX_SIGNALS = 256
MAX_TICKS = 1000

Name = Annotated[str, Meta(min_length=1, max_length=64)]
TimeNs = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""Event time: nanoseconds since 1970-01-01 UTC, taken where the value was read."""


class Quality(IntEnum):
    """How far a value may be trusted; the highest number of several wins."""

    GOOD = 0
    UNCERTAIN = 1
    """Read well, but outside the signal's plausible range."""
    BAD = 2
    """The device answered, but with its mark for "no valid value", or with nonsense."""
    MISSING = 3
    """The device did not answer, so there is no value."""


class TelemetryBatch(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What a device measured at one or more instants.

    ``values[i][j]`` is signal ``signals[j]`` at ``times_ns[i]``, in the unit that the machine type
    gives; ``null`` where there is none. ``quality`` has the same shape; left out, all values that
    are not null are good. ``boot`` names one run of the sender and ``sequence`` counts its batches
    from 1; a sender that keeps no spool may leave both out and is then deduplicated by event time.
    """

    signals: Annotated[list[Name], Meta(min_length=1, max_length=MAX_SIGNALS)]
    times_ns: Annotated[list[TimeNs], Meta(min_length=1, max_length=MAX_TICKS)]
    values: list[list[float | None]]
    quality: list[list[Quality]] | None = None
    boot: Annotated[str, Meta(max_length=32)] = ""
    sequence: Annotated[int, Meta(ge=0)] = 0
    oldest: Annotated[int, Meta(ge=0)] = 0
    """Lowest sequence of this boot that the sender still holds: what is below will never come."""
    historical: bool = False
    """Drained from a spool after an outage: stored and scored in order, never alarmed as fresh."""

    def check(self) -> None:
        """Refuse a batch whose parts do not fit together.

        Raises:
            Malformed: ragged rows, repeated signals, times that do not increase, infinite values.
        """
        width = len(self.signals)
        if len(set(self.signals)) != width:
            raise Malformed("a signal is named twice")
        if any(b <= a for a, b in zip(self.times_ns, self.times_ns[1:], strict=False)):
            raise Malformed("times_ns do not increase")
        for label, rows in (("values", self.values), ("quality", self.quality)):
            if rows is not None and (
                len(rows) != len(self.times_ns) or any(len(row) != width for row in rows)
            ):
                raise Malformed(
                    f"{label} must have {len(self.times_ns)} rows of {width}: one per tick, "
                    "one column per signal"
                )
        if any(v is not None and not math.isfinite(v) for row in self.values for v in row):
            raise Malformed("values must be finite numbers or null")
        if bool(self.boot) != bool(self.sequence):
            raise Malformed("boot and sequence come together: give both or neither")


class Ack(Message, frozen=True, kw_only=True):
    """The gateway holds every batch of this boot up to and including ``sequence``, durably."""

    boot: Annotated[str, Meta(max_length=32)]
    sequence: int


class Reading(Struct, frozen=True):
    """One instant of one device, as the gateway works with it."""

    time_ns: int
    values: dict[str, float | None]
    quality: dict[str, Quality]
    historical: bool = False


def readings(batch: TelemetryBatch) -> list[Reading]:
    """Unfold a checked batch into its instants, in order of event time."""
    rows = []
    for i, time_ns in enumerate(batch.times_ns):
        values = dict(zip(batch.signals, batch.values[i], strict=True))
        if batch.quality is None:
            quality = {
                s: Quality.MISSING if value is None else Quality.GOOD for s, value in values.items()
            }
        else:
            quality = dict(zip(batch.signals, batch.quality[i], strict=True))
        rows.append(Reading(time_ns, values, quality, batch.historical))
    return rows
