"""A fault that comes back: the same case, which then was no good end."""

import pytest
from msgspec import structs

from cloud.core import case as life
from cloud.core import fleet, returns, ticket
from cloud.core.limits import DAY_S, Limits
from cloud.core.states import Case, Phase
from cloud.core.telling import EventType, events
from contract import machines
from contract.commands import AnswerStatus
from contract.faults import REPORTED
from contract.tickets import Asset, ClosingReport
from tests.core.scenes import NS, Scene, diagnosed, dispatched, ns, planned, verifying

LATER_S = 3 * DAY_S
PUMP = machines.library()["centrifugal_pump"]


def recovered() -> Scene:
    """The restart of 120 s was credited with the recovery."""
    scene = verifying("restart", "flush")
    scene.healthy(200, 400)
    assert (scene.phase(), scene.case.credited) == (Phase.RECOVERED, True)
    return scene


def closed(*, resolved: bool = True, finding: str = "bearing_wear") -> Scene:
    scene = dispatched()
    report = ClosingReport(finding=finding, resolved=resolved)
    scene.feed(life.ReportReceived(report), 9000)
    return scene


def shifted(*names: str) -> life.Plan:
    plan, shift_ns = planned(*names), int(LATER_S * NS)
    return structs.replace(
        plan, due_ns=plan.due_ns + shift_ns, escalate_at_ns=plan.escalate_at_ns + shift_ns
    )


def back(scene: Scene, *names: str) -> Scene:
    """Let the fault come back three days later."""
    before = scene.case
    plan = shifted(*(names or ("restart", "flush")))
    scene.case, effects = life.reopen(before, diagnosed(before.fault), plan, ns(LATER_S))
    scene.effects += effects
    assert EventType.CASE_REOPENED in events(before, scene.case)
    return scene


def found(case: Case, fault: str = "cavitation", after_s: float = LATER_S) -> Case | None:
    return returns.of([case], "pump-1", diagnosed(fault), Limits(), ns(after_s))


def test_a_fault_that_was_fixed_lately_is_the_same_case() -> None:
    case = recovered().case
    assert found(case) == case
    assert found(case, after_s=15 * DAY_S) is None
    assert found(case, "clogged") is None
    assert returns.of([case], "pump-2", diagnosed(), Limits(), ns(LATER_S)) is None


def test_a_visit_that_repaired_it_counts_by_what_was_found_too() -> None:
    assert found(closed().case, "bearing_wear") is not None
    assert found(closed().case, "cavitation") is not None
    assert found(closed(resolved=False).case) is None


def test_a_withdrawn_visit_reopens() -> None:
    scene = dispatched()
    scene.healthy(300, 2200)
    assert found(scene.case) == scene.case


def test_what_cleared_by_itself_or_was_a_wrong_alarm_is_a_new_case() -> None:
    cleared, wrong = Scene("restart"), Scene("restart")
    cleared.healthy(10, 300)
    wrong.feed(life.Dismissed("Ada"), 10)
    assert cleared.phase() is Phase.SELF_CLEARED
    assert found(cleared.case) is None
    assert found(wrong.case) is None


def test_the_latest_case_of_the_fault_decides() -> None:
    old, new = recovered().case, Scene("restart")
    new.feed(life.Dismissed("Ada"), 10)
    later = structs.replace(new.case, opened_ns=ns(DAY_S), case_id="pump-1-a2")
    assert returns.of([later, old], "pump-1", diagnosed(), Limits(), ns(LATER_S)) is None


def test_two_alerts_are_the_same_fault_only_under_the_same_title() -> None:
    scene = dispatched(Scene(fault=REPORTED))
    scene.healthy(200, 300)
    case = structs.replace(scene.case, phase=Phase.WITHDRAWN, ended_ns=ns(300))
    other = structs.replace(diagnosed(REPORTED), title="Door open")
    assert found(case, REPORTED) == case
    assert returns.of([case], "pump-1", other, Limits(), ns(LATER_S)) is None


def test_a_case_that_came_back_too_often_is_left_alone() -> None:
    case = structs.replace(recovered().case, reopened=returns.REOPENED_MAX)
    assert found(case) is None


def test_the_cure_that_did_not_last_is_not_tried_again() -> None:
    scene = back(recovered())
    assert [step.remedy for step in scene.case.plan.steps] == ["flush"]
    assert (scene.case.reopened, scene.case.credited) == (1, False)
    assert scene.case.first_opened_ns == ns(0)
    assert [a.step.remedy for a in scene.case.earlier] == ["restart"]
    assert "The fault is back 3 days after the case had ended (recovered)" in scene.notes()
    offered = shifted("restart", "flush", "derate")
    scene.feed(life.Diagnosed(diagnosed("clogged"), offered), LATER_S + 10)
    assert [step.remedy for step in scene.case.plan.steps] == ["flush", "derate"]


def test_without_another_cure_a_person_is_sent_who_knows_what_was_tried() -> None:
    scene = back(recovered(), "restart")
    scene.sick(LATER_S + 125)
    scene.tick(LATER_S + 130)
    assert scene.phase() is Phase.DISPATCHED
    assert "the cure by 'Restart' did not last" in scene.tickets()[0].detail
    asset = Asset(device="pump-1", machine_type=PUMP.name, title="Pump 1", site="north")
    made = ticket.build(scene.case, PUMP, asset)
    assert [tried.remedy for tried in made.tried] == ["restart"]
    assert "has come back once: what was done then did not last" in made.description
    assert "Tried before the fault came back:\n- Restart" in made.description
    assert made.first_seen_ns == ns(0)


def test_no_effect_of_the_second_life_bears_a_key_of_the_first() -> None:
    scene = closed()
    back(scene, "restart")
    scene.sick(LATER_S + 110)
    scene.tick(LATER_S + 120)
    scene.answer(LATER_S + 130)
    scene.feed(life.EscalationAsked("Ada"), LATER_S + 200)
    scene.feed(life.ReportReceived(ClosingReport(finding="other")), LATER_S + 300)
    assert scene.phase() is Phase.CLOSED
    keys = [e.key for e in scene.effects if not isinstance(e, life.Note)]
    assert len(keys) == len(set(keys))
    assert {"pump-1-a1~2/ticket", "pump-1-a1+1/label"} < set(keys)
    assert [saved.label.case for saved in scene.labels()] == ["pump-1-a1", "pump-1-a1+1"]


def test_commands_of_the_second_life_have_ids_of_their_own() -> None:
    scene = back(recovered())
    scene.sick(LATER_S + 110)
    scene.tick(LATER_S + 120)
    assert [e.command_id for e in scene.sent()] == ["pump-1-a1.1", "pump-1-a1.2"]


def test_an_answer_to_a_command_of_the_first_life_changes_nothing() -> None:
    scene = recovered()
    old = scene.attempt.command_id
    back(scene)
    scene.sick(LATER_S + 110)
    scene.tick(LATER_S + 120)
    assert scene.phase() is Phase.FIXING
    event = life.CommandFinished(old, AnswerStatus.DONE, ns(LATER_S + 130))
    assert scene.feed(event, LATER_S + 130) == []


def test_what_acted_before_it_came_back_counts_for_the_limits() -> None:
    scene = recovered()
    before = scene.case
    scene.case, _ = life.reopen(before, diagnosed(), planned("flush"), ns(1000))
    seen = fleet.view(scene.case, [scene.case], 40, Limits(), ns(1000))
    assert [(t.remedy, t.at_ns) for t in seen.tried] == [("restart", ns(120))]


def test_a_return_that_is_dangerous_goes_to_a_person_at_once() -> None:
    scene = recovered()
    before = scene.case
    case, _ = life.reopen(before, diagnosed(safety=True), planned("flush"), ns(LATER_S))
    assert case.phase is Phase.DISPATCHED
    told = [EventType.CASE_REOPENED, EventType.TICKET_OPENED]
    assert events(before, case) == told


@pytest.mark.parametrize("lives", [returns.EARLIER_MAX + 5])
def test_what_is_remembered_is_bounded(lives: int) -> None:
    case = recovered().case
    for i in range(lives):
        again = returns.again(case, diagnosed(), shifted("flush"), ns(LATER_S + i))
        case = structs.replace(again, attempts=case.attempts or recovered().case.attempts)
    assert len(case.earlier) == returns.EARLIER_MAX
