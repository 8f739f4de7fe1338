"""What is seen of machines without asking their installers: version, alarm, silence.

The live boards have no locks, and a row may be half new. What is read now is at least as new as
the time that the row showed at the look before, so that is the time that counts.
"""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from cloud.adapters.board import Board
from cloud.core.asset import AssetRow
from contract import firmware
from contract.errors import Malformed
from contract.machines import MachineType
from models.monitor import STATES, State

ALARM = STATES.index(State.ALARM)
DRIFT = 0.02
"""Share by which the estimate of a clock's offset follows readings that came later than usual."""


class Seen(Struct, frozen=True, kw_only=True):
    """One machine as its telemetry shows it. Times are the gateway's plant time."""

    version: str = ""
    """Empty: its newest reading shows none."""
    version_ns: int = 0
    alarm: bool = False
    heard_ns: int = 0
    """When something new came from it last; 0: never."""


class _View(Struct):
    """One worker's board and what was noticed of its rows."""

    board: Board
    last_ns: np.ndarray
    """As of the look before."""
    heard_ns: np.ndarray
    offset_ns: np.ndarray
    """Estimate of how far a machine's clock, with the usual delay, is behind; NaN: none yet."""


class Sight:
    """Follows the workers' boards."""

    def __init__(self, assets: Mapping[str, AssetRow], machines: Mapping[str, MachineType]) -> None:
        self._assets, self._machines = assets, machines
        self._views: list[_View] = []
        self._column = {
            name: next((i for i, s in enumerate(m.signals) if s.name == m.firmware_signal), None)
            for name, m in machines.items()
        }

    def look(self, boards: list[Board], now_ns: int) -> None:
        """Notice what is new. Call it about once a second."""
        known = {id(view.board): view for view in self._views}
        self._views = [known.get(id(board)) or _view(board) for board in boards]
        for view in self._views:
            last_ns = view.board.last_ns.copy()
            moved = last_ns != view.last_ns
            behind = (now_ns - last_ns).astype(float)
            estimate = view.offset_ns
            follows = np.where(
                np.isnan(estimate) | (behind < estimate),
                behind,
                estimate + DRIFT * (behind - estimate),
            )
            view.offset_ns = np.where(moved, follows, estimate)
            view.heard_ns[moved] = now_ns
            view.last_ns = last_ns

    def seen(self, device: str) -> Seen:
        """Return what is known of a machine."""
        for view in self._views:
            i = view.board.index.get(device)
            if i is not None and view.heard_ns[i]:
                offset = 0 if np.isnan(view.offset_ns[i]) else int(view.offset_ns[i])
                return Seen(
                    version=self._version(device, view.board, i),
                    version_ns=int(view.last_ns[i]) + offset,
                    alarm=int(view.board.state[i]) == ALARM,
                    heard_ns=int(view.heard_ns[i]),
                )
        return Seen()

    def plant_ns(self, device: str, its_ns: int) -> int:
        """Return a time of the machine's own clock as the gateway's plant time."""
        for view in self._views:
            i = view.board.index.get(device)
            if i is not None and not np.isnan(view.offset_ns[i]):
                return its_ns + int(view.offset_ns[i])
        return its_ns

    def _version(self, device: str, board: Board, i: int) -> str:
        asset = self._assets.get(device)
        column = None if asset is None else self._column[asset.machine_type]
        number = np.nan if column is None else float(board.values[i][column])
        if np.isnan(number):
            return ""
        try:
            return firmware.version_text(number)
        except Malformed:
            return ""  # a booting machine reports nonsense


def _view(board: Board) -> _View:
    count = len(board.devices)
    return _View(
        board,
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.full(count, np.nan),
    )
