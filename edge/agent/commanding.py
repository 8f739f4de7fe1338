"""Commands of one device, one after the other; those of different devices run side by side."""

import asyncio
import logging

from contract.commands import Answer, AnswerStatus, Command
from contract.errors import Unreachable
from edge.adapters.clock import Clock
from edge.adapters.device import Device
from edge.adapters.releases import Releases
from edge.agent.acting import Outcome, carry_out
from edge.agent.disk import Disk
from edge.core import orders

log = logging.getLogger(__name__)

WAITING_MAX = 16


class Commander:
    """Receives a device's commands, carries them out, and leaves the answers in the memory."""

    def __init__(
        self, device: Device, clock: Clock, disk: Disk, wake: asyncio.Event, releases: Releases
    ) -> None:
        self._device = device
        self._clock = clock
        self._disk = disk
        self._wake = wake
        self._releases = releases
        self._waiting: asyncio.Queue[Command] = asyncio.Queue(WAITING_MAX)

    def receive(self, command: Command) -> None:
        """Queue a command; when too many wait it is left unanswered, as if it had been lost."""
        try:
            self._waiting.put_nowait(command)
        except asyncio.QueueFull:
            log.warning(
                "%s: command %s dropped, %d are waiting already",
                self._device.name,
                command.id,
                WAITING_MAX,
            )

    async def run(self) -> None:
        """Carry out commands until cancelled."""
        while True:
            command = await self._waiting.get()
            try:
                await self._handle(command)
            except Unreachable as error:
                # Nothing acts that is not written down first; the sender asks again.
                log.warning("%s: command %s: %s", self._device.name, command.id, error)
            self._disk.owes_answers = True
            self._wake.set()

    async def _handle(self, command: Command) -> None:
        device, disk = self._device, self._disk
        remembered = await disk.run(disk.memory.recall, device.name, command.id)
        decision = orders.decide(command, device.machine, remembered, self._clock.now_ns())
        match decision:
            case orders.Repeat():
                await disk.run(disk.memory.repeat, device.name, command.id)
                return
            case orders.Refuse(reason):
                outcome = Outcome(AnswerStatus.REFUSED, reason)
            case orders.Expire(reason):
                outcome = Outcome(AnswerStatus.EXPIRED, reason)
            case orders.Execute():
                outcome = await carry_out(
                    device, decision, lambda: self._begin(command), self._clock, self._releases
                )
        log.info(
            "%s: command %s (%s) %s %s",
            device.name,
            command.name,
            command.id,
            outcome.status,
            outcome.reason,
        )
        answer = Answer(
            id=command.id,
            status=outcome.status,
            at_ns=self._clock.now_ns(),
            reason=outcome.reason[:1000],
            readback=outcome.readback,
            firmware=outcome.firmware,
        )
        await disk.run(disk.memory.finish, device.name, command, answer)

    async def _begin(self, command: Command) -> bool:
        """Write down that the command acts, unless it has expired while it waited."""
        if self._clock.now_ns() >= command.expires_ns:
            return False
        await self._disk.run(self._disk.memory.start, self._device.name, command)
        return True
