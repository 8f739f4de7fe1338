"""The bootloader runs only what it should, whatever is sent to it."""

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from contract import firmware
from contract.errors import Malformed
from contract.firmware import UpdateControl, UpdateState
from contract.machines import library
from firmware_sim import bootloader, images, slots
from firmware_sim.bootloader import Loader, Trust
from firmware_sim.physics import build
from firmware_sim.unit import Unit
from tests.sim.updating import KEY, Writer, install, long, signed, step, words

PUMP = "centrifugal_pump"
TRUST = Trust(PUMP, KEY.public_key())


def pump(folder: Path, trust: Trust = TRUST) -> Unit:
    unit = Unit(library()[PUMP], build(PUMP, "pump-1", 1), trust, folder)
    step(unit, 30)
    return unit


def test_an_update_runs_on_trial_and_stays_when_confirmed(tmp_path: Path) -> None:
    unit = pump(tmp_path)
    install(unit)
    step(unit, 400)
    assert unit.machine.values["firmware_version"] == firmware.version_number("1.1.0")
    assert Writer(unit).state() is UpdateState.CONFIRMED
    again = pump(tmp_path)
    assert again.machine.firmware == "1.1.0"
    assert again.machine.defects == ()


def test_an_unconfirmed_trial_falls_back_after_its_time(tmp_path: Path) -> None:
    unit = pump(tmp_path)
    writer = Writer(unit)
    writer.send(*signed(PUMP, "1.1.0"))
    writer.order(UpdateControl.BOOT_TRIAL)
    step(unit, 20)
    assert unit.machine.firmware == "1.1.0"
    step(unit, int(bootloader.TRIAL_S) + 30)
    assert unit.machine.firmware == "1.0.0"
    assert writer.state() is UpdateState.FELL_BACK
    assert unit.machine.values["boot_count"] == 3.0


def test_a_power_cut_during_the_trial_falls_back(tmp_path: Path) -> None:
    unit = pump(tmp_path)
    writer = Writer(unit)
    writer.send(*signed(PUMP, "1.1.0"))
    writer.order(UpdateControl.BOOT_TRIAL)
    step(unit, 30)
    assert writer.state() is UpdateState.TRIAL
    after_cut = pump(tmp_path)
    assert after_cut.machine.firmware == "1.0.0"
    assert Writer(after_cut).state() is UpdateState.FELL_BACK


def test_a_power_cut_during_the_transfer_forgets_it(tmp_path: Path) -> None:
    writer = Writer(pump(tmp_path))
    writer.order(UpdateControl.BEGIN)
    assert Writer(pump(tmp_path)).state() is UpdateState.IDLE


def test_chunks_may_be_repeated_but_not_left_out(tmp_path: Path) -> None:
    unit = pump(tmp_path)
    writer = Writer(unit)
    writer.order(UpdateControl.BEGIN)
    for _ in range(2):
        writer.put(firmware.BLOCK_OFFSET, [*long(0), 4, *long(0)])
        writer.put(firmware.BLOCK_DATA, words(b"abcd"))
        assert writer.order(UpdateControl.STORE_CHUNK) is UpdateState.RECEIVING
    writer.put(firmware.BLOCK_OFFSET, long(6))
    assert writer.order(UpdateControl.STORE_CHUNK) is UpdateState.REJECTED


@pytest.mark.parametrize("length", [0, firmware.CHUNK_BYTES + 1])
def test_a_chunk_of_impossible_length_spoils_the_transfer(tmp_path: Path, length: int) -> None:
    writer = Writer(pump(tmp_path))
    writer.order(UpdateControl.BEGIN)
    writer.put(firmware.BLOCK_LENGTH, [length])
    assert writer.order(UpdateControl.STORE_CHUNK) is UpdateState.REJECTED


def refused(release: firmware.Release, image: bytes, trust: Trust = TRUST) -> str:
    """Send it past the bootloader; return why it was rejected, having checked that it was."""
    loader = Loader(slots=(images.factory(PUMP), b""))
    block = [0] * firmware.BLOCK_WORDS
    block[firmware.BLOCK_CONTROL] = UpdateControl.VERIFY
    version = firmware.version_number(release.version)
    block[firmware.BLOCK_VERSION : firmware.BLOCK_SIGNATURE] = [
        *long(version),
        *long(release.size_bytes),
    ]
    block[firmware.BLOCK_SIGNATURE : firmware.BLOCK_DATA] = words(bytes.fromhex(release.signature))
    ready = Loader(slots=loader.slots, state=UpdateState.RECEIVING, received=image)
    after = bootloader.order(ready, block, trust, 0)
    assert after.state is UpdateState.REJECTED
    assert after.slots == loader.slots
    return after.reason


def test_what_is_not_right_is_rejected_and_never_touches_a_slot() -> None:
    release, image = signed(PUMP, "1.1.0")
    assert "signed" in refused(release, image.replace(b"1.1.0", b"1.9.0"))
    assert "bytes" in refused(release, image + b" ")
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(32))
    assert "signed" in refused(firmware.sign(stranger, PUMP, "1.1.0", image), image)
    assert "trusts no key" in refused(release, image, Trust(PUMP, None))
    assert "signed" in refused(*signed("chiller", "1.1.0"))
    assert "older" in refused(*signed(PUMP, "0.9.9"))
    wrong = images.build("chiller", "1.1.0")
    assert "announced as" in refused(firmware.sign(KEY, PUMP, "1.1.0", wrong), wrong)
    noise = hashlib.sha256(b"noise").digest()
    assert "not a firmware image" in refused(firmware.sign(KEY, PUMP, "1.1.0", noise), noise)


block_words = st.lists(
    st.integers(0, 0xFFFF), min_size=firmware.BLOCK_WORDS, max_size=firmware.BLOCK_WORDS
)
orders = st.tuples(st.sampled_from(["boot", 0, 1, 2, 3, 4, 5, 6, 7]), block_words)


@given(st.lists(orders, max_size=12))
def test_nothing_unsigned_ever_runs(steps: list[tuple[int | str, list[int]]]) -> None:
    loader = Loader(slots=(images.factory(PUMP), b""))
    for what, block in steps:
        if what == "boot":
            loader = bootloader.boot(loader, 0)
        else:
            loader = bootloader.order(loader, [int(what), *block[1:]], TRUST, 0)
        assert bootloader.running(loader).version == "1.0.0"
        assert loader.slots == (images.factory(PUMP), b"")


def test_confirm_without_a_trial_changes_nothing() -> None:
    loader = Loader(slots=(images.factory(PUMP), b""), state=UpdateState.VERIFIED)
    block = [int(UpdateControl.CONFIRM), *[0] * (firmware.BLOCK_WORDS - 1)]
    assert bootloader.order(loader, block, TRUST, 0) == loader


def test_a_damaged_slot_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pump-1.json"
    file.write_text("{")
    with pytest.raises(Malformed, match="delete it"):
        slots.load(file, PUMP)
    slots.save(file, Loader(slots=(images.factory("chiller"), b"")))
    with pytest.raises(Malformed, match="another type"):
        slots.load(file, PUMP)
