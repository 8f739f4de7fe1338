"""A device's numberings: the one that live data leaves by, and the backlogs behind it.

Every numbering (``boot``) is a lane with a window of its own. When the oldest batch of the lane
that is being written turns out to be old at its departure, new batches get a new numbering: they
leave at once, and what waited is drained behind them. Of the backlogs of one device only the
oldest is drained at a time, so its history arrives in order.
"""

from msgspec import Struct
from msgspec.structs import replace

from edge.core import window
from edge.core.window import Window

LANES_MAX = 15
"""Numberings of one device at a time; the gateway remembers 64. At the bound live data waits."""
BACKLOG_IN_FLIGHT = 64
"""Batches on their way over all backlogs of an agent: live data never waits behind more."""
PASS_MAX = 64
"""Batches in memory, and in the broker's hands, at a time."""
PASS_SHORT_S, PASS_LONG_S = 0.3, 1.0
"""How long the broker may take for one pass of backlog, which is how long live data waits."""


class Lane(Struct, frozen=True):
    """One numbering of one device."""

    boot: str
    newest: int
    """Highest sequence on disk."""
    window: Window = Window()

    @property
    def unsent(self) -> int:
        """How many batches have not left, or have to leave again."""
        return self.newest - self.window.last

    @property
    def drained(self) -> bool:
        """Tell whether the gateway holds all of it."""
        return self.window.acked >= self.newest


Lanes = tuple[Lane, ...]
"""All numberings of one device, oldest first."""


def find(lanes: Lanes, boot: str) -> Lane | None:
    """Return the lane of a numbering."""
    return next((lane for lane in lanes if lane.boot == boot), None)


def written(lanes: Lanes, boot: str, sequence: int) -> Lanes:
    """Note the newest batch on disk of a numbering; what is new comes last."""
    if find(lanes, boot) is None:
        return (*lanes, Lane(boot, sequence))
    return tuple(replace(x, newest=max(x.newest, sequence)) if x.boot == boot else x for x in lanes)


def put(lanes: Lanes, boot: str, changed: Window) -> Lanes:
    """Replace the window of a numbering."""
    return tuple(replace(x, window=changed) if x.boot == boot else x for x in lanes)


def acked(lanes: Lanes, boot: str, sequence: int, now_s: float) -> Lanes:
    """Note what the gateway holds of a numbering; one that is not known changes nothing."""
    lane = find(lanes, boot)
    if lane is None:
        return lanes
    return put(lanes, boot, window.after_ack(lane.window, sequence, now_s))


def without_drained(lanes: Lanes, current: str) -> Lanes:
    """Forget the backlogs that the gateway holds completely."""
    return tuple(x for x in lanes if x.boot == current or not x.drained)


def without(lanes: Lanes, boot: str) -> Lanes:
    """Forget a numbering of which the spool holds nothing any more."""
    return tuple(x for x in lanes if x.boot != boot)


def reconnected(lanes: Lanes) -> Lanes:
    """Send everything again that is not acknowledged."""
    return tuple(replace(x, window=window.from_the_start(x.window)) for x in lanes)


def patient(lanes: Lanes, now_s: float) -> Lanes:
    """Send again what the gateway has been silent about for too long."""
    if not any(window.overdue(x.window, now_s) for x in lanes):
        return lanes
    return tuple(
        replace(x, window=window.after_silence(x.window)) if window.overdue(x.window, now_s) else x
        for x in lanes
    )


def backlog(lanes: Lanes, current: str) -> Lane | None:
    """Return the backlog that is to be drained next: the oldest."""
    return next((lane for lane in lanes if lane.boot != current), None)


def leads(lanes: Lanes, boot: str) -> bool:
    """Tell whether no newer numbering than this one has sent anything."""
    position = [x.boot for x in lanes].index(boot)
    return all(x.window.highest == 0 for x in lanes[position + 1 :])


def may_begin(held: int) -> bool:
    """Tell whether a device that has so many numberings may get one more."""
    return held < LANES_MAX


def overtakes(lanes: Lanes, lane: Lane, oldest_age_s: float, fresh_s: float) -> bool:
    """Tell whether new batches should get a new numbering, because this lane's next one is old.

    Not while the gateway is silent: every such question would cost a numbering.
    """
    return oldest_age_s > fresh_s and not lane.window.probing and may_begin(len(lanes))


def budget(in_flight: int, size: int, backlogs: int) -> tuple[int, int]:
    """Return how many batches of backlog may leave in this pass, and how many of one device.

    Args:
        in_flight: batches of all backlogs on their way to the gateway.
        size: how many the broker took in good time, see `paced`.
        backlogs: devices that have a backlog.
    """
    return min(size, BACKLOG_IN_FLIGHT - in_flight), max(1, BACKLOG_IN_FLIGHT // max(1, backlogs))


def paced(size: int, spent_s: float) -> int:
    """Return the size of the next pass: a slow way gets small ones, so that live data gets in."""
    if spent_s > PASS_LONG_S:
        return max(1, size // 2)
    return min(PASS_MAX, size * 2) if spent_s < PASS_SHORT_S else size
