"""One endless task per device: read, stamp, batch, keep; say when it falls silent."""

import logging

from msgspec import Struct

from contract.errors import Unreachable
from contract.machines import MachineType
from contract.status import Status
from contract.telemetry import Reading
from edge.adapters.clock import Clock
from edge.adapters.device import Device
from edge.agent.disk import Disk
from edge.agent.statuses import Statuses
from edge.core import batcher, schedule

log = logging.getLogger(__name__)


class Neighbours(Struct):
    """The devices on one bus, and which of them do not answer."""

    units: int = 0
    silent: set[str] = set()


class Poller:
    """Polls one device for as long as the agent runs."""

    def __init__(
        self,
        device: Device,
        neighbours: Neighbours,
        *,
        clock: Clock,
        disk: Disk,
        statuses: Statuses,
        batch_ticks: int,
    ) -> None:
        self._device = device
        self._neighbours = neighbours
        self._clock = clock
        self._disk = disk
        self._statuses = statuses
        self._batch_ticks = batch_ticks
        self._pending = batcher.Pending()
        self._plan = schedule.start(device.machine.poll_interval_s, clock.elapsed_ns())

    async def run(self) -> None:
        """Poll until cancelled; then hand over what is still in memory."""
        try:
            while True:
                await self._clock.sleep_until(self._plan.due_ns)
                try:
                    tick = await self._device.read_tick()
                except Unreachable as error:
                    self._on_silence(error)
                else:
                    self._on_tick(tick)
                    await self._note_state(tick)
        finally:
            self._send_off()

    def _on_tick(self, tick: Reading) -> None:
        now_ns = self._clock.elapsed_ns()
        self._plan = schedule.answered(self._plan, now_ns)
        self._neighbours.silent.discard(self._device.name)
        self._pending, full = batcher.add(self._pending, tick)
        self._disk.keep(self._device.name, full)
        next_tick_ns = self._clock.now_ns() + self._plan.due_ns - now_ns
        if batcher.ripe(self._pending, self._batch_ticks, next_tick_ns):
            self._send_off()

    def _on_silence(self, error: Unreachable) -> None:
        device = self._device
        if self._plan.failures + 1 >= schedule.SILENT_AFTER:
            self._neighbours.silent.add(device.name)
        self._plan = schedule.failed(
            self._plan,
            self._clock.elapsed_ns(),
            spent_ns=self._clock.plant_ns(device.bus.timeout_s),
            silent_units=len(self._neighbours.silent),
            units=self._neighbours.units,
        )
        self._send_off()
        if self._plan.silent:
            self._say(online=False, reason=str(error)[:500])

    async def _note_state(self, tick: Reading) -> None:
        """Say what runs on the device; after a change, its register map deserves a new try."""
        firmware = self._device.version(tick.values)
        boot_count = _boot_count(self._device.machine, tick)
        before = self._statuses.current(self._device.name)
        if (
            before is not None
            and before.online
            and (before.firmware, before.boot_count) == (firmware, boot_count)
        ):
            return
        try:
            hardware = await self._device.read_hardware()
        except Unreachable:
            return  # it is told with the next tick
        self._device.replan()
        self._say(online=True, firmware=firmware, boot_count=boot_count, hardware=hardware)

    def _say(
        self,
        *,
        online: bool,
        firmware: str = "",
        boot_count: int | None = None,
        hardware: int = 0,
        reason: str = "",
    ) -> None:
        name = self._device.name
        before = self._statuses.current(name)
        if before is None or before.online != online:
            log.info("%s %s %s", name, "answers" if online else "is silent:", reason)
        self._statuses.say(
            name,
            Status(
                online=online,
                at_ns=self._clock.now_ns(),
                agent=self._statuses.agent,
                machine_type=self._device.machine.name,
                firmware=firmware,
                boot_count=boot_count,
                hardware=hardware,
                reason=reason,
            ),
        )

    def _send_off(self) -> None:
        self._disk.keep(self._device.name, self._pending.ticks)
        self._pending = batcher.Pending()


def _boot_count(machine: MachineType, tick: Reading) -> int | None:
    count = tick.values.get(machine.boot_count_signal or "")
    return None if count is None else int(count)
