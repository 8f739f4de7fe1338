"""Words on the wire, held against pymodbus's own reading of them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client.mixin import ModbusClientMixin

from contract.machines import ByteOrder, Register, RegisterKind, RegisterType
from firmware_sim.registers import decode_word, encode

Peer = ModbusClientMixin[None]
PEER_TYPES = {
    RegisterType.INT16: Peer.DATATYPE.INT16,
    RegisterType.UINT16: Peer.DATATYPE.UINT16,
    RegisterType.INT32: Peer.DATATYPE.INT32,
    RegisterType.UINT32: Peer.DATATYPE.UINT32,
    RegisterType.FLOAT32: Peer.DATATYPE.FLOAT32,
}


def register(kind: RegisterType, **rest: float) -> Register:
    return Register(register=RegisterKind.INPUT, address=0, type=kind, **rest)  # type: ignore[arg-type]


@given(st.integers(-40_000, 70_000), st.sampled_from([t for t in PEER_TYPES if t != "FLOAT32"]))
def test_whole_numbers_read_back_and_do_not_wrap(value: int, kind: RegisterType) -> None:
    read = Peer.convert_from_registers(encode(float(value), register(kind)), PEER_TYPES[kind])
    low = {"INT16": -(2**15), "UINT16": 0, "INT32": -(2**31), "UINT32": 0}[kind]
    high = {"INT16": 2**15, "UINT16": 2**16, "INT32": 2**31, "UINT32": 2**32}[kind] - 1
    assert read == min(max(value, low), high)


@given(st.floats(-(2.0**99), 2.0**99, width=32))
@pytest.mark.parametrize("order", ["big", "little"])
def test_floats_read_back_in_both_word_orders(order: str, value: float) -> None:
    byte_order = ByteOrder.ABCD if order == "big" else ByteOrder.CDAB
    where = Register(
        register=RegisterKind.INPUT, address=0, type=RegisterType.FLOAT32, byte_order=byte_order
    )
    words = encode(value, where)
    read = Peer.convert_from_registers(words, Peer.DATATYPE.FLOAT32, word_order=order)  # type: ignore[arg-type]
    assert isinstance(read, float)
    assert math.isclose(read, value, rel_tol=1e-7)


def test_the_other_byte_orders_stand_as_their_letters_say() -> None:
    def words(order: ByteOrder) -> list[int]:
        return encode(
            float(0x0A0B0C0D),
            Register(
                register=RegisterKind.INPUT,
                address=0,
                type=RegisterType.UINT32,
                byte_order=order,
            ),
        )

    assert words(ByteOrder.ABCD) == [0x0A0B, 0x0C0D]
    assert words(ByteOrder.CDAB) == [0x0C0D, 0x0A0B]
    assert words(ByteOrder.BADC) == [0x0B0A, 0x0D0C]
    assert words(ByteOrder.DCBA) == [0x0D0C, 0x0B0A]


def test_no_value_shows_as_the_sentinel() -> None:
    assert encode(None, register(RegisterType.INT16, invalid=0x8000)) == [0x8000]


@given(st.integers(-(2**15), 2**15 - 1))
def test_settings_survive_the_way_there_and_back(raw: int) -> None:
    where = register(RegisterType.INT16, scale=0.01)
    assert encode(decode_word(raw & 0xFFFF, where), where) == [raw & 0xFFFF]
