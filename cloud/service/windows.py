"""What the desk sees of the gateway's other parts."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from cloud.adapters.board import Board
from cloud.web.ports import Live, Notice
from models.monitor import State


class Windows(Struct, frozen=True):
    """What the desk sees of the gateway's other parts."""

    live: Callable[[str], Live | None]
    """The latest of a device."""
    states: Callable[[], Mapping[State, int]]
    """How many machines are in each state."""
    boards: Callable[[], list[Board]]
    """The workers' boards, for their counters."""
    notices: Callable[[str], list[Notice]]
    """How a device stands out among its peers."""
    unready: Callable[[], list[str]]
    """What keeps the workers from their work."""
    updating: Callable[[str], str]
    """Which rollout is, or was just, at work on the device, in words; empty: none."""
    troubles: Callable[[], list[str]]
    """What people should know of workers and agents."""
