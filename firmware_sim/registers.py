"""Values to register words and back, as the machine type's register map says."""

import struct

from contract.machines import Register, RegisterType

_SIGNED = (RegisterType.INT16, RegisterType.INT32)


def encode(value: float | None, register: Register) -> list[int]:
    """Return the words that show a value; ``None`` shows as the mark for "no valid value".

    Numbers that do not fit stand at the end of the type's span, as real devices leave them.
    """
    bits = 16 * register.words
    if value is None:
        raw = register.invalid or 0
    elif register.type is RegisterType.FLOAT32:
        raw = _float_bits(value)
    else:
        low = -(1 << bits - 1) if register.type in _SIGNED else 0
        high = low + (1 << bits) - 1
        raw = max(low, min(high, round(value / register.scale)))
    return _order((raw & ((1 << bits) - 1)).to_bytes(bits // 8, "big"), register.byte_order)


def decode_word(word: int, register: Register) -> float:
    """Return the value that a written 16-bit word means."""
    raw = word - 0x10000 if register.type is RegisterType.INT16 and word & 0x8000 else word
    return raw * register.scale


def _float_bits(value: float) -> int:
    return int.from_bytes(struct.pack(">f", value), "big")


def _order(data: bytes, byte_order: str) -> list[int]:
    if len(data) == 2:
        swapped = byte_order.index("A") > byte_order.index("B")
        return [int.from_bytes(data, "little" if swapped else "big")]
    wire = bytes(data["ABCD".index(letter)] for letter in byte_order)
    return [int.from_bytes(wire[:2], "big"), int.from_bytes(wire[2:], "big")]
