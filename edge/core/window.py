"""Go-back-N per device: what is on its way to the gateway, and when to send it again.

The broker's acknowledgement only says that the broker has a batch; the gateway's says that it is
safe. Batches leave in order, at most `WINDOW` ahead of the gateway, and start again from the
oldest unacknowledged one after a reconnect or a long silence. Sending twice is harmless, since the
gateway drops what it has. Times are seconds of a clock that never jumps.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

WINDOW = 32
ACK_TIMEOUT_S = 10.0
ACK_TIMEOUT_CAP_S = 300.0


class Sent(Struct, frozen=True):
    """A batch on its way: its number in the spool, its name for the gateway."""

    id: int
    boot: str
    sequence: int
    live: bool
    """First sent while it was fresh; it stays so when sent again."""


class Window(Struct, frozen=True):
    """One device's batches on their way."""

    sent: tuple[Sent, ...] = ()
    last_id: int = 0
    """Send what follows this one."""
    highest_id: int = 0
    """Nothing above this has ever been sent, so no acknowledgement can mean it."""
    live: frozenset[int] = frozenset()
    """Batches to be sent again that were fresh the first time."""
    progress_s: float = 0.0
    timeout_s: float = ACK_TIMEOUT_S


def room(window: Window) -> int:
    """Return how many more batches may leave."""
    return WINDOW - len(window.sent)


def after_sending(window: Window, batches: Sequence[Sent], now_s: float) -> Window:
    """Note batches that were handed to the broker."""
    if not batches:
        return window
    last = batches[-1].id
    return replace(
        window,
        sent=(*window.sent, *batches),
        last_id=last,
        highest_id=max(window.highest_id, last),
        live=frozenset(i for i in window.live if i > last),
        progress_s=window.progress_s if window.sent else now_s,
    )


def after_ack(window: Window, boot: str, sequence: int, now_s: float) -> Window:
    """Note that the gateway holds everything of a boot up to a sequence."""
    left = tuple(s for s in window.sent if s.boot != boot or s.sequence > sequence)
    if len(left) == len(window.sent):
        return window
    return replace(window, sent=left, progress_s=now_s, timeout_s=ACK_TIMEOUT_S)


def overdue(window: Window, now_s: float) -> bool:
    """Tell whether the gateway has been silent for too long about what is on its way."""
    return bool(window.sent) and now_s - window.progress_s > window.timeout_s


def from_the_start(window: Window) -> Window:
    """Send again from the oldest batch that the spool holds, after a reconnect."""
    live = window.live | {s.id for s in window.sent if s.live}
    return replace(window, sent=(), last_id=0, live=live)


def after_silence(window: Window) -> Window:
    """Send again, and be twice as patient the next time."""
    patient = min(window.timeout_s * 2, ACK_TIMEOUT_CAP_S)
    return replace(from_the_start(window), timeout_s=patient)


def is_live(window: Window, batch_id: int, age_s: float, fresh_s: float) -> bool:
    """Tell whether a batch leaves as live data rather than as history."""
    return batch_id in window.live or age_s <= fresh_s
