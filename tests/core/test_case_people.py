"""What people decide: approvals, refusals, visits, wrong alarms, closing reports."""

from collections.abc import Callable

import pytest
from msgspec import structs

from cloud.core import case as life
from cloud.core.limits import Fleet
from cloud.core.states import Mode, Phase
from contract.commands import AnswerStatus
from contract.tickets import ClosingReport, EscalationReason, Part
from tests.core.scenes import Scene, fixing, ns, planned, remedy, verifying


def waiting(*remedies: str, mode: Mode = Mode.SUGGEST) -> Scene:
    scene = Scene(*remedies, mode=mode)
    scene.sick(100)
    scene.tick(120)
    assert scene.phase() is Phase.AWAITING_APPROVAL
    return scene


def approve(scene: Scene, at_s: float) -> None:
    scene.feed(life.Approved("Ada"), at_s)
    scene.tick(at_s + 5)


def fail(scene: Scene, at_s: float) -> None:
    """Let the present command be refused by the device."""
    scene.answer(at_s, AnswerStatus.REFUSED)
    scene.tick(at_s + 5)


def test_suggest_asks_for_every_remedy() -> None:
    scene = waiting("restart", "flush")
    approve(scene, 130)
    assert len(scene.sent()) == 1
    fail(scene, 140)
    assert scene.phase() is Phase.AWAITING_APPROVAL
    approve(scene, 150)
    assert len(scene.sent()) == 2
    assert "Ada approved 'Flush'" in scene.notes()


def test_approve_asks_once_for_the_plan() -> None:
    scene = waiting("restart", "flush", mode=Mode.APPROVE)
    approve(scene, 130)
    fail(scene, 140)
    assert scene.phase() is Phase.FIXING
    assert len(scene.sent()) == 2


def test_approve_asks_again_before_a_high_risk_remedy() -> None:
    steps = [remedy("restart"), remedy("update", high_risk=True)]
    scene = Scene(plan=structs.replace(planned("restart", mode=Mode.APPROVE), steps=steps))
    scene.sick(100)
    scene.tick(120)
    approve(scene, 130)
    fail(scene, 140)
    assert scene.phase() is Phase.AWAITING_APPROVAL
    assert "high-risk" in scene.notes()


def test_auto_asks_nobody_not_even_for_high_risk() -> None:
    steps = [remedy("update", high_risk=True)]
    scene = Scene(plan=structs.replace(planned("update"), steps=steps))
    scene.sick(100)
    scene.tick(120)
    assert scene.phase() is Phase.FIXING


def test_the_same_remedy_asked_again_of_an_unreachable_device_needs_no_second_yes() -> None:
    scene = waiting("restart")
    approve(scene, 130)
    scene.answer(140, AnswerStatus.UNREACHABLE)
    scene.tick(260)
    assert scene.phase() is Phase.FIXING


def test_in_a_storm_the_yes_to_a_plan_does_not_cover_its_second_remedy() -> None:
    scene = waiting("restart", "flush", mode=Mode.APPROVE)
    approve(scene, 130)
    scene.fleet = Fleet(machines_of_type=20, sick_of_type=9)
    fail(scene, 140)
    assert scene.phase() is Phase.HOLDING


def test_a_machine_that_heals_while_people_think_clears_the_case() -> None:
    scene = waiting("restart")
    scene.healthy(200, 380)
    assert scene.phase() is Phase.SELF_CLEARED


def test_a_yes_in_observation_ends_it() -> None:
    scene = Scene("restart", mode=Mode.SUGGEST)
    scene.sick(10)
    approve(scene, 20)
    assert scene.phase() is Phase.FIXING


def test_a_second_yes_changes_nothing() -> None:
    scene = waiting("restart")
    scene.feed(life.Approved("Ada"), 130)
    before = scene.case
    assert scene.feed(life.Approved("Ada"), 131) == []
    assert scene.case == before


def test_there_is_nothing_to_approve_or_turn_down_without_a_remedy() -> None:
    scene = Scene()
    before = scene.case
    scene.feed(life.Approved("Ada"), 10)
    scene.feed(life.Rejected("Ada"), 10)
    assert scene.case == before


def test_a_no_takes_the_next_remedy() -> None:
    scene = waiting("restart", "flush")
    scene.feed(life.Rejected("Ada", "it is in use"), 130)
    scene.sick(131)
    scene.tick(135)
    assert scene.case.step is not None
    assert scene.case.step.remedy == "flush"
    assert scene.phase() is Phase.AWAITING_APPROVAL


def test_every_remedy_turned_down_is_a_customers_request() -> None:
    scene = waiting("restart")
    scene.feed(life.Rejected("Ada"), 130)
    scene.sick(131)
    scene.tick(135)
    assert scene.reason is EscalationReason.CUSTOMER_REQUEST


def test_a_no_to_the_whole_is_a_ticket_at_once() -> None:
    scene = waiting("restart", "flush")
    scene.feed(life.Rejected("Ada", "we want a person", whole=True), 130)
    assert scene.reason is EscalationReason.CUSTOMER_REQUEST
    assert "we want a person" in scene.tickets()[0].detail


REMOTE: list[Callable[[], Scene]] = [
    lambda: Scene("restart"),
    lambda: waiting("restart"),
    lambda: held("restart"),
    lambda: fixing("restart"),
    lambda: verifying("restart"),
]


def held(*remedies: str) -> Scene:
    scene = Scene(*remedies)
    scene.fleet = Fleet(machines_of_type=20, sick_of_type=9)
    scene.sick(100)
    scene.tick(120)
    return scene


@pytest.mark.parametrize("scene_of", REMOTE)
def test_a_visit_can_be_asked_for_in_every_remote_phase(scene_of: Callable[[], Scene]) -> None:
    scene = scene_of()
    scene.feed(life.EscalationAsked("Ada", "it is loud"), 200)
    assert scene.phase() is Phase.DISPATCHED
    assert scene.reason is EscalationReason.CUSTOMER_REQUEST
    assert scene.feed(life.EscalationAsked("Ada"), 201) == []
    assert len(scene.tickets()) == 1


def test_a_technician_is_warned_of_a_command_that_may_still_act() -> None:
    scene = fixing("restart")
    scene.feed(life.EscalationAsked("Ada"), 200)
    assert "may still act until" in scene.notes()


@pytest.mark.parametrize("scene_of", REMOTE)
def test_a_wrong_alarm_ends_the_case_and_becomes_a_label(scene_of: Callable[[], Scene]) -> None:
    scene = scene_of()
    scene.feed(life.Dismissed("Ada", "we cleaned the filter"), 200)
    assert scene.phase() is Phase.DISMISSED
    [saved] = scene.labels()
    assert (saved.label.source, saved.label.fault) == ("dismissed", "no_fault_found")


def test_the_closing_report_closes_the_case_and_becomes_a_label() -> None:
    scene = fixing("restart")
    scene.feed(life.EscalationAsked("Ada"), 200)
    assert scene.feed(life.Dismissed("Ada"), 205) == []
    used = [Part("BRG-1", "Bearing", 2)]
    report = ClosingReport(
        finding="bearing_wear", technician="Kim", notes="Both replaced.", parts_used=used
    )
    scene.feed(life.ReportReceived(report), 9000)
    assert scene.phase() is Phase.CLOSED
    assert scene.case.report == report
    [saved] = scene.labels()
    assert (saved.label.source, saved.label.fault) == ("closing_report", "bearing_wear")
    assert saved.label.diagnosed == "cavitation"
    assert (saved.label.parts_used, saved.label.resolved) == (used, True)
    assert "Kim reported bearing_wear, resolved. Both replaced." in scene.notes()


def test_a_report_without_a_ticket_or_after_the_end_changes_nothing() -> None:
    scene = fixing("restart")
    report = life.ReportReceived(ClosingReport(finding="other"))
    before = scene.case
    assert scene.feed(report, 200) == []
    assert scene.case == before
    scene.feed(life.Dismissed("Ada"), 205)
    before = scene.case
    assert scene.feed(report, 210) == []
    assert scene.case == before


def test_health_after_dispatch_is_told_but_the_visit_stands() -> None:
    scene = fixing("restart")
    scene.feed(life.EscalationAsked("Ada"), 200)
    scene.healthy(300, 520)
    assert scene.phase() is Phase.DISPATCHED
    assert scene.case.recovered_since_ns == ns(300)
    assert scene.notes().count("the visit stands") == 1
    scene.sick(540)
    assert scene.case.recovered_since_ns is None
    assert "shows the fault again" in scene.notes()


def test_every_durable_effect_has_its_own_key() -> None:
    scene = waiting("restart", "flush")
    approve(scene, 130)
    fail(scene, 140)
    approve(scene, 150)
    scene.answer(160)
    scene.feed(life.EscalationAsked("Ada"), 200)
    scene.feed(life.ReportReceived(ClosingReport(finding="other")), 300)
    keys = [e.key for e in scene.effects if not isinstance(e, life.Note)]
    assert len(keys) == len(set(keys))
    assert {"pump-1-a1/ticket", "pump-1-a1/label", "pump-1-a1/command/2"} < set(keys)
