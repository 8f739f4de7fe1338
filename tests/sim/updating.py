"""Sending a release through the update block, as an edge agent does."""

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract import firmware
from contract.firmware import Release, UpdateControl, UpdateState
from contract.machines import RegisterKind, library
from firmware_sim import images
from firmware_sim.unit import Unit

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def words(data: bytes) -> list[int]:
    padded = data + bytes(len(data) % 2)
    return [int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2)]


def long(number: int) -> list[int]:
    return [number >> 16, number & 0xFFFF]


class Writer:
    """Writes the update block of one unit."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        start = library()[unit.machine.machine_type].firmware_block
        assert start is not None
        self.start = start

    def put(self, offset: int, values: Sequence[int]) -> None:
        self.unit.write(RegisterKind.HOLDING, self.start + offset, values)

    def order(self, control: UpdateControl) -> UpdateState:
        self.put(firmware.BLOCK_CONTROL, [int(control)])
        return self.state()

    def state(self) -> UpdateState:
        holding = self.unit.read(RegisterKind.HOLDING)
        return UpdateState(holding[self.start + firmware.BLOCK_STATE])

    def send(self, release: Release, image: bytes) -> UpdateState:
        """Send everything up to VERIFY."""
        version = firmware.version_number(release.version)
        self.put(firmware.BLOCK_VERSION, [*long(version), *long(release.size_bytes)])
        assert self.order(UpdateControl.BEGIN) is UpdateState.RECEIVING
        for offset in range(0, len(image), firmware.CHUNK_BYTES):
            chunk = image[offset : offset + firmware.CHUNK_BYTES]
            self.put(firmware.BLOCK_OFFSET, [*long(offset), len(chunk)])
            self.put(firmware.BLOCK_DATA, words(chunk))
            self.order(UpdateControl.STORE_CHUNK)
        self.put(firmware.BLOCK_SIGNATURE, words(bytes.fromhex(release.signature)))
        return self.order(UpdateControl.VERIFY)


def step(unit: Unit, seconds: int) -> None:
    for _ in range(seconds):
        unit.step(1.0, unit.machine.now_ns + 1_000_000_000)


def signed(machine_type: str, version: str, **claims: Any) -> tuple[Release, bytes]:
    """Return a release of a version, without defects unless they are given, and its image."""
    image = images.build(machine_type, version, **claims)
    return firmware.sign(KEY, machine_type, version, image), image


def install(unit: Unit, version: str = "1.1.0", **claims: Any) -> None:
    """Update the unit and confirm, as an edge agent does when all goes well."""
    writer = Writer(unit)
    assert (
        writer.send(*signed(unit.machine.machine_type, version, **claims)) is UpdateState.VERIFIED
    )
    assert writer.order(UpdateControl.BOOT_TRIAL) is UpdateState.VERIFIED
    step(unit, 30)
    assert writer.state() is UpdateState.TRIAL
    assert writer.order(UpdateControl.CONFIRM) is UpdateState.CONFIRMED
