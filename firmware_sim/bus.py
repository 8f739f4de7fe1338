"""Simulated machines on Modbus: TCP ports, and serial lines made of pseudo-terminals.

A unit that is not there, boots, or has lost its link stays silent, as on a real line.
"""

import logging
from collections.abc import Coroutine
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.exceptions import NoSuchIdException
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from contract.errors import Refused
from contract.machines import RegisterKind
from firmware_sim.unit import Unit, Words

IDENTITY = ModbusDeviceIdentification(  # type: ignore[no-untyped-call]
    info_name={"VendorName": "Farfix", "ProductCode": "SIM", "MajorMinorRevision": "1.0"}
)
SPARE_WORDS = 16
"""Holes up to this size answer zero; larger ones are illegal addresses."""
_TABLES = (RegisterKind.COIL, RegisterKind.DISCRETE, RegisterKind.HOLDING, RegisterKind.INPUT)
_BITS = (RegisterKind.COIL, RegisterKind.DISCRETE)
_TABLE_OF_FUNCTION = {
    **dict.fromkeys((1, 5, 15), RegisterKind.COIL),
    2: RegisterKind.DISCRETE,
    **dict.fromkeys((3, 6, 16, 22, 23), RegisterKind.HOLDING),
    4: RegisterKind.INPUT,
}

log = logging.getLogger(__name__)


async def serve_tcp(port: int, units: dict[int, Unit]) -> ModbusTcpServer:
    """Answer on a TCP port of this computer.

    Raises:
        Refused: the port is taken.
    """
    server = ModbusTcpServer(
        context=_context(units),
        identity=IDENTITY,
        address=("127.0.0.1", port),
        ignore_missing_devices=True,
    )
    await _listen(server.serve_forever(background=True), f"TCP port {port}")
    return server


async def serve_rtu(path: str, units: dict[int, Unit]) -> ModbusSerialServer:
    """Answer on a serial line.

    Raises:
        Refused: the line cannot be opened.
    """
    server = ModbusSerialServer(
        context=_context(units), identity=IDENTITY, port=path, ignore_missing_devices=True
    )
    await _listen(server.serve_forever(background=True), path)
    return server


async def _listen(serving: Coroutine[Any, Any, None], where: str) -> None:
    try:
        await serving
    except (RuntimeError, OSError) as error:
        raise Refused(f"cannot serve Modbus on {where}: {error}") from error


def _context(units: dict[int, Unit]) -> list[SimDevice]:
    """Return the units, and a device 0 that stands for all that are not there."""
    nobody = SimDevice(
        id=0,
        simdata=[SimData(0, values=0, count=65536, datatype=DataType.UINT16)],
        action=_stay_silent,
    )
    return [nobody, *(_device(number, unit) for number, unit in units.items())]


async def _stay_silent(  # noqa: PLR0917 - pymodbus calls it so
    function: int, start: int, address: int, count: int, now: list[int], new: object
) -> ExcCodes | None:
    del function, start, address, count, now, new
    raise NoSuchIdException


def _device(number: int, unit: Unit) -> SimDevice:
    async def act(  # noqa: PLR0917 - pymodbus calls it so
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        new: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Serve one request; pymodbus calls it again, as a read, to echo what was written."""
        del count
        if not unit.answers:
            raise NoSuchIdException
        table = _TABLE_OF_FUNCTION[function]
        if new is not None:
            return _write(unit, table, address, [int(value) for value in new])
        _show(unit.read(table), registers, start, bits=table in _BITS)
        return None

    coils, discrete, holding, inputs = (_blocks(unit.read(table), table) for table in _TABLES)
    return SimDevice(id=number, simdata=(coils, discrete, holding, inputs), action=act)


def _write(unit: Unit, table: RegisterKind, address: int, values: list[int]) -> ExcCodes | None:
    try:
        unit.write(table, address, values)
    except KeyError:
        return ExcCodes.ILLEGAL_ADDRESS
    except ValueError as error:
        log.info("%s refused a write: %s", unit.machine.device, error)
        return ExcCodes.ILLEGAL_VALUE
    return None


def _show(words: Words, registers: list[int], start: int, *, bits: bool) -> None:
    """Put current words into pymodbus's memory; bits are packed, the lowest address first."""
    for address, word in words.items():
        if bits:
            place, mask = address // 16 - start, 1 << address % 16
            registers[place] = registers[place] | mask if word else registers[place] & ~mask
        else:
            registers[address - start] = word


def _blocks(words: Words, table: RegisterKind) -> list[SimData]:
    """Return pymodbus's description of one table: runs of addresses, small holes filled."""
    if table in _BITS:
        last = max(words, default=0)
        return [SimData(0, values=[False] * (last // 16 * 16 + 16), datatype=DataType.BITS)]
    runs: list[tuple[int, int]] = []
    for address in sorted(words) or [0]:
        if runs and address - runs[-1][1] <= SPARE_WORDS:
            runs[-1] = (runs[-1][0], address)
        else:
            runs.append((address, address))
    return [
        SimData(first, values=[0] * (last - first + 1), datatype=DataType.UINT16)
        for first, last in runs
    ]
