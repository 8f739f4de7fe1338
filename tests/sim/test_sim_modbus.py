"""The simulated machines on real Modbus, read and written by peers that are not ours."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

from contract.errors import Refused
from contract.machines import RegisterKind, library
from firmware_sim import bus
from firmware_sim.bootloader import Trust
from firmware_sim.physics import build
from firmware_sim.serial_line import SerialLine
from firmware_sim.unit import Unit
from tests import peers
from tests.sim.updating import KEY, step

LIBRARY = library()


def make(machine_type: str, folder: Path) -> Unit:
    machine = build(machine_type, f"{machine_type}-1".replace("_", "-"), 7)
    machine.now_ns = 1_795_330_800_000_000_000
    unit = Unit(LIBRARY[machine_type], machine, Trust(machine_type, KEY.public_key()), folder)
    step(unit, 120)
    return unit


@pytest.fixture
def units(tmp_path: Path) -> dict[int, Unit]:
    types = ("centrifugal_pump", "air_compressor", "chiller")
    return {i + 1: make(machine_type, tmp_path) for i, machine_type in enumerate(types)}


@pytest.fixture
async def port(units: dict[int, Unit]) -> AsyncIterator[int]:
    number = peers.free_port()
    server = await bus.serve_tcp(number, units)
    yield number
    await server.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture
async def client(port: int) -> AsyncIterator[AsyncModbusTcpClient]:
    async with AsyncModbusTcpClient("127.0.0.1", port=port, timeout=30, retries=0) as connected:
        yield connected


@contextmanager
def silence(client: AsyncModbusTcpClient | AsyncModbusSerialClient) -> Iterator[None]:
    """Expect no answer; only then is a short wait no bet on the speed of the computer."""
    waits, before_s = client.ctx.comm_params, client.ctx.comm_params.timeout_connect
    waits.timeout_connect = 0.2
    with pytest.raises(Exception, match="No response"):
        yield
    waits.timeout_connect = before_s


async def mbpoll(port: int, *arguments: str) -> str:
    """Run Debian's mbpoll, once, with zero-based addresses."""
    program = peers.program("mbpoll", "mbpoll")
    address, written = arguments[:-1], arguments[-1:]
    if "-c" in arguments:
        address, written = arguments, ()
    command = [program, "-p", str(port), "-0", "-1", "-q", *address, "127.0.0.1", *written]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


def shown(text: str, address: int) -> float:
    line = next(line for line in text.splitlines() if line.startswith(f"[{address}]"))
    return float(line.split(":")[1].split()[0])


@pytest.mark.real
async def test_mbpoll_reads_floats_words_and_bits(units: dict[int, Unit], port: int) -> None:
    values = units[1].machine.values
    flow = await mbpoll(port, "-a", "1", "-t", "3:float", "-B", "-r", "11", "-c", "1")
    assert shown(flow, 11) == pytest.approx(values["flow_m3h"], rel=1e-5)
    pressure = await mbpoll(port, "-a", "1", "-t", "3:float", "-r", "13", "-c", "1")
    assert shown(pressure, 13) == pytest.approx(values["discharge_pressure_bar"], rel=1e-5)
    suction = await mbpoll(port, "-a", "1", "-t", "3", "-r", "15", "-c", "1")
    assert shown(suction, 15) * 0.0001 == pytest.approx(values["suction_pressure_bar"], abs=1e-4)
    relief = await mbpoll(port, "-a", "1", "-t", "1", "-r", "0", "-c", "1")
    assert shown(relief, 0) == 0


@pytest.mark.real
async def test_mbpoll_writes_a_setting_and_reads_it_back(units: dict[int, Unit], port: int) -> None:
    assert "Written 1" in await mbpoll(port, "-a", "1", "-t", "4", "-r", "2", "855")
    step(units[1], 1)
    back = await mbpoll(port, "-a", "1", "-t", "4", "-r", "2", "-c", "1")
    assert shown(back, 2) == 855
    assert units[1].machine.settings["suction_valve_pct"] == pytest.approx(85.5)


@pytest.mark.real
async def test_mbpoll_is_refused_what_the_machine_does_not_take(port: int) -> None:
    assert "Illegal data value" in await mbpoll(port, "-a", "1", "-t", "4", "-r", "2", "100")
    assert "Illegal data address" in await mbpoll(port, "-a", "1", "-t", "4", "-r", "5", "1")
    assert "Illegal data address" in await mbpoll(
        port, "-a", "1", "-t", "4", "-r", "500", "-c", "1"
    )


async def test_a_pulse_on_a_coil_acts_and_clears_itself(
    units: dict[int, Unit], client: AsyncModbusTcpClient
) -> None:
    await client.write_coil(20, value=True, device_id=3)
    assert (await client.read_coils(18, count=4, device_id=3)).bits[:4] == [
        False,
        False,
        True,
        False,
    ]
    step(units[3], 1)
    assert (await client.read_coils(20, count=1, device_id=3)).bits[0] is False
    assert (await client.read_input_registers(30, count=2, device_id=3)).registers == [1, 0]


async def test_a_pulse_takes_only_its_own_value(
    units: dict[int, Unit], client: AsyncModbusTcpClient
) -> None:
    assert (await client.write_register(211, 9, device_id=2)).isError()
    assert not (await client.write_register(211, 0, device_id=2)).isError()
    assert not (await client.write_registers(211, [10], device_id=2)).isError()
    step(units[2], 1)
    assert units[2].machine.values["unload_valve_cycles"] == 1


async def test_writing_several_registers_is_all_or_nothing(
    units: dict[int, Unit], client: AsyncModbusTcpClient
) -> None:
    assert (await client.write_registers(2, [900, 9999], device_id=1)).isError()
    step(units[1], 1)
    assert units[1].machine.settings["suction_valve_pct"] == 100.0
    assert not (await client.write_registers(2, [900, 100], device_id=1)).isError()
    step(units[1], 1)
    assert units[1].machine.settings["suction_valve_pct"] == 90.0
    assert units[1].machine.settings["recirculation_pct"] == 10.0


async def test_small_holes_read_zero_and_large_ones_do_not_read(
    client: AsyncModbusTcpClient,
) -> None:
    assert (await client.read_holding_registers(0, count=12, device_id=1)).registers[5] == 0
    assert (await client.read_holding_registers(0, count=40, device_id=1)).isError()


async def test_a_restart_is_answered_and_then_silence(
    units: dict[int, Unit], client: AsyncModbusTcpClient
) -> None:
    assert not (await client.write_register(10, 1, device_id=1)).isError()
    step(units[1], 2)
    with silence(client):
        await client.read_input_registers(0, count=1, device_id=1)
    assert not (await client.read_input_registers(0, count=1, device_id=3)).isError()
    step(units[1], 20)
    assert (await client.read_input_registers(30, count=1, device_id=1)).registers == [2]


async def test_who_is_not_there_stays_silent(client: AsyncModbusTcpClient) -> None:
    for unit in (0, 9):
        with silence(client):
            await client.read_input_registers(0, count=1, device_id=unit)
        with silence(client):
            await client.read_coils(0, count=1, device_id=unit)


async def test_a_taken_port_is_refused_with_its_number(units: dict[int, Unit], port: int) -> None:
    with pytest.raises(Refused, match=str(port)):
        await bus.serve_tcp(port, units)


async def test_rtu_over_a_pseudo_terminal(units: dict[int, Unit], tmp_path: Path) -> None:
    link = tmp_path / "line"
    wire = SerialLine(link)
    server = await bus.serve_rtu(wire.server_path, units)
    client = AsyncModbusSerialClient(str(link), baudrate=19200, timeout=30, retries=0)
    assert await client.connect()
    try:
        answer = await client.read_input_registers(110, count=12, device_id=2)
        pressure = client.convert_from_registers(
            answer.registers[:2], client.DATATYPE.FLOAT32, word_order="little"
        )
        assert pressure == pytest.approx(units[2].machine.values["discharge_pressure_bar"])
        assert not (await client.write_register(201, 800, device_id=2)).isError()
        step(units[2], 1)
        assert units[2].machine.settings["fan_limit_pct"] == 80.0
        block = await client.read_holding_registers(2000, count=105, device_id=2)
        assert len(block.registers) == 105
        with silence(client):
            await client.read_input_registers(0, count=1, device_id=9)
        assert not (await client.read_input_registers(0, count=1, device_id=3)).isError()
    finally:
        client.close()
        await server.shutdown()  # type: ignore[no-untyped-call]
        wire.close()
    assert not link.is_symlink()


async def test_a_serial_line_does_not_replace_what_is_no_link(tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.write_text("mine")
    with pytest.raises(Refused, match="is no link"):
        SerialLine(file)
    assert file.read_text() == "mine"


def test_every_register_of_the_map_can_be_read(units: dict[int, Unit]) -> None:
    for unit in units.values():
        for signal in LIBRARY[unit.machine.machine_type].signals:
            assert signal.modbus is not None
            assert signal.modbus.address in unit.read(RegisterKind(signal.modbus.register))
