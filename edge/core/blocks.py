"""Which registers to read together: few requests, none larger than a device must accept."""

from collections.abc import Iterable

from msgspec import Struct

from contract.errors import Malformed
from contract.machines import Register, RegisterKind, Signal

MAX_WORDS = 120
"""Modbus allows 125 registers in one answer; some devices stop at 120."""
MAX_BITS = 1900
"""Modbus allows 2000 coils in one answer."""
GAP_WORDS = 12
"""Reading this many registers that nobody asked for is cheaper than one more request."""
GAP_BITS = 12 * 16

LAST_ADDRESS = 65535


class Place(Struct, frozen=True):
    """A signal that can be read, and where it stands."""

    signal: Signal
    register: Register


class Block(Struct, frozen=True):
    """One read request: ``count`` registers or bits from ``address``, and who lies in it."""

    kind: RegisterKind
    address: int
    count: int
    places: tuple[Place, ...]

    def start(self, place: Place) -> int:
        """Return at which word of the block's answer a signal begins."""
        return place.register.address - self.address


def places(signals: Iterable[Signal]) -> list[Place]:
    """Return the signals that stand in registers.

    Raises:
        Malformed: a value would reach past the last register.
    """
    found = []
    for signal in signals:
        if signal.modbus is None:
            continue
        if signal.modbus.address + signal.modbus.words - 1 > LAST_ADDRESS:
            raise Malformed(f"signal {signal.name} reaches past register {LAST_ADDRESS}")
        found.append(Place(signal, signal.modbus))
    return found


def merge(wanted: Iterable[Place]) -> list[Block]:
    """Cover the places with blocks: per table, in order of address, joined over small gaps."""
    return _cover(wanted, GAP_WORDS, GAP_BITS)


def _cover(wanted: Iterable[Place], gap_words: int, gap_bits: int) -> list[Block]:
    blocks: list[Block] = []
    for place in sorted(wanted, key=lambda p: (p.register.register, p.register.address)):
        bits = place.register.register in (RegisterKind.COIL, RegisterKind.DISCRETE)
        joined = _join(blocks[-1], place, gap_bits if bits else gap_words) if blocks else None
        if joined is None:
            blocks.append(alone(place))
        else:
            blocks[-1] = joined
    return blocks


def split(block: Block) -> list[Block]:
    """Take a block that the device refuses apart: at its gaps, or, without any, into signals."""
    runs = _cover(block.places, gap_words=0, gap_bits=0)
    return runs if len(runs) > 1 else [alone(place) for place in block.places]


def alone(place: Place) -> Block:
    """Return the request for one signal."""
    register = place.register
    return Block(register.register, register.address, register.words, (place,))


def _join(block: Block, place: Place, gap_max: int) -> Block | None:
    register = place.register
    if register.register is not block.kind:
        return None
    bits = block.kind in (RegisterKind.COIL, RegisterKind.DISCRETE)
    limit = MAX_BITS if bits else MAX_WORDS
    end = max(block.address + block.count, register.address + register.words)
    if register.address - (block.address + block.count) > gap_max or end - block.address > limit:
        return None
    return Block(block.kind, block.address, end - block.address, (*block.places, place))
