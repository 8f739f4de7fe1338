"""Words to values and back: every type, every byte order."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import Malformed
from contract.machines import ByteOrder, Register, RegisterKind, RegisterType, Signal
from contract.telemetry import Quality
from edge.core import decode

BOUNDS = {
    RegisterType.BIT: (0, 1),
    RegisterType.INT16: (-(2**15), 2**15 - 1),
    RegisterType.UINT16: (0, 2**16 - 1),
    RegisterType.INT32: (-(2**31), 2**31 - 1),
    RegisterType.UINT32: (0, 2**32 - 1),
}
SCALES = (1.0, 0.1, 0.01, 0.001, 10.0, 0.25, 1 / 3)


def register(
    kind: RegisterType,
    order: ByteOrder = ByteOrder.ABCD,
    scale: float = 1.0,
    invalid: int | None = None,
) -> Register:
    return Register(
        register=RegisterKind.HOLDING,
        address=7,
        type=kind,
        byte_order=order,
        scale=scale,
        invalid=invalid,
    )


def signal(low: float = -1e12, high: float = 1e12) -> Signal:
    return Signal(name="s", title="s", unit="", range=(low, high))


def read(limits: Signal, place: Register, words: list[int]) -> tuple[float | None, Quality]:
    ((name, value, quality),) = decode.Decoder([(limits, place, 0)]).read(words)
    assert name == limits.name
    return value, quality


FORMATS = {"BIT": ">H", "INT16": ">h", "UINT16": ">H", "INT32": ">i", "UINT32": ">I"}


def by_letters(place: Register, words: list[int]) -> float | None:
    """Read a value as the standard's letters say, one byte after the other."""
    wire = b"".join(word.to_bytes(2, "big") for word in words[: place.words])
    letters = str(place.byte_order)
    if place.words == 1:
        letters = "BA" if place.byte_order in ("BADC", "DCBA") else "AB"
        letters = "AB" if place.type is RegisterType.BIT else letters
    data = bytes(wire[letters.index(letter)] for letter in sorted(letters))
    if place.invalid is not None and int.from_bytes(data, "big") == place.invalid:
        return None
    raw = struct.unpack(FORMATS.get(place.type, ">f"), data)[0]
    raw = raw & 1 if place.type is RegisterType.BIT else raw
    return raw if math.isfinite(raw) else None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(RegisterType),
            st.sampled_from(ByteOrder),
            st.none() | st.integers(0, 2**32 - 1),
        ),
        min_size=1,
        max_size=20,
    ),
    st.data(),
)
def test_a_block_is_read_as_each_value_alone(
    kinds: list[tuple[RegisterType, ByteOrder, int | None]], data: st.DataObject
) -> None:
    word = st.integers(0, 65535)
    words = data.draw(st.lists(word, min_size=2 * len(kinds), max_size=2 * len(kinds)))
    places = [register(kind, order, invalid=invalid) for kind, order, invalid in kinds]
    found = decode.Decoder([(signal(), p, 2 * i) for i, p in enumerate(places)]).read(words)
    for i, (_, value, quality) in enumerate(found):
        expected = by_letters(places[i], words[2 * i :])
        assert value == expected
        assert (quality is Quality.BAD) == (expected is None)
        assert decode.value(places[i], words[2 * i :]) == expected


@given(st.data(), st.sampled_from(list(BOUNDS)), st.sampled_from(ByteOrder))
def test_whole_numbers_survive_the_round_trip(
    data: st.DataObject, kind: RegisterType, order: ByteOrder
) -> None:
    raw = data.draw(st.integers(*BOUNDS[kind]))
    scale = data.draw(st.sampled_from(SCALES if kind is not RegisterType.BIT else (1.0,)))
    place = register(kind, order, scale)
    value = decode.value(place, decode.encode(place, raw * scale))
    assert value is not None
    assert math.isclose(value, raw * scale, rel_tol=1e-12, abs_tol=1e-12)
    assert len(decode.encode(place, raw * scale)) == place.words


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from(ByteOrder))
def test_floats_survive_the_round_trip(number: float, order: ByteOrder) -> None:
    place = register(RegisterType.FLOAT32, order)
    assert decode.value(place, decode.encode(place, number)) == number


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (ByteOrder.ABCD, [0x0A0B, 0x0C0D]),
        (ByteOrder.CDAB, [0x0C0D, 0x0A0B]),
        (ByteOrder.BADC, [0x0B0A, 0x0D0C]),
        (ByteOrder.DCBA, [0x0D0C, 0x0B0A]),
    ],
)
def test_byte_orders_are_those_of_telegraf(order: ByteOrder, words: list[int]) -> None:
    assert decode.value(register(RegisterType.UINT32, order), words) == 0x0A0B0C0D


@pytest.mark.parametrize(
    ("order", "word"),
    [
        (ByteOrder.ABCD, 0x0A0B),
        (ByteOrder.CDAB, 0x0A0B),
        (ByteOrder.BADC, 0x0B0A),
        (ByteOrder.DCBA, 0x0B0A),
    ],
)
def test_two_byte_types_look_at_the_first_two_letters(order: ByteOrder, word: int) -> None:
    assert decode.value(register(RegisterType.UINT16, order), [word]) == 0x0A0B


def test_a_scale_of_a_tenth_gives_the_nearest_number() -> None:
    assert decode.value(register(RegisterType.UINT16, scale=0.1), [3]) == 0.3


def test_the_devices_mark_for_nothing_is_bad() -> None:
    place = register(RegisterType.INT16, invalid=0x8000)
    assert read(signal(), place, [0x8000]) == (None, Quality.BAD)
    assert read(signal(), place, [0x7FFF]) == (32767, Quality.GOOD)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_floats_that_are_no_numbers_are_bad(number: float) -> None:
    words = list(struct.unpack(">2H", struct.pack(">f", number)))
    place = register(RegisterType.FLOAT32)
    assert read(signal(), place, words) == (None, Quality.BAD)


@given(st.integers(0, 65535))
def test_quality_follows_the_plausible_range(raw: int) -> None:
    value, quality = read(signal(10, 60), register(RegisterType.UINT16), [raw])
    assert value == raw
    assert quality is (Quality.GOOD if 10 <= raw <= 60 else Quality.UNCERTAIN)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (RegisterType.UINT16, -1),
        (RegisterType.UINT16, 65536),
        (RegisterType.INT16, 40000),
        (RegisterType.UINT16, math.nan),
        (RegisterType.FLOAT32, 1e39),
        (RegisterType.FLOAT32, math.inf),
        (RegisterType.BIT, 2),
    ],
)
def test_what_does_not_fit_is_refused(kind: RegisterType, value: float) -> None:
    with pytest.raises(Malformed):
        decode.encode(register(kind), value)


def test_a_read_back_may_differ_by_half_a_raw_unit() -> None:
    place = register(RegisterType.INT16, scale=0.1)
    assert decode.agrees(place, 5.04, 5.0)
    assert not decode.agrees(place, 5.0, 5.1)
    assert not decode.agrees(place, 5.0, None)


@given(st.floats(min_value=-1e30, max_value=1e30))
def test_a_float_read_back_may_differ_by_its_own_noise(number: float) -> None:
    place = register(RegisterType.FLOAT32, scale=0.1)
    shown = decode.value(place, decode.encode(place, number))
    assert decode.agrees(place, number, shown)
    assert not decode.agrees(place, number, number * 1.01 + 1)
