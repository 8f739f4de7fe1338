"""Raw words over Modbus TCP or RTU: one connection and one request at a time per bus.

A request waits its turn at the bus's lock, so polls and commands of several units take turns. On
a serial line a reply has no number: one that comes too late is ignored while nobody waits, and
otherwise recognised by unit, function and length.
"""

import asyncio
import logging
from collections.abc import Awaitable

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU

from contract.errors import Refused, Unreachable
from contract.machines import RegisterKind
from edge.config import BusConfig

# pymodbus prints recent frames for every device that does not answer; we say it in our own words.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

_SAYS_NO = {
    ExcCodes.ILLEGAL_FUNCTION: "illegal function",
    ExcCodes.ILLEGAL_ADDRESS: "illegal data address",
    ExcCodes.ILLEGAL_VALUE: "illegal data value",
    ExcCodes.NEGATIVE_ACKNOWLEDGE: "negative acknowledge",
}
"""Exceptions that will be the same next time; all others may pass."""

Client = AsyncModbusTcpClient | AsyncModbusSerialClient


class Bus:
    """One Modbus line or host and the units on it."""

    def __init__(self, config: BusConfig) -> None:
        self.name = config.name
        self.timeout_s = config.timeout_s
        self._lock = asyncio.Lock()
        self._client = _client(config)

    async def read(self, unit: int, kind: RegisterKind, address: int, count: int) -> list[int]:
        """Return raw 16-bit words, or bits as 0 and 1.

        Raises:
            Unreachable: no answer in time, a broken one, or the device is busy.
            Refused: the device does not have these registers.
        """
        async with self._lock:
            client = await self._connected()
            match kind:
                case RegisterKind.COIL:
                    call = client.read_coils(address, count=count, device_id=unit)
                case RegisterKind.DISCRETE:
                    call = client.read_discrete_inputs(address, count=count, device_id=unit)
                case RegisterKind.HOLDING:
                    call = client.read_holding_registers(address, count=count, device_id=unit)
                case RegisterKind.INPUT:
                    call = client.read_input_registers(address, count=count, device_id=unit)
            reply = await self._reply(call, unit)
        bits = kind in (RegisterKind.COIL, RegisterKind.DISCRETE)
        words = [int(bit) for bit in reply.bits[:count]] if bits else list(reply.registers)
        if len(words) != count:
            raise Unreachable(f"unit {unit} sent {len(words)} values instead of {count}")
        return words

    async def write(self, unit: int, kind: RegisterKind, address: int, words: list[int]) -> None:
        """Write words to holding registers, or one bit to a coil.

        Raises:
            Unreachable: no answer, so the device may or may not have taken it.
            Refused: the device said no.
        """
        async with self._lock:
            client = await self._connected()
            if kind is RegisterKind.COIL:
                call = client.write_coil(address, bool(words[0]), device_id=unit)
            elif len(words) == 1:
                call = client.write_register(address, words[0], device_id=unit)
            else:
                call = client.write_registers(address, words, device_id=unit)
            await self._reply(call, unit)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    async def _connected(self) -> Client:
        if not self._client.connected and not await self._client.connect():
            raise Unreachable(f"bus {self.name} cannot be opened: nothing answers there")
        return self._client

    async def _reply(self, call: Awaitable[ModbusPDU], unit: int) -> ModbusPDU:
        try:
            reply = await call
        except (ModbusException, OSError) as error:
            raise Unreachable(f"unit {unit} on bus {self.name} does not answer") from error
        if not reply.isError():
            return reply
        code = reply.exception_code
        if code in _SAYS_NO:
            raise Refused(f"unit {unit} says {_SAYS_NO[ExcCodes(code)]}")
        raise Unreachable(f"unit {unit} answers with Modbus exception {code}: busy or failing")


def _client(config: BusConfig) -> Client:
    """Make a client that never reconnects or repeats by itself: the schedule decides that."""
    if config.kind == "tcp":
        return AsyncModbusTcpClient(
            config.host, port=config.port, timeout=config.timeout_s, retries=0, reconnect_delay=0
        )
    return AsyncModbusSerialClient(
        config.path,
        framer=FramerType.RTU,
        baudrate=config.baud,
        parity=config.parity,
        stopbits=config.stop_bits,
        timeout=config.timeout_s,
        retries=0,
        reconnect_delay=0,
    )
