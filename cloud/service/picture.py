"""The live picture of all machines, put together from the workers' boards."""

from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from cloud.adapters.board import Board
from cloud.core.asset import AssetRow
from cloud.service.workers import Workers
from cloud.web.ports import Live
from contract import firmware
from contract.errors import Malformed
from contract.machines import MachineType, Role
from models.monitor import STATES, State


class Picture:
    """What is known of every device right now."""

    def __init__(
        self, workers: Workers, assets: Mapping[str, AssetRow], machines: Mapping[str, MachineType]
    ) -> None:
        self._workers, self._assets, self._machines = workers, assets, machines
        self._offline_ns: dict[str, int] = {}
        self._firmware: dict[str, str] = {}

    def link(self, device: str, now_ns: int, *, online: bool) -> None:
        """Note whether the device is reached, as its agent says."""
        if online:
            self._offline_ns.pop(device, None)
        elif device in self._assets:
            self._offline_ns[device] = now_ns

    def states(self) -> dict[State, int]:
        """Return how many machines are in each state."""
        found = np.zeros(len(STATES), np.int64)
        for board in self.boards():
            found += np.bincount(board.state, minlength=256)[: len(STATES)]
        return dict(zip(STATES, found.tolist(), strict=True))

    def boards(self) -> list[Board]:
        """Return the workers' boards, for counting."""
        return [line.board for line in self._workers.lines if line.board is not None]

    def live(self, device: str) -> Live | None:
        """Return the latest of a device; None while nothing came in."""
        asset, board = self._assets.get(device), self._workers.line(device).board
        i = board.index.get(device) if board is not None else None
        if asset is None or board is None or i is None or not board.last_ns[i]:
            return None
        machine, last_ns = self._machines[asset.machine_type], int(board.last_ns[i])
        numbers = board.values[i].tolist()
        values = {
            signal.name: None if np.isnan(number) else number
            for signal, number in zip(machine.signals, numbers, strict=False)
        }
        state, score = int(board.state[i]), float(board.score[i])
        return Live(
            device=device,
            online=last_ns > self._offline_ns.get(device, 0),
            last_ns=last_ns,
            values=values,
            state=STATES[state] if state < len(STATES) else None,
            score=None if np.isnan(score) else score,
            progress=float(board.progress[i]),
            scored=int(board.scored[i]),
            firmware=self._version(device, values.get(machine.firmware_signal or "")),
            mode=_mode(machine, values),
        )

    def _version(self, device: str, number: float | None) -> str:
        """Return the version; where a booting machine reports nonsense, its last one."""
        if number is not None:
            with suppress(Malformed):
                self._firmware[device] = firmware.version_text(number)
        return self._firmware.get(device, "")


def _mode(machine: MachineType, values: Mapping[str, float | None]) -> str:
    modes = machine.with_role(Role.MODE)
    raw = values.get(modes[0].name) if modes else None
    return "" if raw is None else modes[0].modes.get(f"{raw:g}", f"{raw:g}")
