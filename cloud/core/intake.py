"""What has been received, and what may be acknowledged.

Every numbering of a sender (``boot``) begins at 1. The gateway keeps one `Position` per
device and boot and acknowledges `Position.contiguous`: all of that is durable here, so the sender
may forget it. Whatever lies above stays with the sender until the gap before it is filled.

Batches without boot and sequence have no position and no acknowledgement. They are deduplicated by
event time: a row is stored under its time, so storing it twice changes nothing, and an instant that
is not newer than the newest of its device never acts (`cloud.worker.order`).
"""

from msgspec import Struct

BEYOND_MAX = 4096
"""So many batches are remembered above a gap; what comes beyond is left with the sender."""


class Position(Struct, frozen=True):
    """What has been received of one boot of one device."""

    contiguous: int = 0
    """Every batch up to and including this one is here, or will never come."""
    beyond: frozenset[int] = frozenset()
    """Batches that are here although one before them is missing."""


def accept(position: Position, sequence: int, oldest: int = 0) -> tuple[Position, bool]:
    """Take a batch's number and tell whether the batch is to be kept.

    Args:
        position: what had been received before.
        sequence: the batch's number, from 1.
        oldest: lowest number that the sender still holds, 0 if it does not say. What is below
            will never come, so the gap is closed; a batch cannot raise it above itself.

    Returns:
        The new position, and false for a batch that is here already, that its sender had given up,
        or that lies so far above a gap that it must be sent again later. Only the last kind is
        not covered by the new position, so its sender keeps it.
    """
    contiguous = max(position.contiguous, min(oldest, sequence) - 1)
    beyond = position.beyond
    fresh = sequence > contiguous and sequence not in beyond
    if fresh and sequence > contiguous + 1 and len(beyond) >= BEYOND_MAX:
        fresh = False
    elif fresh:
        beyond |= {sequence}
    while contiguous + 1 in beyond:
        contiguous += 1
    return Position(contiguous, frozenset(s for s in beyond if s > contiguous)), fresh


class Limits(Struct, frozen=True):
    """How far a reading's time may be from the gateway's clock, and how many may come."""

    late_after_s: float = 120.0
    ahead_max_s: float = 300.0
    batches_per_s: float = 200.0
    """What a device sends above this rate is left with it: one flood must not drown the others."""
    burst_batches: float = 2000.0
    """So many may come at once before the rate counts: a backlog after an outage."""
