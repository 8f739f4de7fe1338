"""Sending a release: the right words in the right order, and no confirmation without proof."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import firmware
from contract.firmware import Release, UpdateControl, UpdateState
from edge.core import update
from edge.core.update import Broken, CheckTrial, Finished, Phase, Send, Transfer, Wait

S = 10**9
RELEASE = Release(
    machine_type="centrifugal_pump",
    version="2.5.7",
    size_bytes=1,
    sha256="0" * 64,
    signature="ab" * 64,
)


def controls(step: update.Step) -> list[UpdateControl]:
    assert isinstance(step, Send)
    return [UpdateControl(w[0]) for at, w in step.writes if at == firmware.BLOCK_CONTROL]


@settings(max_examples=30)
@given(st.binary(min_size=1, max_size=1000))
def test_all_bytes_arrive_then_the_signature(image: bytes) -> None:
    transfer, step = update.start(RELEASE, image, 0)
    assert isinstance(step, Send)
    assert step.writes[0] == (firmware.BLOCK_VERSION, [*divmod(2_005_007, 65536), 0, len(image)])
    received = bytearray()
    while True:
        transfer, step = update.advance(transfer, UpdateState.RECEIVING, 0)
        assert isinstance(step, Send)
        if controls(step) != [UpdateControl.STORE_CHUNK]:
            break
        (_, (high, low, length)), (_, data), _ = step.writes
        assert high << 16 | low == len(received)
        received += b"".join(word.to_bytes(2, "big") for word in data)[:length]
    assert bytes(received) == image
    assert controls(step) == [UpdateControl.VERIFY]
    assert step.writes[0] == (firmware.BLOCK_SIGNATURE, [0xABAB] * 32)


def at(phase: Phase) -> Transfer:
    return Transfer(b"x", b"y", 2_005_007, phase, since_ns=0, sent_bytes=1)


def test_the_good_way_ends_confirmed() -> None:
    transfer, step = update.advance(at(Phase.VERIFYING), UpdateState.VERIFIED, 1)
    assert controls(step) == [UpdateControl.BOOT_TRIAL]
    assert isinstance(step, Send)
    assert step.once, "the device restarts, its reply may be lost"
    transfer, step = update.advance(transfer, None, 2)
    assert step == Wait()
    transfer, step = update.advance(transfer, UpdateState.TRIAL, 3)
    assert step == CheckTrial()
    transfer, step = update.tried(transfer, 2_005_007, proper=True, now_ns=4)
    assert controls(step) == [UpdateControl.CONFIRM]
    _, step = update.advance(transfer, UpdateState.CONFIRMED, 5)
    assert step == Finished()


def test_a_trial_of_another_version_is_not_confirmed() -> None:
    _, step = update.tried(at(Phase.TRIAL), 1_000_000, proper=True, now_ns=1)
    assert isinstance(step, Broken)


def test_a_trial_that_shows_less_gets_a_little_time_and_is_then_left_to_fall_back() -> None:
    transfer, step = update.tried(at(Phase.TRIAL), 2_005_007, proper=False, now_ns=50 * S)
    assert step == Wait()
    transfer, step = update.advance(transfer, UpdateState.TRIAL, 55 * S)
    assert step == CheckTrial()
    _, step = update.tried(transfer, 2_005_007, proper=False, now_ns=61 * S)
    assert isinstance(step, Broken)


@given(st.sampled_from(Phase), st.sampled_from(UpdateState) | st.none(), st.integers(0, 1000))
def test_nothing_but_a_checked_trial_leads_to_confirm(
    phase: Phase, state: UpdateState | None, now_s: int
) -> None:
    _, step = update.advance(at(phase), state, now_s * S)
    if isinstance(step, Send):
        assert UpdateControl.CONFIRM not in controls(step)
    if isinstance(step, Finished):
        assert (phase, state) == (Phase.CONFIRMING, UpdateState.CONFIRMED)


@pytest.mark.parametrize("phase", list(Phase))
def test_silence_is_waited_for_but_not_for_ever(phase: Phase) -> None:
    _, step = update.advance(at(phase), None, int(update.PATIENCE_S[phase] * S))
    assert step == Wait()
    _, step = update.advance(at(phase), None, int(update.PATIENCE_S[phase] * S) + 1)
    assert isinstance(step, Broken)


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        (Phase.SENDING, UpdateState.REJECTED),
        (Phase.VERIFYING, UpdateState.REJECTED),
        (Phase.BOOTING, UpdateState.FELL_BACK),
        (Phase.TRIAL, UpdateState.FELL_BACK),
        (Phase.CONFIRMING, UpdateState.FELL_BACK),
    ],
)
def test_a_refusal_of_the_bootloader_ends_it(phase: Phase, state: UpdateState) -> None:
    _, step = update.advance(at(phase), state, 1)
    assert isinstance(step, Broken)
    assert state.name in step.reason


def test_going_back_is_one_order_that_is_not_repeated() -> None:
    step = update.revert()
    assert controls(step) == [UpdateControl.REVERT]
    assert step.once


@given(st.sampled_from(UpdateState) | st.none(), st.floats(0, 1000))
def test_only_a_device_that_says_so_has_gone_back(
    state: UpdateState | None, waited_s: float
) -> None:
    step = update.reverted(state, waited_s)
    assert isinstance(step, Finished) == (state is UpdateState.REVERTED)
    if waited_s > update.PATIENCE_S[Phase.BOOTING]:
        assert not isinstance(step, Wait)
