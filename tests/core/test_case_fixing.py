"""A command is out, and what its answer, its silence and the evidence after it mean."""

import pytest
from msgspec import structs

from cloud.core import case as life
from cloud.core.states import Phase, Proof, Reply
from contract.commands import AnswerStatus
from contract.tickets import EscalationReason
from tests.core.scenes import Scene, fixing, ns, planned, remedy, verifying


def test_the_command_carries_an_id_and_an_expiry() -> None:
    scene = fixing("restart", "flush")
    [command] = scene.sent()
    assert command.command_id == "pump-1-a1.1"
    assert command.key == "pump-1-a1/command/1"
    assert command.expires_ns == ns(120 + 600)


def test_a_verified_remedy_is_credited_and_leaves_a_weak_label() -> None:
    scene = verifying("restart")
    scene.healthy(200, 380)
    assert scene.phase() is Phase.RECOVERED
    assert scene.case.credited
    assert scene.attempt.result == "recovered"
    [saved] = scene.labels()
    assert (saved.label.source, saved.label.fault) == ("verified_remedy", "cavitation")
    assert (saved.label.from_ns, saved.label.to_ns) == (ns(0), ns(120))


def test_evidence_counts_only_after_the_remedy_has_settled() -> None:
    scene = verifying("restart")
    scene.healthy(140, 300)  # only 200 to 300 counts: the remedy settles until 190
    assert scene.phase() is Phase.VERIFYING
    assert scene.case.proof.since_ns == ns(200)
    scene.healthy(320, 380)
    assert scene.phase() is Phase.RECOVERED


def test_unhealthy_evidence_restarts_the_run() -> None:
    scene = verifying("restart")
    scene.healthy(200, 360)
    scene.sick(370)
    scene.healthy(380, 540)
    assert scene.phase() is Phase.VERIFYING
    scene.healthy(560, 560)
    assert scene.phase() is Phase.RECOVERED


def test_a_machine_seen_sick_at_the_end_takes_the_next_remedy() -> None:
    scene = verifying("restart", "flush")
    scene.sick(489)
    assert scene.tick(489) == []
    scene.sick(490)
    assert scene.phase() is Phase.HOLDING
    assert scene.attempt.proof is Proof.NOT_RECOVERED
    scene.tick(495)
    assert [c.command_id for c in scene.sent()] == ["pump-1-a1.1", "pump-1-a1.2"]


def test_a_remedy_that_acted_in_vain_ends_in_verification_failed() -> None:
    scene = verifying("restart")
    scene.sick(490)
    scene.tick(495)
    assert scene.reason is EscalationReason.VERIFICATION_FAILED
    assert "'Restart': not recovered" in scene.tickets()[0].detail


def test_silence_is_neither_failure_nor_success() -> None:
    scene = verifying("restart", "flush")
    for at_s in range(490, 490 + 1800, 60):
        assert scene.tick(at_s) == []
    scene.tick(490 + 1800)
    assert scene.reason is EscalationReason.DEVICE_UNREACHABLE
    assert scene.attempt.proof is Proof.UNHEARD


def test_sickness_seen_early_and_then_silence_is_silence() -> None:
    scene = verifying("restart", "flush")
    scene.sick(200)
    assert scene.tick(500) == []
    scene.healthy(600, 780)
    assert scene.phase() is Phase.RECOVERED


def test_a_run_under_way_at_the_end_may_finish() -> None:
    scene = verifying("restart", "flush")
    scene.sick(400)
    scene.healthy(420, 480)
    assert scene.tick(491) == []
    scene.healthy(500, 600)
    assert scene.phase() is Phase.RECOVERED


def test_an_answer_counts_from_when_it_ended_at_the_device() -> None:
    scene = fixing("restart")
    done = life.CommandFinished("pump-1-a1.1", AnswerStatus.DONE, ns(130))
    scene.healthy(200, 280)
    scene.feed(done, 300)  # the answer took 170 s
    assert scene.case.proof.since_ns == ns(200)
    scene.healthy(300, 380)
    assert scene.phase() is Phase.RECOVERED


def test_evidence_from_across_the_settling_is_begun_anew() -> None:
    scene = fixing("restart")
    scene.healthy(180, 300)  # begins before 130 + 60 s
    scene.feed(life.CommandFinished("pump-1-a1.1", AnswerStatus.DONE, ns(130)), 305)
    assert scene.case.proof.samples == 0


@pytest.mark.parametrize(("at_s", "taken_s"), [(50, 120), (9000, 135), (130, 130)])
def test_a_device_clock_that_is_off_is_not_believed(at_s: float, taken_s: float) -> None:
    scene = fixing("restart")
    scene.feed(life.CommandFinished("pump-1-a1.1", AnswerStatus.DONE, ns(at_s)), 135)
    assert scene.attempt.executed_ns == ns(taken_s)


@pytest.mark.parametrize("status", [AnswerStatus.REFUSED, AnswerStatus.EXPIRED])
def test_a_command_that_did_not_act_takes_the_next_remedy(status: AnswerStatus) -> None:
    scene = fixing("restart", "flush")
    scene.answer(130, status, "mode is not automatic")
    assert scene.phase() is Phase.HOLDING
    assert "mode is not automatic" in scene.notes()
    scene.tick(135)
    assert scene.sent()[-1].remedy == "flush"


def test_nothing_that_could_be_carried_out_ends_in_attempts_exhausted() -> None:
    scene = fixing("restart")
    scene.answer(130, AnswerStatus.REFUSED)
    scene.tick(135)
    assert scene.reason is EscalationReason.ATTEMPTS_EXHAUSTED


def test_a_failed_command_may_have_acted_so_the_evidence_decides() -> None:
    scene = fixing("restart", "flush")
    scene.answer(130, AnswerStatus.FAILED, "read-back disagrees")
    assert scene.phase() is Phase.VERIFYING
    scene.healthy(200, 380)
    assert scene.phase() is Phase.RECOVERED
    assert not scene.case.credited
    assert scene.labels() == []


def test_a_device_that_cannot_be_reached_is_asked_again_a_few_times() -> None:
    scene = fixing("restart", "flush")
    at_s = 130.0
    for number in (1, 2):
        scene.answer(at_s, AnswerStatus.UNREACHABLE)
        scene.sick(at_s + 100)
        assert scene.tick(at_s + 119) == []
        scene.tick(at_s + 120)
        assert scene.sent()[-1].command_id == f"pump-1-a1.{number + 1}"
        assert scene.sent()[-1].remedy == "restart"
        at_s += 130
    scene.answer(at_s, AnswerStatus.UNREACHABLE)
    assert scene.reason is EscalationReason.DEVICE_UNREACHABLE
    assert len(scene.sent()) == 3


def test_a_machine_that_comes_back_while_held_is_not_disturbed() -> None:
    scene = fixing("restart", "flush")
    scene.answer(130, AnswerStatus.REFUSED)
    scene.healthy(132, 172)
    assert scene.tick(175) == []
    scene.healthy(192, 312)
    assert scene.phase() is Phase.SELF_CLEARED


def test_no_answer_is_not_a_no() -> None:
    scene = fixing("restart", "flush")
    assert scene.tick(720 + 59) == []
    scene.tick(720 + 60)
    assert scene.phase() is Phase.VERIFYING
    assert scene.attempt.executed_ns == ns(720)  # it cannot act after its expiry
    scene.healthy(800, 980)
    assert scene.phase() is Phase.RECOVERED
    assert not scene.case.credited


def test_a_late_answer_still_tells_what_happened() -> None:
    scene = fixing("restart", "flush")
    scene.tick(780)
    scene.sick(790)
    scene.feed(life.CommandFinished("pump-1-a1.1", AnswerStatus.DONE, ns(600)), 800)
    assert (scene.attempt.reply, scene.attempt.executed_ns) == (Reply.DONE, ns(600))
    assert scene.case.proof.healthy is False


def test_a_late_no_takes_the_next_remedy() -> None:
    scene = fixing("restart", "flush")
    scene.tick(780)
    scene.answer(800, AnswerStatus.EXPIRED)
    assert scene.phase() is Phase.HOLDING


def test_an_old_or_repeated_answer_changes_nothing() -> None:
    scene = verifying("restart", "flush")
    for status in AnswerStatus:  # repeated
        before = scene.case
        assert scene.answer(140, status) == []
        assert scene.case == before
    scene.sick(490)
    scene.tick(495)
    before = scene.case
    assert before.phase is Phase.FIXING
    assert scene.feed(life.CommandFinished("pump-1-a1.1", AnswerStatus.DONE, ns(496)), 496) == []
    assert scene.feed(life.CommandFinished("strange", AnswerStatus.DONE, ns(496)), 496) == []
    assert scene.case == before


def test_a_machine_that_was_well_before_the_command_was_sent_cleared_by_itself() -> None:
    scene = Scene("restart")
    scene.sick(100)
    scene.tick(120)
    scene.feed(life.Evidence(ns(115), healthy=True), 121)  # measured before sending, heard after
    scene.healthy(125, 129, every_s=4)
    scene.answer(130)
    scene.healthy(135, 375)
    assert scene.phase() is Phase.SELF_CLEARED
    assert not scene.case.credited
    assert scene.labels() == []


def test_a_run_that_began_before_the_remedy_was_done_is_not_credited() -> None:
    scene = fixing("restart")
    scene.healthy(125, 145)
    scene.answer(150)
    scene.healthy(165, 410)
    assert scene.phase() is Phase.RECOVERED
    assert not scene.case.credited


def test_a_remedy_is_not_credited_if_nobody_saw_the_fault_after_it_was_sent() -> None:
    scene = Scene("restart")
    scene.sick(100)
    scene.tick(120)
    scene.answer(130)
    scene.healthy(200, 380)
    assert scene.phase() is Phase.RECOVERED
    assert not scene.case.credited


def test_a_machine_that_heals_after_a_remedy_was_given_up_is_not_credited() -> None:
    scene = verifying("restart", "flush")
    scene.sick(490)
    scene.healthy(500, 680)
    assert scene.phase() is Phase.RECOVERED
    assert not scene.case.credited
    assert scene.attempt.result == "not_recovered"


def test_a_cure_of_an_unknown_fault_teaches_nothing() -> None:
    plan = planned("restart")
    scene = Scene(plan=structs.replace(plan, steps=[remedy("restart", fault="unknown")]))
    scene.sick(100)
    scene.tick(120)
    scene.sick(125)
    scene.answer(130)
    scene.healthy(200, 380)
    assert scene.case.credited
    assert scene.labels() == []
