"""The bootloader runs only what it should, whatever is sent to it."""

import hashlib
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from contract import firmware
from contract.errors import Malformed
from contract.firmware import UpdateControl, UpdateState
from contract.machines import RegisterKind, library
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
    assert "hardware [2, 3]" in refused(*signed(PUMP, "1.1.0", hardware=[2, 3]))
    assert "needs 1.0.5" in refused(*signed(PUMP, "1.1.0", min_version="1.0.5"))
    wrong = images.build("chiller", "1.1.0")
    assert "announced as" in refused(firmware.sign(KEY, PUMP, "1.1.0", wrong), wrong)
    noise = hashlib.sha256(b"noise").digest()
    assert "not a firmware image" in refused(firmware.sign(KEY, PUMP, "1.1.0", noise), noise)


block_words = st.binary(min_size=2 * firmware.BLOCK_WORDS, max_size=2 * firmware.BLOCK_WORDS).map(
    lambda data: list(struct.unpack(f">{firmware.BLOCK_WORDS}H", data))
)
orders = st.tuples(st.sampled_from(["boot", 0, 1, 2, 3, 4, 5, 6, 7, 8]), block_words)


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


def revert(unit: Unit) -> UpdateState:
    state = Writer(unit).order(UpdateControl.REVERT)
    step(unit, 30)
    return state


def test_a_confirmed_update_is_reverted_once_and_stays_so(tmp_path: Path) -> None:
    unit = pump(tmp_path)
    install(unit)
    assert revert(unit) is UpdateState.IDLE
    assert unit.machine.firmware == "1.0.0"
    assert Writer(unit).state() is UpdateState.REVERTED
    again = pump(tmp_path)
    assert again.machine.firmware == "1.0.0"
    assert Writer(again).state() is UpdateState.REVERTED
    assert revert(again) is UpdateState.REJECTED
    assert again.machine.firmware == "1.0.0"
    install(again, "1.2.0")
    revert(again)
    assert again.machine.firmware == "1.0.0"


def test_a_power_cut_before_the_reboot_still_goes_back(tmp_path: Path) -> None:
    unit = pump(tmp_path)
    install(unit)
    Writer(unit).order(UpdateControl.REVERT)
    assert pump(tmp_path).machine.firmware == "1.0.0"


def test_an_update_is_reverted_within_a_week_only(tmp_path: Path) -> None:
    unit = pump(tmp_path)
    install(unit)
    week_s = firmware.REVERT_WITHIN_S
    unit.step(1.0, unit.machine.now_ns + (week_s + 1) * 10**9)
    assert revert(unit) is UpdateState.REJECTED
    assert unit.machine.firmware == "1.1.0"


def test_what_was_never_confirmed_is_not_gone_back_to(tmp_path: Path) -> None:
    unit = pump(tmp_path)
    assert revert(unit) is UpdateState.REJECTED
    install(unit)
    writer = Writer(unit)
    writer.send(*signed(PUMP, "1.2.0"))
    assert revert(unit) is UpdateState.REJECTED
    writer.send(*signed(PUMP, "1.2.0"))
    writer.order(UpdateControl.BOOT_TRIAL)
    step(unit, 30)
    assert revert(unit) is UpdateState.TRIAL
    step(unit, int(bootloader.TRIAL_S) + 30)
    assert writer.state() is UpdateState.FELL_BACK
    assert revert(unit) is UpdateState.REJECTED
    assert unit.machine.firmware == "1.1.0"


RELEASES = {version: signed(PUMP, version) for version in ("1.1.0", "1.2.0", "1.3.0")}
deeds = st.lists(
    st.sampled_from([*RELEASES, "trial", "confirm", "boot", "revert", "abort", "hour", "week"]),
    max_size=40,
)


@given(deeds)
def test_only_what_was_confirmed_is_ever_gone_back_to_and_once_for_each_update(
    steps: list[str],
) -> None:
    loader, now_ns = Loader(slots=(images.factory(PUMP), b"")), 0
    confirmed, reverts, updates = {"1.0.0"}, 0, 0
    for what in steps:
        before = bootloader.running(loader).version
        if what in RELEASES:
            loader = offered(loader, *RELEASES[what])
        elif what == "boot":
            loader = bootloader.boot(loader, now_ns)
            after = bootloader.running(loader).version
            if loader.state is UpdateState.REVERTED and after != before:
                reverts += 1
                assert after in confirmed
        elif what in {"hour", "week"}:
            now_ns += (3600 if what == "hour" else firmware.REVERT_WITHIN_S) * 10**9
        else:
            control = {"trial": 4, "confirm": 5, "revert": 7, "abort": 6}[what]
            block = [control, *[0] * (firmware.BLOCK_WORDS - 1)]
            trial = loader.state is UpdateState.TRIAL
            loader = bootloader.order(loader, block, TRUST, now_ns)
            if what == "confirm" and trial:
                confirmed.add(before)
                updates += 1
        assert bootloader.running(loader).version in confirmed or loader.state is UpdateState.TRIAL
        assert reverts <= updates


def offered(loader: Loader, release: firmware.Release, image: bytes) -> Loader:
    """Send an image as far as VERIFY, if the bootloader listens."""
    block = [0] * firmware.BLOCK_WORDS
    block[firmware.BLOCK_CONTROL] = UpdateControl.BEGIN
    loader = bootloader.order(loader, block, TRUST, 0)
    if loader.state is not UpdateState.RECEIVING:
        return loader
    block[firmware.BLOCK_CONTROL] = UpdateControl.VERIFY
    version = firmware.version_number(release.version)
    block[firmware.BLOCK_VERSION : firmware.BLOCK_SIGNATURE] = [*long(version), *long(len(image))]
    block[firmware.BLOCK_SIGNATURE : firmware.BLOCK_DATA] = words(bytes.fromhex(release.signature))
    return bootloader.order(replace(loader, received=image), block, TRUST, 0)


def test_the_block_shows_the_hardware_and_nobody_changes_it(tmp_path: Path) -> None:
    unit = pump(tmp_path, Trust(PUMP, KEY.public_key(), 3))
    writer = Writer(unit)
    with pytest.raises(KeyError):
        writer.put(firmware.BLOCK_HARDWARE, [1])
    shown = unit.read(RegisterKind.HOLDING)[writer.start + firmware.BLOCK_HARDWARE]
    assert shown == 3


def test_a_damaged_slot_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pump-1.json"
    file.write_text("{")
    with pytest.raises(Malformed, match="delete it"):
        slots.load(file, PUMP)
    slots.save(file, Loader(slots=(images.factory("chiller"), b"")))
    with pytest.raises(Malformed, match="another type"):
        slots.load(file, PUMP)
