"""Ticks to messages: a few ticks of one device travel together."""

from collections.abc import Sequence

from msgspec import Struct

from contract.telemetry import Quality, Reading, TelemetryBatch

MAX_AGE_S = 10.0
"""No tick waits longer than this for company."""


class Pending(Struct, frozen=True):
    """Ticks of one device that wait to be sent together."""

    ticks: tuple[Reading, ...] = ()


def add(pending: Pending, tick: Reading) -> tuple[Pending, tuple[Reading, ...]]:
    """Add a tick; a clock that was set back closes the batch, since times in one must increase.

    Returns:
        What waits now, and the ticks that must leave at once, if any.
    """
    if pending.ticks and tick.time_ns <= pending.ticks[-1].time_ns:
        return Pending((tick,)), pending.ticks
    return Pending((*pending.ticks, tick)), ()


def ripe(pending: Pending, batch_ticks: int, next_tick_ns: int) -> bool:
    """Tell whether to send now: enough ticks, or the next one would come too late.

    Args:
        pending: the ticks that wait.
        batch_ticks: how many travel together.
        next_tick_ns: when the next tick is expected, on the clock that stamps ticks.
    """
    if not pending.ticks:
        return False
    age_ns = next_tick_ns - pending.ticks[0].time_ns
    return len(pending.ticks) >= batch_ticks or age_ns > MAX_AGE_S * 1e9


def message(ticks: Sequence[Reading], boot: str, sequence: int) -> TelemetryBatch:
    """Make the message of some ticks of one device; all have the same signals."""
    signals = list(ticks[0].values)
    plain = all(q is Quality.GOOD for tick in ticks for q in tick.quality.values())
    return TelemetryBatch(
        signals=signals,
        times_ns=[tick.time_ns for tick in ticks],
        values=[[tick.values[s] for s in signals] for tick in ticks],
        quality=None if plain else [[tick.quality[s] for s in signals] for tick in ticks],
        boot=boot,
        sequence=sequence,
    )
