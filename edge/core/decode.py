"""Words of registers to values with a quality, and values to words.

Bytes travel high byte first within a word; ``byte_order`` says where a value's bytes A (most
significant) to D stand in that stream. Two-byte types look at the first two letters only.
"""

import math
import struct
from collections.abc import Sequence

from contract.errors import Malformed
from contract.machines import ByteOrder, Register, RegisterType, Signal
from contract.telemetry import Quality

_FORMAT = {
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


def decode(
    signal: Signal, register: Register, words: Sequence[int]
) -> tuple[float | None, Quality]:
    """Return a signal's value in its unit and how far it may be trusted."""
    number = value(register, words)
    if number is None:
        return None, Quality.BAD
    low, high = signal.range
    return number, Quality.GOOD if low <= number <= high else Quality.UNCERTAIN


def value(register: Register, words: Sequence[int]) -> float | None:
    """Return what a register shows, in its unit; ``None`` when it shows nothing valid."""
    data = _most_significant_first(register, _bytes(words))
    if register.invalid is not None and int.from_bytes(data, "big") == register.invalid:
        return None
    number = _scaled(register, _raw(register, data))
    return number if math.isfinite(number) else None


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


def _bytes(words: Sequence[int]) -> bytes:
    return b"".join(word.to_bytes(2, "big") for word in words)


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


def _raw(register: Register, data: bytes) -> float:
    if register.type is RegisterType.BIT:
        return data[-1] & 1
    number: float = struct.unpack(_FORMAT[register.type], data)[0]
    return number


def _divisor(scale: float) -> int | None:
    """Return 10 for a scale of 0.1: 3 / 10 is 0.3, while 3 * 0.1 is 0.30000000000000004."""
    if not 0 < scale < 1:
        return None
    divisor = round(1 / scale)
    return divisor if math.isclose(1 / divisor, scale, rel_tol=1e-12) else None


def _scaled(register: Register, raw: float) -> float:
    divisor = _divisor(register.scale)
    return raw * register.scale if divisor is None else raw / divisor


def _unscaled(register: Register, value: float) -> float:
    divisor = _divisor(register.scale)
    return value / register.scale if divisor is None else value * divisor
