"""Rollouts in the gateway: what is saved, what is sent, what machines show, what cases are told."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from cloud.core.rollout_states import (
    ENDED,
    Limits,
    Order,
    Phase,
    Policy,
    Report,
    Rollout,
    Selection,
    Stage,
    UpdatePhase,
)
from contract.commands import AnswerStatus, Command
from contract.errors import Refused
from tests.service.fleet import COMPUTER, PUMP, S, World, world

PUMPS = [f"pump-{n}" for n in range(4)]
QUICK = Policy(stages=[Stage(count=1, soak_s=600), Stage(percent=100, soak_s=600)])


def order(**changes: object) -> Order:
    fields = {"machine_type": PUMP.name, "version": "1.1.0", "policy": QUICK} | changes
    return Order(**fields)  # type: ignore[arg-type]


def begin(the: World, asked: Order | None = None) -> Rollout:
    made = asyncio.run(the.firmware.desk.create(asked or order(), "anna"))
    if made.phase is Phase.AWAITING_APPROVAL:
        made = asyncio.run(the.firmware.desk.decide(made.number, "approve", "bert", ""))
    the.pass_s(10)
    return made


def send(the: World) -> list[tuple[str, Command]]:
    """Let the sender go round once; return what is new on the wire."""
    before = len(the.wire.sent)

    async def once() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(the.firmware.sending.run(), 0.1)

    asyncio.run(once())
    return the.wire.sent[before:]


def phases(the: World, number: int) -> dict[str, UpdatePhase]:
    return {d: u.phase for d, u in the.firmware.rollouts.updates(number).items()}


def install(the: World, device: str, command: Command) -> None:
    assert command.release is not None
    the.versions[device] = command.release.version
    the.pass_s(10)
    assert the.answer(command, device, AnswerStatus.DONE)
    the.pass_s(20)


def test_a_good_release_reaches_every_machine(tmp_path: Path) -> None:
    with world(tmp_path, PUMPS) as the:
        the.release("1.1.0")
        number = begin(the).number
        [(first, command)] = send(the)
        assert command.id == f"update-{number}00001"
        assert command.release is not None
        assert command.release.repository.endswith("/repository")
        install(the, first, command)
        assert phases(the, number)[first] is UpdatePhase.WATCHING
        the.pass_s(700)
        rest = send(the)
        assert {device for device, _ in rest} == set(PUMPS) - {first}
        for device, next_command in rest:
            install(the, device, next_command)
        the.pass_s(900)
        assert the.firmware.rollouts.all[number].phase is Phase.FINISHED
        assert set(phases(the, number).values()) == {UpdatePhase.UPDATED}
        assert the.cases.disagreements == []


def test_a_command_is_sent_again_only_after_a_while_and_after_a_restart(tmp_path: Path) -> None:
    with world(tmp_path, PUMPS) as the:
        the.release("1.1.0")
        number = begin(the).number
        [(device, command)] = send(the)
        assert send(the) == []
        the.begin()
        the.pass_s(20)
        assert send(the) == [(device, command)]
        assert phases(the, number)[device] is UpdatePhase.OFFERED


def test_high_risk_needs_a_second_person(tmp_path: Path) -> None:
    with world(tmp_path, PUMPS) as the:
        the.release("1.1.0")
        made = asyncio.run(the.firmware.desk.create(order(), "anna"))
        assert made.phase is Phase.AWAITING_APPROVAL
        with pytest.raises(Refused):
            asyncio.run(the.firmware.desk.decide(made.number, "approve", "anna", ""))
        the.pass_s(30)
        assert send(the) == []


def test_success_without_the_version_opens_a_case(tmp_path: Path) -> None:
    with world(tmp_path, PUMPS) as the:
        the.release("1.1.0")
        number = begin(the).number
        [(device, command)] = send(the)
        the.answer(command, device, AnswerStatus.DONE)
        the.pass_s(1800)
        assert phases(the, number)[device] is UpdatePhase.UNCLEAR
        assert [d for d, _ in the.cases.disagreements] == [device]


def test_a_refusal_with_the_old_version_is_a_plain_failure(tmp_path: Path) -> None:
    with world(tmp_path, PUMPS) as the:
        the.release("1.1.0")
        number = begin(the).number
        [(device, command)] = send(the)
        the.answer(command, device, AnswerStatus.REFUSED, "the timestamp metadata has expired")
        the.pass_s(30)
        update = the.firmware.rollouts.updates(number)[device]
        assert update.phase is UpdatePhase.FAILED
        assert "expired" in update.detail
        said = " ".join(line.text for line in the.firmware.desk.audit(rollout=number))
        assert "expired" in said


@pytest.mark.parametrize("shows_it", [True, False])
def test_a_machine_that_failed_is_looked_at_for_a_while_after_the_end(
    tmp_path: Path, *, shows_it: bool
) -> None:
    with world(tmp_path, PUMPS) as the:
        the.release("1.1.0")
        once = Policy(stages=[Stage(count=1, soak_s=600)], limits=Limits(attempts_max=1))
        number = begin(the, order(policy=once, selection=Selection(devices=["pump-1"]))).number
        [(device, command)] = send(the)
        the.answer(command, device, AnswerStatus.FAILED, "the device broke off")
        the.pass_s(60)
        assert the.firmware.rollouts.all[number].phase in ENDED
        assert phases(the, number)[device] is UpdatePhase.FAILED
        if shows_it:  # the payload was replaced all the same, and a restart brings it out
            the.versions[device] = "1.1.0"
        the.pass_s(1000)
        ended = UpdatePhase.UNCLEAR if shows_it else UpdatePhase.FAILED
        assert phases(the, number)[device] is ended
        assert [d for d, _ in the.cases.disagreements] == [device] * shows_it
        assert list(the.firmware.rollouts.open()) == []
        the.begin()
        assert list(the.firmware.rollouts.open()) == []


def test_a_stop_brings_machines_back_and_bars_nothing_if_a_person_did_it(tmp_path: Path) -> None:
    with world(tmp_path, PUMPS) as the:
        the.release("1.1.0")
        number = begin(the).number
        [(device, command)] = send(the)
        install(the, device, command)
        asyncio.run(the.firmware.desk.decide(number, "stop", "bert", "smells odd"))
        the.pass_s(10)
        [(back, revert)] = send(the)
        assert (back, revert.name) == (device, "revert_firmware")
        assert revert.release is not None
        assert revert.release.version == "1.0.0"
        install(the, device, revert)
        assert the.firmware.rollouts.all[number].phase is Phase.STOPPED
        assert phases(the, number)[device] is UpdatePhase.REVERTED
        assert the.firmware.releases.kept()[0].barred == ""


def test_a_release_that_proved_harmful_is_offered_to_nobody(tmp_path: Path) -> None:
    with world(tmp_path, PUMPS) as the:
        the.release("1.1.0")
        number = begin(the, order(policy=Policy(stages=[Stage(count=3, soak_s=600)]))).number
        for device, command in send(the):
            the.answer(command, device, AnswerStatus.FAILED, "trial was not confirmed")
        the.pass_s(1200)
        for device, command in send(the):
            the.answer(command, device, AnswerStatus.FAILED, "trial was not confirmed")
        the.pass_s(300)
        assert the.firmware.rollouts.all[number].phase is Phase.STOPPED
        assert "stopped" in the.firmware.releases.kept()[0].barred
        with pytest.raises(Refused, match="offered to nobody"):
            the.firmware.desk.preview(order())


def test_one_open_action_per_machine_over_all_rollouts(tmp_path: Path) -> None:
    with world(tmp_path, PUMPS) as the:
        the.release("1.1.0")
        everyone = Policy(stages=[Stage(percent=100, soak_s=600)])
        begin(the, order(policy=everyone))
        assert len(send(the)) == len(PUMPS)
        second = begin(the, order(policy=everyone)).number
        assert send(the) == []
        assert set(phases(the, second).values()) == {UpdatePhase.WAITING}


def test_a_machine_with_an_open_case_waits(tmp_path: Path) -> None:
    with world(tmp_path, PUMPS) as the:
        the.release("1.1.0")
        the.cases.open = dict.fromkeys(PUMPS, "case-1")
        begin(the)
        assert send(the) == []
        the.cases.open = {}
        the.pass_s(10)
        assert len(send(the)) == 1


def test_an_answer_about_a_foreign_action_is_recorded_and_changes_nothing(tmp_path: Path) -> None:
    with world(tmp_path, PUMPS) as the:
        the.release("1.1.0")
        number = begin(the).number
        [(device, command)] = send(the)
        other = next(name for name in PUMPS if name != device)
        before = the.firmware.rollouts.updates(number)[device]
        the.answer(command, other, AnswerStatus.DONE)
        the.firmware.rollouts.reported(device, 77, Report.SUCCESS, "of nothing")
        assert the.firmware.rollouts.updates(number)[device] == before
        assert any("77" in line.text for line in the.firmware.desk.audit(device=device))


def remedy(the: World, command_id: str = "case-1.1") -> Command:
    now_ns = the.clock.now_ns()
    command = Command(
        id=command_id, name="update_firmware", issued_ns=now_ns, expires_ns=now_ns + 600 * S
    )
    the.firmware.remedies.begin("case-1", "pump-1", "firmware_bug", command)
    the.pass_s(10)
    return command


def test_a_remedy_is_a_rollout_to_the_machine_of_the_case_and_is_proposed_to_its_peers(
    tmp_path: Path,
) -> None:
    with world(tmp_path, PUMPS) as the:
        the.release("1.1.0", cures=["firmware_bug"])
        the.release("1.2.0", cures=["cavitation"])
        the.cases.open = {"pump-1": "case-1"}
        asked = remedy(the)
        [(device, command)] = send(the)
        assert device == "pump-1"
        assert command.release is not None
        assert command.release.version == "1.1.0"
        install(the, device, command)
        [answer] = the.cases.answers
        assert (answer.id, answer.status, answer.firmware) == (asked.id, AnswerStatus.DONE, "1.1.0")
        remedy(the)
        assert send(the) == []
        the.cases.open = {}
        for _ in range(2):
            the.firmware.remedies.propose("case-1", "pump-1 was cured.")
        [proposed] = [r for r in the.firmware.desk.all() if r.phase is Phase.PROPOSED]
        assert proposed.proposal == "pump-1 was cured."
        assert set(phases(the, proposed.number)) == set(PUMPS) - {"pump-1"}
        the.pass_s(60)
        assert send(the) == []
        taken = asyncio.run(the.firmware.desk.decide(proposed.number, "approve", "anna", ""))
        assert (taken.author, taken.phase) == ("anna", Phase.AWAITING_APPROVAL)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (AnswerStatus.REFUSED, AnswerStatus.REFUSED),
        (AnswerStatus.FAILED, AnswerStatus.FAILED),
        (AnswerStatus.UNREACHABLE, AnswerStatus.UNREACHABLE),
    ],
)
def test_a_remedy_that_failed_is_told_to_its_case(
    tmp_path: Path, status: AnswerStatus, told: AnswerStatus
) -> None:
    with world(tmp_path, PUMPS) as the:
        the.release("1.1.0")
        remedy(the)
        [(device, command)] = send(the)
        the.answer(command, device, status, "as the test says")
        the.pass_s(120)
        [answer] = the.cases.answers
        assert answer.status is told
        assert "as the test says" in answer.reason


def test_a_remedy_that_nobody_takes_expires(tmp_path: Path) -> None:
    with world(tmp_path, PUMPS) as the:
        the.release("1.1.0")
        remedy(the)
        the.pass_s(700)
        assert the.cases.answers == []  # it may have begun in the last moment
        the.pass_s(5000)
        [answer] = the.cases.answers
        assert answer.status is AnswerStatus.EXPIRED


def test_without_a_fitting_release_the_case_is_told_why(tmp_path: Path) -> None:
    with world(tmp_path, PUMPS) as the:
        the.release("1.1.0", hardware=[9])
        with pytest.raises(Refused, match="hardware"):
            remedy(the)
        [answer] = the.cases.answers
        assert answer.status is AnswerStatus.REFUSED


def test_a_ddi_machine_is_offered_the_release_and_the_way_back(tmp_path: Path) -> None:
    with world(tmp_path, ["edge-1", "edge-2"]) as the:
        the.release("1.0.0", COMPUTER.name, format="swu")
        the.release("1.1.0", COMPUTER.name, format="swu")
        ddi = the.firmware.ddi
        assert ddi.offer("edge-1") is None
        asked = order(machine_type=COMPUTER.name, selection=Selection(devices=["edge-1"]))
        number = begin(the, asked).number
        offer = ddi.offer("edge-1")
        assert offer is not None
        assert (offer.release.version, offer.cancelling) == ("1.1.0", False)
        assert ddi.artifact_path(offer.release) is not None
        assert ddi.offer("edge-2") is None
        assert ddi.standing("edge-1", offer.action) == "open"
        assert ddi.standing("edge-2", offer.action) == "foreign"
        assert send(the) == []
        asyncio.run(ddi.fetched("edge-1", offer.action))
        assert phases(the, number)["edge-1"] is UpdatePhase.INSTALLING
        the.versions["edge-1"] = "1.1.0"
        asyncio.run(ddi.reported("edge-1", offer.action, Report.SUCCESS, ""))
        the.pass_s(30)
        assert phases(the, number)["edge-1"] is UpdatePhase.WATCHING
        assert ddi.offer("edge-1") is None
        asyncio.run(the.firmware.desk.decide(number, "stop", "bert", ""))
        the.pass_s(10)
        back = ddi.offer("edge-1")
        assert back is not None
        assert (back.release.version, back.action > offer.action) == ("1.0.0", True)
        assert ddi.standing("edge-1", offer.action) == "ended"


def test_a_paused_rollout_offers_nothing_new(tmp_path: Path) -> None:
    with world(tmp_path, ["edge-1"]) as the:
        the.release("1.1.0", COMPUTER.name, format="swu")
        number = begin(the, order(machine_type=COMPUTER.name)).number
        assert the.firmware.ddi.offer("edge-1") is not None
        asyncio.run(the.firmware.desk.decide(number, "pause", "bert", ""))
        assert the.firmware.ddi.offer("edge-1") is None
        asyncio.run(the.firmware.desk.decide(number, "resume", "bert", ""))
        assert the.firmware.ddi.offer("edge-1") is not None
        with pytest.raises(Refused, match="does not apply"):
            asyncio.run(the.firmware.desk.decide(number, "resume", "bert", ""))
