"""The bus against a server that shares no code with it: TCP, a serial line, and bad manners."""

import asyncio
import os
import pty
import struct
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from contract import machines
from contract.errors import Refused, Unreachable
from contract.machines import RegisterKind
from contract.telemetry import Quality
from contract.timescale import Timescale
from edge.adapters.clock import Clock
from edge.adapters.device import Device
from edge.adapters.modbus import Bus
from edge.config import BusConfig
from tests.edge import plant

PUMP = machines.library()["centrifugal_pump"]
HOLDING, COIL, DISCRETE, INPUT = (
    RegisterKind.HOLDING,
    RegisterKind.COIL,
    RegisterKind.DISCRETE,
    RegisterKind.INPUT,
)


@contextmanager
def tcp_bus(port: int, timeout_s: float = 10.0) -> Iterator[Bus]:
    bus = Bus(BusConfig(name="b", kind="tcp", host="127.0.0.1", port=port, timeout_s=timeout_s))
    try:
        yield bus
    finally:
        bus.close()


def unit_with_everything() -> plant.Unit:
    unit = plant.Unit()
    for kind in RegisterKind:
        unit.tables[kind] = {a: a % 2 if kind in (COIL, DISCRETE) else 1000 + a for a in range(150)}
    return unit


async def test_all_four_tables_are_read() -> None:
    async with plant.running({7: unit_with_everything()}) as p, _bus(p) as bus:
        assert await bus.read(7, HOLDING, 3, 120) == list(range(1003, 1123))
        assert await bus.read(7, INPUT, 0, 2) == [1000, 1001]
        assert await bus.read(7, COIL, 1, 11) == [1, 0] * 5 + [1]
        assert await bus.read(7, DISCRETE, 0, 3) == [0, 1, 0]


async def test_words_and_bits_are_written() -> None:
    unit = unit_with_everything()
    async with plant.running({7: unit}) as p, _bus(p) as bus:
        await bus.write(7, HOLDING, 5, [42])
        await bus.write(7, HOLDING, 6, [1, 2, 3])
        await bus.write(7, COIL, 0, [1])
    assert [unit.tables[HOLDING][a] for a in range(5, 9)] == [42, 1, 2, 3]
    assert unit.tables[COIL][0] == 1


@asynccontextmanager
async def _bus(p: plant.Plant) -> AsyncIterator[Bus]:
    with tcp_bus(p.port) as bus:
        yield bus


async def test_a_missing_register_is_refused_and_a_busy_device_is_not() -> None:
    unit = unit_with_everything()
    async with plant.running({7: unit}) as p, _bus(p) as bus:
        with pytest.raises(Refused, match="illegal data address"):
            await bus.read(7, HOLDING, 149, 2)
        unit.exception = 6
        with pytest.raises(Unreachable, match="exception 6"):
            await bus.read(7, HOLDING, 0, 1)
        unit.exception = 11
        with pytest.raises(Unreachable):
            await bus.write(7, HOLDING, 0, [1])


def be_patient(bus: Bus, timeout_s: float) -> None:
    """Wait so long for answers from now on: a busy computer delays also those that come."""
    bus._client.ctx.comm_params.timeout_connect = timeout_s


async def test_a_silent_unit_is_asked_once_and_the_next_one_answers() -> None:
    units = {1: plant.Unit(silent=True), 2: unit_with_everything()}
    async with plant.running(units) as p, _bus(p) as bus:
        for asked in range(1, 9):  # more often than pymodbus tolerates before it hangs up by itself
            be_patient(bus, 0.1)
            with pytest.raises(Unreachable, match="unit 1"):
                await bus.read(1, HOLDING, 0, 1)
            assert units[1].requests == asked
            be_patient(bus, 10)
            assert await bus.read(2, HOLDING, 0, 1) == [1000]


async def test_a_host_that_is_away_and_comes_back_is_found_again() -> None:
    async with plant.running({1: unit_with_everything()}) as p:
        port = p.port
    with tcp_bus(port) as bus:
        with pytest.raises(Unreachable, match="cannot be opened"):
            await bus.read(1, HOLDING, 0, 1)
        async with plant.running({1: unit_with_everything()}, port):
            assert await bus.read(1, HOLDING, 0, 1) == [1000]


async def test_requests_of_many_tasks_take_turns() -> None:
    async with plant.running({7: unit_with_everything()}) as p, _bus(p) as bus:
        answers = await asyncio.gather(*(bus.read(7, HOLDING, a, 1) for a in range(100)))
        assert answers == [[1000 + a] for a in range(100)]


def crc(data: bytes) -> bytes:
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return struct.pack("<H", value)


@contextmanager
def serial_line(units: dict[int, plant.Unit]) -> Iterator[str]:
    """Serve units on a pseudo-terminal and yield the path of the other end."""
    ours, theirs = pty.openpty()
    tty.setraw(ours)
    tty.setraw(theirs)
    received = b""

    def on_bytes() -> None:
        nonlocal received
        received += os.read(ours, 1024)
        while len(received) >= 8:
            length = 9 + received[6] if received[1] == 16 else 8
            if len(received) < length:
                return
            frame, received = received[:length], received[length:]
            assert crc(frame[:-2]) == frame[-2:]
            answer = units[frame[0]].answer(frame[1:-2]) if frame[0] in units else None
            if answer is not None:
                head = frame[:1] + answer
                os.write(ours, head + crc(head))

    loop = asyncio.get_running_loop()
    loop.add_reader(ours, on_bytes)
    try:
        yield os.ttyname(theirs)
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        os.close(theirs)


async def test_a_serial_line_with_a_dead_unit_serves_the_living_one() -> None:
    units = {1: plant.Unit(silent=True), 2: unit_with_everything()}
    with serial_line(units) as path:
        bus = Bus(BusConfig(name="rtu", kind="rtu", path=path, timeout_s=10))
        assert await bus.read(2, INPUT, 0, 100) == list(range(1000, 1100))
        await bus.write(2, HOLDING, 4, [7, 8])
        for _ in range(6):
            be_patient(bus, 0.1)
            with pytest.raises(Unreachable):
                await bus.read(1, HOLDING, 0, 1)
            be_patient(bus, 10)
            assert await bus.read(2, HOLDING, 4, 2) == [7, 8]
        with pytest.raises(Refused):
            await bus.read(2, HOLDING, 300, 2)
        bus.close()


async def test_a_serial_port_that_is_not_there_is_unreachable() -> None:
    bus = Bus(BusConfig(name="rtu", kind="rtu", path="/dev/no-such-port", timeout_s=0.2))
    with pytest.raises(Unreachable, match="cannot be opened"):
        await bus.read(1, HOLDING, 0, 1)


async def test_a_map_that_does_not_match_marks_its_signals_bad_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unit = plant.Unit()
    unit.show(PUMP)
    flow = PUMP.signal("flow_m3h")
    assert flow is not None
    assert flow.modbus is not None
    del unit.tables[INPUT][flow.modbus.address + 1]
    async with plant.running({1: unit}) as p, _bus(p) as bus:
        device = Device("pump-1", PUMP, bus, 1, Clock(Timescale()))
        first = await device.read_tick()
        asked = unit.requests
        second = await device.read_tick()
        assert unit.requests - asked < asked, "the refused block is not tried again every time"
        await device.read_tick()
    for tick in (first, second):
        assert tick.quality["flow_m3h"] is Quality.BAD
        assert tick.values["flow_m3h"] is None
        others = {n: q for n, q in tick.quality.items() if n != "flow_m3h"}
        assert set(others.values()) == {Quality.GOOD}
    assert first.time_ns < second.time_ns
    said = [record for record in caplog.records if "flow_m3h" in record.getMessage()]
    assert len(said) == 1
    assert "Check the machine type" in said[0].getMessage()
