"""Few reads that cover every register, none larger than a device must accept."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import machines
from contract.errors import Malformed
from contract.machines import Register, RegisterKind, RegisterType, Signal
from edge.core import blocks

BITS = (RegisterKind.COIL, RegisterKind.DISCRETE)


@st.composite
def signals(draw: st.DrawFn) -> list[Signal]:
    found = []
    for number in range(draw(st.integers(0, 60))):
        kind = draw(st.sampled_from(RegisterKind))
        types = [RegisterType.BIT] if kind in BITS else [RegisterType.INT16, RegisterType.FLOAT32]
        place = Register(
            register=kind,
            address=draw(st.integers(0, 2500) | st.integers(60000, 65534)),
            type=draw(st.sampled_from(types)),
        )
        found.append(Signal(name=f"s{number}", title="s", unit="", range=(0, 1), modbus=place))
    return found


@given(signals())
def test_every_signal_is_read_once_and_whole(found: list[Signal]) -> None:
    merged = blocks.merge(blocks.places(found))
    names = [place.signal.name for block in merged for place in block.places]
    assert sorted(names) == sorted(signal.name for signal in found)
    for block in merged:
        for place in block.places:
            assert place.register.register is block.kind
            assert block.address + block.start(place) == place.register.address
            assert block.start(place) + place.register.words <= block.count


@given(signals())
def test_no_block_is_too_large_and_none_overlap(found: list[Signal]) -> None:
    merged = blocks.merge(blocks.places(found))
    for block in merged:
        assert 0 < block.count <= (1900 if block.kind in BITS else 120)
        assert block.address + block.count <= 65536
    for before, after in itertools.pairwise(merged):
        if before.kind is after.kind:
            # A value may reach into the next one's registers only where signals overlap.
            assert after.address > before.address


def test_small_gaps_are_read_over_and_large_ones_are_not() -> None:
    def at(address: int) -> Signal:
        place = Register(register=RegisterKind.INPUT, address=address)
        return Signal(name=f"s{address}", title="s", unit="", range=(0, 1), modbus=place)

    merged = blocks.merge(blocks.places([at(0), at(13), at(40)]))
    assert [(block.address, block.count) for block in merged] == [(0, 14), (40, 1)]


@given(signals())
def test_a_refused_block_falls_apart_at_its_gaps_and_then_into_signals(
    found: list[Signal],
) -> None:
    pending, singles = blocks.merge(blocks.places(found)), []
    while pending:
        block = pending.pop()
        if len(block.places) == 1:
            singles.append(block)
            continue
        parts = blocks.split(block)
        assert len(parts) > 1, "it must become smaller"
        assert sum(len(part.places) for part in parts) == len(block.places)
        pending += parts
    assert len(singles) == len(found)
    assert all(s.count == s.places[0].register.words for s in singles)


def test_a_gap_that_a_device_does_not_have_costs_one_request_more() -> None:
    def at(address: int) -> Signal:
        place = Register(register=RegisterKind.INPUT, address=address)
        return Signal(name=f"s{address}", title="s", unit="", range=(0, 1), modbus=place)

    (whole,) = blocks.merge(blocks.places([at(0), at(1), at(5), at(6)]))
    assert [(b.address, b.count) for b in blocks.split(whole)] == [(0, 2), (5, 2)]


def test_a_value_past_the_last_register_is_refused() -> None:
    place = Register(register=RegisterKind.INPUT, address=65535, type=RegisterType.UINT32)
    with pytest.raises(Malformed, match="past register"):
        blocks.places([Signal(name="s", title="s", unit="", range=(0, 1), modbus=place)])


def test_every_machine_type_takes_few_requests() -> None:
    for machine in machines.library().values():
        assert len(blocks.merge(blocks.places(machine.signals))) <= 6, machine.name
