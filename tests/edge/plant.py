"""A plant for tests: a Modbus TCP server written from the protocol, with units that misbehave.

Shares no code with pymodbus, so that the agent's bus is tested against somebody else's reading of
the standard.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from contract import firmware, machines
from contract.firmware import UpdateControl, UpdateState
from contract.machines import RegisterKind
from edge.core import decode

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS = 1, 2
READS = {
    1: RegisterKind.COIL,
    2: RegisterKind.DISCRETE,
    3: RegisterKind.HOLDING,
    4: RegisterKind.INPUT,
}


@dataclass
class Unit:
    """One device: four tables, and ways to go wrong."""

    tables: dict[RegisterKind, dict[int, int]] = field(
        default_factory=lambda: {kind: {} for kind in RegisterKind}
    )
    silent: bool = False
    exception: int = 0
    on_write: Callable[[int, list[int]], None] = lambda address, words: None
    writes: list[tuple[int, list[int]]] = field(default_factory=list)
    requests: int = 0
    stubborn: set[int] = field(default_factory=set)
    """Holding registers that keep their value whatever is written."""

    def show(self, machine: machines.MachineType, **values: float) -> None:
        """Put values into the registers; signals that are not given show their range's middle."""
        for signal in machine.signals:
            if signal.modbus is None:
                continue
            middle = round(sum(signal.range) / 2)
            words = decode.encode(signal.modbus, values.get(signal.name, middle))
            table = self.tables[signal.modbus.register]
            table.update(enumerate(words, signal.modbus.address))

    def serve_commands(self, machine: machines.MachineType) -> None:
        """Add the registers that commands write."""
        for command in machine.commands:
            if command.modbus is not None:
                self.tables[command.modbus.register].setdefault(command.modbus.address, 0)

    def answer(self, request: bytes) -> bytes | None:
        """Answer a request's function code and data, or not at all."""
        self.requests += 1
        if self.silent:
            return None
        function, address, value = struct.unpack(">BHH", request[:5])
        if self.exception:
            return bytes([function | 0x80, self.exception])
        try:
            if function in READS:
                return self._read(function, address, value)
            return self._write(function, address, value, request)
        except KeyError:
            return bytes([function | 0x80, ILLEGAL_ADDRESS])

    def _read(self, function: int, address: int, count: int) -> bytes:
        table = self.tables[READS[function]]
        words = [table[a] for a in range(address, address + count)]
        if function > 2:
            data = struct.pack(f">{count}H", *words)
        else:
            bits = sum(bool(bit) << i for i, bit in enumerate(words))
            data = bits.to_bytes((count + 7) // 8, "little")
        return bytes([function, len(data)]) + data

    def _write(self, function: int, address: int, value: int, request: bytes) -> bytes:
        if function == 5:
            self._store(RegisterKind.COIL, address, [int(value == 0xFF00)])
        elif function == 6:
            self._store(RegisterKind.HOLDING, address, [value])
        elif function == 16:
            words = list(struct.unpack(f">{value}H", request[6:]))
            self._store(RegisterKind.HOLDING, address, words)
        else:
            return bytes([function | 0x80, ILLEGAL_FUNCTION])
        return request[:5]

    def _store(self, kind: RegisterKind, address: int, words: list[int]) -> None:
        table = self.tables[kind]
        for at, word in enumerate(words, address):
            if table[at] is not None and at not in self.stubborn:
                table[at] = word
        self.writes.append((address, words))
        self.on_write(address, words)


class Bootloader:
    """The update block of a unit, as `contract.firmware` describes it."""

    def __init__(self, unit: Unit, machine: machines.MachineType, hardware: int = 1) -> None:
        assert machine.firmware_block is not None
        self.unit, self.machine, self.block = unit, machine, machine.firmware_block
        self.holding = unit.tables[RegisterKind.HOLDING]
        for at in range(firmware.BLOCK_WORDS):
            self.holding[self.block + at] = 0
        self.holding[self.block + firmware.BLOCK_HARDWARE] = hardware
        self.image = b""
        self.replaced = 0
        """Version number that ran before the last update, while it can be gone back to."""
        self.works = True
        """Whether the new image runs properly; if not, the trial shows the old version."""
        unit.on_write = self.on_write

    def word(self, offset: int) -> int:
        return self.holding[self.block + offset]

    def long(self, offset: int) -> int:
        return self.word(offset) << 16 | self.word(offset + 1)

    def become(self, state: UpdateState) -> None:
        self.holding[self.block + firmware.BLOCK_STATE] = int(state)

    def on_write(self, address: int, words: list[int]) -> None:
        if address != self.block + firmware.BLOCK_CONTROL:
            return
        match UpdateControl(words[0]):
            case UpdateControl.BEGIN:
                self.image = b""
                self.become(UpdateState.RECEIVING)
            case UpdateControl.STORE_CHUNK:
                data = [self.word(firmware.BLOCK_DATA + i) for i in range(firmware.CHUNK_WORDS)]
                chunk = struct.pack(">64H", *data)[: self.word(firmware.BLOCK_LENGTH)]
                self.image = self.image[: self.long(firmware.BLOCK_OFFSET)] + chunk
            case UpdateControl.VERIFY:
                whole = len(self.image) == self.long(firmware.BLOCK_SIZE)
                self.become(UpdateState.VERIFIED if whole else UpdateState.REJECTED)
            case UpdateControl.BOOT_TRIAL:
                self.become(UpdateState.TRIAL)
                if self.works:
                    self.replaced = self.version()
                    self.show_version(self.long(firmware.BLOCK_VERSION))
                else:
                    self.become(UpdateState.FELL_BACK)
            case UpdateControl.CONFIRM:
                self.become(UpdateState.CONFIRMED)
            case UpdateControl.REVERT if self.replaced:
                self.show_version(self.replaced)
                self.replaced = 0
                self.become(UpdateState.REVERTED)
            case UpdateControl.REVERT:
                self.become(UpdateState.REJECTED)

    def version(self) -> int:
        register = self._version_register()
        table = self.unit.tables[register.register]
        words = [table[register.address + i] for i in range(register.words)]
        return int(decode.value(register, words) or 0)

    def show_version(self, number: int) -> None:
        register = self._version_register()
        words = decode.encode(register, number)
        self.unit.tables[register.register].update(enumerate(words, register.address))

    def _version_register(self) -> machines.Register:
        signal = self.machine.signal(self.machine.firmware_signal or "")
        assert signal is not None
        assert signal.modbus is not None
        return signal.modbus


@dataclass
class Plant:
    """A Modbus TCP server with several units."""

    units: dict[int, Unit]
    port: int = 0
    longest_s: float = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(7)
                transaction, _, length, unit = struct.unpack(">HHHB", head)
                request = await reader.readexactly(length - 1)
                answer = self.units[unit].answer(request) if unit in self.units else None
                if answer is not None:
                    head = struct.pack(">HHHB", transaction, 0, len(answer) + 1, unit)
                    writer.write(head + answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the agent hung up, or the test is over
        finally:
            writer.close()


@asynccontextmanager
async def running(units: dict[int, Unit], port: int = 0) -> AsyncIterator[Plant]:
    """Serve units on a port of the loopback until the block ends."""
    plant = Plant(units)
    server = await asyncio.start_server(plant.serve, "127.0.0.1", port)
    plant.port = server.sockets[0].getsockname()[1]
    try:
        yield plant
    finally:
        server.close()
