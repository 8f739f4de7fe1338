"""Go-back-N over one numbering: what is on its way to the gateway, and when to send it again.

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
ACK_TIMEOUT_CAP_S = 60.0
LIVE_AGAIN = 4.0
"""A batch that first left fresh is sent again as live up to this many times the fresh age."""


class Sent(Struct, frozen=True):
    """A batch on its way."""

    sequence: int
    live: bool
    """First sent while it was fresh."""


class Window(Struct, frozen=True):
    """What is on its way of one device's one numbering."""

    sent: tuple[Sent, ...] = ()
    last: int = 0
    """Send what follows this sequence."""
    highest: int = 0
    """Nothing above this has ever been sent, so no acknowledgement can mean it."""
    acked: int = 0
    live: frozenset[int] = frozenset()
    """Batches to be sent again that were fresh the first time."""
    limit: int = WINDOW
    """How many may be on their way: one, while the gateway says nothing."""
    progress_s: float = 0.0
    timeout_s: float = ACK_TIMEOUT_S

    @property
    def probing(self) -> bool:
        """Tell whether the gateway has been silent since batches were sent again."""
        return self.limit < WINDOW


def room(window: Window) -> int:
    """Return how many more batches may leave."""
    return max(0, window.limit - len(window.sent))


def after_sending(window: Window, batches: Sequence[Sent], now_s: float) -> Window:
    """Note batches that were handed to the broker."""
    if not batches:
        return window
    last = batches[-1].sequence
    return replace(
        window,
        sent=(*window.sent, *batches),
        last=last,
        highest=max(window.highest, last),
        live=frozenset(s for s in window.live if s > last),
        progress_s=window.progress_s if window.sent else now_s,
    )


def after_ack(window: Window, sequence: int, now_s: float) -> Window:
    """Note that the gateway holds everything up to a sequence, as far as it was ever sent."""
    acked = min(sequence, window.highest)
    if acked <= window.acked:
        return window
    return replace(
        window,
        sent=tuple(s for s in window.sent if s.sequence > acked),
        last=max(window.last, acked),
        acked=acked,
        live=frozenset(s for s in window.live if s > acked),
        limit=WINDOW,
        progress_s=now_s,
        timeout_s=ACK_TIMEOUT_S,
    )


def overdue(window: Window, now_s: float) -> bool:
    """Tell whether the gateway has been silent for too long about what is on its way."""
    return bool(window.sent) and now_s - window.progress_s > window.timeout_s


def from_the_start(window: Window) -> Window:
    """Send again from the oldest unacknowledged batch, after a reconnect."""
    live = window.live | {s.sequence for s in window.sent if s.live}
    return replace(window, sent=(), last=window.acked, live=live, limit=WINDOW)


def after_silence(window: Window) -> Window:
    """Ask with the oldest batch alone whether the gateway is back, and ever less often."""
    patient = min(window.timeout_s * 2, ACK_TIMEOUT_CAP_S)
    return replace(from_the_start(window), limit=1, timeout_s=patient)


def is_live(window: Window, sequence: int, age_s: float, fresh_s: float, *, first: bool) -> bool:
    """Tell whether a batch leaves as live data rather than as history.

    Args:
        window: the window it leaves by.
        sequence: its number.
        age_s: plant time since its last tick.
        fresh_s: how old live data may be.
        first: nothing newer of its device has left by another numbering.
    """
    if sequence in window.live:
        return age_s <= LIVE_AGAIN * fresh_s
    return first and sequence > window.highest and age_s <= fresh_s
