"""Words of registers to values with a quality, and values to words.

Bytes travel high byte first within a word; ``byte_order`` says where a value's bytes A (most
significant) to D stand in that stream. Two-byte types look at the first two letters only.
"""

import math
import struct
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from contract.errors import Malformed
from contract.machines import ByteOrder, Register, RegisterType, Signal
from contract.telemetry import Quality

_FORMAT = {
    RegisterType.BIT: ">H",
    RegisterType.INT16: ">h",
    RegisterType.UINT16: ">H",
    RegisterType.INT32: ">i",
    RegisterType.UINT32: ">I",
    RegisterType.FLOAT32: ">f",
}
_BOUNDS = {
    RegisterType.BIT: (0, 1),
    RegisterType.INT16: (-(2**15), 2**15 - 1),
    RegisterType.UINT16: (0, 2**16 - 1),
    RegisterType.INT32: (-(2**31), 2**31 - 1),
    RegisterType.UINT32: (0, 2**32 - 1),
}


class _Field(Struct, frozen=True):
    """How to read one register's value: all that can be known before its words arrive."""

    swapped: bool
    """Read it where the bytes of each word have changed places."""
    format: struct.Struct
    unsigned: struct.Struct
    invalid: int | None
    bit: bool
    divisor: int | None
    scale: float

    def value(self, data: bytes, offset: int) -> float | None:
        """Return what stands at an offset, in its unit; ``None`` when it is nothing valid."""
        if self.invalid is not None and self.unsigned.unpack_from(data, offset)[0] == self.invalid:
            return None
        (raw,) = self.format.unpack_from(data, offset)
        if self.bit:
            raw &= 1
        number: float = raw * self.scale if self.divisor is None else raw / self.divisor
        return number if math.isfinite(number) else None


class _Column(Struct, frozen=True):
    """One signal in a block of words."""

    name: str
    field: _Field
    offset: int
    low: float
    high: float


class Decoder:
    """Reads the signals of one block of words; made once, used at every tick."""

    def __init__(self, signals: Iterable[tuple[Signal, Register, int]]) -> None:
        """Prepare for signals, where each stands, and at which word of the block."""
        self._columns = [
            _Column(signal.name, _field(register), 2 * word, *signal.range)
            for signal, register, word in signals
        ]

    def read(self, words: Sequence[int]) -> Iterator[tuple[str, float | None, Quality]]:
        """Yield each signal's name, its value in its unit, and how far it may be trusted."""
        data = _streams(words)
        for column in self._columns:
            field = column.field
            number = field.value(data[field.swapped], column.offset)
            if number is None:
                yield column.name, None, Quality.BAD
            elif column.low <= number <= column.high:
                yield column.name, number, Quality.GOOD
            else:
                yield column.name, number, Quality.UNCERTAIN


def value(register: Register, words: Sequence[int]) -> float | None:
    """Return what a register shows, in its unit; ``None`` when it shows nothing valid."""
    field = _field(register)
    return field.value(_streams(words)[field.swapped], 0)


def encode(register: Register, value: float) -> list[int]:
    """Return the words that stand for a value in its unit, rounded to the nearest raw number.

    Raises:
        Malformed: the register cannot hold the value.
    """
    raw = _unscaled(register, value)
    if not math.isfinite(raw):
        raise Malformed(f"{value} cannot be written to a register")
    if register.type is RegisterType.FLOAT32:
        try:
            data = struct.pack(">f", raw)
        except OverflowError as error:
            raise Malformed(f"{value} does not fit into a {register.type} register") from error
        return _words(_most_significant_first(register, data))
    low, high = _BOUNDS[register.type]
    number = round(raw)
    if not low <= number <= high:
        raise Malformed(
            f"{value} does not fit into a {register.type} register of scale {register.scale:g}"
        )
    if register.type is RegisterType.BIT:
        return [number]
    return _words(_most_significant_first(register, struct.pack(_FORMAT[register.type], number)))


def agrees(register: Register, wanted: float, read: float | None) -> bool:
    """Tell whether a read-back equals what was written: within half a raw unit, or float noise."""
    if read is None:
        return False
    if register.type is RegisterType.FLOAT32:
        return math.isclose(read, wanted, rel_tol=1e-6, abs_tol=1e-30)
    return abs(_unscaled(register, read) - _unscaled(register, wanted)) <= 0.5 + 1e-6


def _streams(words: Sequence[int]) -> tuple[bytes, bytes]:
    """Return the words as they travel, and with the bytes of each word changed over.

    Of the four orders, ABCD and DCBA are the first stream read forwards and backwards, BADC and
    CDAB the second one.
    """
    count = len(words)
    return struct.pack(f">{count}H", *words), struct.pack(f"<{count}H", *words)


def _field(register: Register) -> _Field:
    order = register.byte_order
    code = _FORMAT[register.type][1]
    if register.words == 1:
        backwards = (
            order in (ByteOrder.BADC, ByteOrder.DCBA) and register.type is not RegisterType.BIT
        )
        swapped = False
    else:
        backwards = order in (ByteOrder.DCBA, ByteOrder.CDAB)
        swapped = order in (ByteOrder.BADC, ByteOrder.CDAB)
    end = "<" if backwards else ">"
    return _Field(
        swapped=swapped,
        format=struct.Struct(end + code),
        unsigned=struct.Struct(end + ("H" if register.words == 1 else "I")),
        invalid=register.invalid,
        bit=register.type is RegisterType.BIT,
        divisor=_divisor(register.scale),
        scale=register.scale,
    )


def _words(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]


def _most_significant_first(register: Register, data: bytes) -> bytes:
    """Put bytes from wire order into ABCD, or back: every order is its own inverse."""
    order = register.byte_order
    if register.words == 1:
        swapped = (
            order in (ByteOrder.BADC, ByteOrder.DCBA) and register.type is not RegisterType.BIT
        )
        return data[::-1] if swapped else data
    return bytes(data["ABCD".index(letter)] for letter in order)


def _divisor(scale: float) -> int | None:
    """Return 10 for a scale of 0.1: 3 / 10 is 0.3, while 3 * 0.1 is 0.30000000000000004."""
    if not 0 < scale < 1:
        return None
    divisor = round(1 / scale)
    return divisor if math.isclose(1 / divisor, scale, rel_tol=1e-12) else None


def _unscaled(register: Register, value: float) -> float:
    divisor = _divisor(register.scale)
    return value / register.scale if divisor is None else value * divisor
