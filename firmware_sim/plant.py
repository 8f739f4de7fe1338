"""The simulated plant: every machine, kept at plant time."""

import asyncio
import logging
import time

from contract.errors import Refused
from contract.timescale import Timescale
from firmware_sim.faults import Episode
from firmware_sim.unit import Unit

STEP_S = 1.0
CATCH_UP_S = 120.0
"""A plant that fell further behind than this (a suspended computer) skips the rest."""

log = logging.getLogger(__name__)


class Plant:
    """Steps all units to plant time and knows the faults that were injected."""

    def __init__(self, units: dict[str, Unit], now_ns: int) -> None:
        self._units = units
        self._logged_ends = 0
        self.now_ns = now_ns
        for unit in units.values():
            unit.step(STEP_S, now_ns)

    def advance(self, now_ns: int) -> None:
        """Step every unit up to ``now_ns``."""
        behind_s = (now_ns - self.now_ns) / 1e9
        if behind_s > CATCH_UP_S:
            log.warning("plant is %.0f s behind its clock: skipping ahead", behind_s)
            self.now_ns = now_ns - int(CATCH_UP_S * 1e9)
        while self.now_ns < now_ns:
            step_ns = min(int(STEP_S * 1e9), now_ns - self.now_ns)
            self.now_ns += step_ns
            for unit in self._units.values():
                unit.step(step_ns / 1e9, self.now_ns)
        self._log_ends()

    def inject(self, device: str, fault: str) -> int:
        """Start a fault; return the plant time.

        Raises:
            Refused: no such device or fault, or it is there already.
        """
        episode = self._unit(device).machine.inject(fault)
        log.info("%s: %s injected (%s)", device, fault, episode.nature)
        return episode.injected_ns

    def repair(self, device: str, fault: str) -> int:
        """End a fault as a visit does; return the plant time.

        Raises:
            Refused: no such device, or it does not have this fault.
        """
        self._unit(device).machine.repair(fault)
        self._log_ends()
        return self.now_ns

    def episodes(self) -> list[Episode]:
        """Return all faults that were injected, oldest first."""
        found = [e for unit in self._units.values() for e in unit.machine.episodes]
        return sorted(found, key=lambda episode: episode.injected_ns)

    def _unit(self, device: str) -> Unit:
        if device not in self._units:
            raise Refused(f"there is no device {device!r}; there is {', '.join(self._units)}")
        return self._units[device]

    def _log_ends(self) -> None:
        ended = sorted(
            (e for e in self.episodes() if e.ended_ns is not None), key=lambda e: e.ended_ns or 0
        )
        for episode in ended[self._logged_ends :]:
            log.info("%s: %s ended by %s", episode.device, episode.fault, episode.ended_by)
        self._logged_ends = len(ended)


def plant_now(scale: Timescale) -> int:
    """Return plant time: the one place where the simulator looks at the clock."""
    return scale.plant_ns(time.time_ns())  # noqa: TID251 - this is the clock adapter


async def run(plant: Plant, scale: Timescale) -> None:
    """Keep the plant at plant time, until cancelled."""
    pause_s = min(0.5, max(0.02, scale.wall_s(STEP_S)))
    while True:
        plant.advance(plant_now(scale))
        await asyncio.sleep(pause_s)
