"""One machine on its bus, in terms of its machine type: signals, commands, update block."""

import logging
from collections import deque
from collections.abc import Iterable, Mapping

from contract.errors import Malformed, Refused
from contract.firmware import BLOCK_HARDWARE, BLOCK_STATE, UpdateState, version_text
from contract.machines import MachineType, Register, RegisterKind
from contract.telemetry import Quality, Reading
from edge.adapters.clock import Clock
from edge.adapters.modbus import Bus
from edge.core import blocks, decode

log = logging.getLogger(__name__)

_Step = tuple[blocks.Block, decode.Decoder]
"""One request of a tick, and who reads its answer."""


class Device:
    """Reads and writes a machine by its register map."""

    def __init__(self, name: str, machine: MachineType, bus: Bus, unit: int, clock: Clock) -> None:
        self.name = name
        self.machine = machine
        self.bus = bus
        self._unit = unit
        self._clock = clock
        self._places = blocks.places(machine.signals)
        self._plan = [_prepare(block) for block in blocks.merge(self._places)]
        self._refused: set[str] = set()

    def replan(self) -> None:
        """Forget which registers were refused: the device may run another program now."""
        self._plan = [_prepare(block) for block in blocks.merge(self._places)]

    def version(self, values: Mapping[str, float | None]) -> str:
        """Return the firmware version among values that were read; empty when there is none."""
        number = values.get(self.machine.firmware_signal or "")
        try:
            return "" if number is None else version_text(number)
        except Malformed:
            return ""

    async def read_tick(self) -> Reading:
        """Read all signals; the time is when the first registers arrived.

        Raises:
            Unreachable: the device did not answer all requests.
        """
        time_ns = 0
        values: dict[str, float | None] = {p.signal.name: None for p in self._places}
        quality = dict.fromkeys(values, Quality.BAD)
        pending, planned = deque(self._plan), []
        while pending:
            block, decoder = step = pending.popleft()
            try:
                answer = await self._read(block)
            except Refused as error:
                if len(block.places) > 1:
                    pending.extendleft(_prepare(part) for part in reversed(blocks.split(block)))
                    continue
                self._warn_of_map(block, error)
            else:
                for name, value, trust in decoder.read(answer):
                    values[name], quality[name] = value, trust
            time_ns = time_ns or self._clock.now_ns()
            planned.append(step)
        self._plan = planned
        return Reading(time_ns, values, quality)

    async def read_values(self, names: Iterable[str]) -> dict[str, float | None]:
        """Read a few signals now; one without a valid value, or without registers, is ``None``.

        Raises:
            Unreachable: the device did not answer.
        """
        values: dict[str, float | None] = dict.fromkeys(names)
        for place in self._places:
            name = place.signal.name
            if name not in values:
                continue
            block, decoder = _prepare(blocks.alone(place))
            try:
                answer = await self._read(block)
            except Refused:
                continue
            ((_, value, quality),) = decoder.read(answer)
            values[name] = value if quality <= Quality.UNCERTAIN else None
        return values

    async def read_register(self, register: Register) -> float | None:
        """Read a register that need not be a signal.

        Raises:
            Unreachable: the device did not answer.
            Refused: it has no such register.
        """
        words = await self.bus.read(self._unit, register.register, register.address, register.words)
        return decode.value(register, words)

    async def write(self, register: Register, value: float) -> None:
        """Write a value given in its unit.

        Raises:
            Unreachable: no answer; the device may or may not have taken it.
            Refused: the device said no.
        """
        words = decode.encode(register, value)
        await self.bus.write(self._unit, register.register, register.address, words)

    async def read_update_state(self, block: int) -> UpdateState:
        """Read where the bootloader stands.

        Raises:
            Unreachable: the device did not answer.
            Refused: it has no update block, or shows a state that we do not know.
        """
        try:
            (word,) = await self.bus.read(self._unit, RegisterKind.HOLDING, block + BLOCK_STATE, 1)
        except Refused as error:
            raise Refused(f"there is no update block at register {block}: {error}") from error
        try:
            return UpdateState(word)
        except ValueError as error:
            raise Refused(f"the update block shows state {word}, which we do not know") from error

    async def read_hardware(self) -> int:
        """Read the hardware revision; 0 where the device shows none.

        Raises:
            Unreachable: the device did not answer.
        """
        if self.machine.firmware_block is None:
            return 0
        address = self.machine.firmware_block + BLOCK_HARDWARE
        try:
            (word,) = await self.bus.read(self._unit, RegisterKind.HOLDING, address, 1)
        except Refused:
            return 0
        return word

    async def write_words(self, address: int, words: list[int]) -> None:
        """Write raw words to holding registers; raises like `write`."""
        await self.bus.write(self._unit, RegisterKind.HOLDING, address, words)

    async def _read(self, block: blocks.Block) -> list[int]:
        return await self.bus.read(self._unit, block.kind, block.address, block.count)

    def _warn_of_map(self, block: blocks.Block, error: Refused) -> None:
        """Say once that a signal's register does not exist on the device."""
        place = block.places[0]
        if place.signal.name in self._refused:
            return
        self._refused.add(place.signal.name)
        log.warning(
            "%s: signal %s cannot be read at %s register %d (%s); its values are marked bad. "
            "Check the machine type against the device.",
            self.name,
            place.signal.name,
            block.kind,
            block.address,
            error,
        )


def _prepare(block: blocks.Block) -> _Step:
    places = [(place.signal, place.register, block.start(place)) for place in block.places]
    return block, decode.Decoder(places)
