"""Before anything is tried: observing, sharpening the diagnosis, holding for the limits."""

import pytest
from msgspec import structs

from cloud.core import case as life
from cloud.core.limits import Fleet, Limits, Tried
from cloud.core.states import Mode, Phase, Timing
from contract.faults import NO_DATA
from contract.tickets import EscalationReason
from tests.core.scenes import HOUR_S, Scene, diagnosed, fixing, ns, planned


def test_a_fault_that_clears_while_observed_is_credited_to_nobody() -> None:
    scene = Scene("restart")
    scene.sick(10)
    scene.healthy(30, 210)
    assert scene.phase() is Phase.SELF_CLEARED
    assert not scene.case.credited
    assert not scene.sent()
    assert not scene.tickets()
    assert not scene.labels()
    assert "no remedy of this case did" in scene.notes()


def test_a_machine_on_its_way_back_is_not_disturbed() -> None:
    scene = Scene("restart")
    scene.healthy(100, 160)
    assert scene.tick(160) == []
    scene.sick(170)
    scene.tick(175)
    assert scene.phase() is Phase.FIXING


def test_health_must_go_on_for_the_dwell_time() -> None:
    scene = Scene("restart")
    scene.healthy(10, 189)  # 10 to 170: 160 s, the dwell is 180 s
    assert scene.phase() is Phase.OBSERVING


def test_health_must_be_seen_often_enough() -> None:
    scene = Scene("restart")
    scene.healthy(10, 290, every_s=60)
    assert (scene.phase(), scene.case.seen.samples) == (Phase.OBSERVING, 5)
    scene.healthy(310, 310)
    assert scene.phase() is Phase.SELF_CLEARED


def test_a_gap_longer_than_the_dwell_breaks_the_run() -> None:
    scene = Scene("restart")
    scene.healthy(10, 110)
    scene.healthy(400, 420)
    assert scene.phase() is Phase.OBSERVING
    assert scene.case.seen.samples == 2


def test_evidence_measured_before_the_opening_never_acts() -> None:
    scene = Scene("restart")
    before = scene.case
    scene.feed(life.Evidence(ns(-5), healthy=True), 5)
    scene.feed(life.Evidence(ns(0), healthy=True), 5)
    assert scene.case == before


def test_old_and_repeated_evidence_never_acts() -> None:
    scene = Scene("restart")
    scene.sick(50)
    before = scene.case
    scene.feed(life.Evidence(ns(50), healthy=True), 60)
    scene.feed(life.Evidence(ns(40), healthy=True), 60)
    assert scene.case == before


def test_evidence_from_the_future_is_not_believed() -> None:
    scene = Scene("restart")
    before = scene.case
    scene.feed(life.Evidence(ns(10 + 301), healthy=True), 10)
    assert scene.case == before
    scene.feed(life.Evidence(ns(10 + 299), healthy=True), 10)
    assert scene.case.seen.samples == 1


def test_a_safety_fault_becomes_a_ticket_at_once() -> None:
    scene = Scene("restart", safety=True)
    assert scene.phase() is Phase.DISPATCHED
    assert scene.reason is EscalationReason.UNSAFE
    assert len(scene.tickets()) == 1
    assert scene.sent() == []


def test_a_fault_without_remedies_is_observed_and_then_dispatched() -> None:
    scene = Scene()
    scene.sick(100)
    assert scene.tick(119) == []
    scene.tick(120)
    assert scene.reason is EscalationReason.NOT_REMOTABLE
    assert scene.tickets()[0].detail == "It needs hands on site."


def test_a_fault_without_remedies_that_clears_makes_no_ticket() -> None:
    scene = Scene()
    scene.healthy(10, 190)
    assert scene.phase() is Phase.SELF_CLEARED
    assert scene.tickets() == []


def test_nobody_is_sent_to_a_machine_that_is_not_seen_sick_until_silence_has_lasted() -> None:
    scene = Scene()
    observed_s = round(Timing().observe_s)
    assert scene.tick(observed_s + 1) == []
    assert scene.tick(observed_s + 1799) == []
    scene.tick(observed_s + 1800)
    assert scene.reason is EscalationReason.NOT_REMOTABLE


def test_a_silent_machine_is_watched_longer_and_then_unreachable() -> None:
    plan = planned(observe_s=900, reason=EscalationReason.DEVICE_UNREACHABLE)
    scene = Scene(plan=plan, fault=NO_DATA)
    assert scene.tick(899) == []
    scene.tick(900)
    assert scene.reason is EscalationReason.DEVICE_UNREACHABLE


def test_a_silent_machine_that_speaks_again_clears_the_case() -> None:
    plan = planned(observe_s=900, reason=EscalationReason.DEVICE_UNREACHABLE)
    scene = Scene(plan=plan, fault=NO_DATA)
    scene.healthy(300, 480)
    assert scene.phase() is Phase.SELF_CLEARED


def test_a_sharper_diagnosis_changes_the_plan_while_nothing_was_sent() -> None:
    scene = Scene("restart")
    scene.feed(life.Diagnosed(diagnosed("clogged"), planned("flush")), 30)
    assert (scene.case.fault, scene.phase()) == ("clogged", Phase.OBSERVING)
    scene.sick(100)
    scene.tick(120)
    assert [c.remedy for c in scene.sent()] == ["flush"]
    scene.feed(life.Diagnosed(diagnosed("leak"), planned("other")), 130)
    assert scene.case.fault == "clogged"


def test_a_sharper_diagnosis_never_buys_time() -> None:
    scene = Scene("restart")
    deadline_ns = scene.case.plan.escalate_at_ns
    later = planned("flush", deadline_s=99 * HOUR_S)
    scene.feed(life.Diagnosed(diagnosed("clogged"), later), 30)
    assert scene.case.plan.escalate_at_ns == deadline_ns
    sooner = planned("drain", deadline_s=HOUR_S)
    scene.feed(life.Diagnosed(diagnosed("leak"), sooner), 40)
    assert scene.case.plan.escalate_at_ns == sooner.escalate_at_ns


def test_a_diagnosis_that_turns_out_dangerous_becomes_a_ticket_at_once() -> None:
    scene = Scene("restart", mode=Mode.SUGGEST)
    scene.sick(100)
    scene.tick(120)
    scene.feed(life.Diagnosed(diagnosed("overpressure", safety=True), planned()), 130)
    assert scene.reason is EscalationReason.UNSAFE


def test_the_same_diagnosis_again_only_refreshes_the_picture() -> None:
    scene = Scene("restart")
    believed = structs.replace(diagnosed(), hypotheses=[])
    effects = scene.feed(life.Diagnosed(believed, planned("restart", deadline_s=1)), 30)
    assert effects == []
    assert scene.case.hypotheses == []
    assert scene.case.plan == planned("restart")


def test_causes_that_take_turns_do_not_fill_the_timeline() -> None:
    scene = Scene("restart")
    for i in range(100):
        fault, name = (("clogged", "flush"), ("leak", "drain"))[i % 2]
        scene.feed(life.Diagnosed(diagnosed(fault), planned(name)), i)
    assert scene.case.sharpened == 20


def test_a_remedy_that_was_turned_down_does_not_come_back_with_a_new_diagnosis() -> None:
    scene = Scene("restart", "flush", mode=Mode.SUGGEST)
    scene.feed(life.Rejected("Ada", "not today"), 20)
    scene.feed(life.Diagnosed(diagnosed("clogged"), planned("restart", "drain")), 30)
    assert [step.remedy for step in scene.case.plan.steps] == ["drain"]


# Limits.


def storm(sick: int = 30) -> Fleet:
    return Fleet(machines_of_type=100, sick_of_type=sick)


def test_a_storm_holds_automatic_remedies_and_says_why_once() -> None:
    scene = Scene("restart")
    scene.fleet = storm()
    scene.sick(100)
    scene.tick(120)
    assert scene.phase() is Phase.HOLDING
    assert "a common cause is likely" in scene.notes()
    scene.fleet = storm(31)
    assert scene.tick(130) == []
    scene.fleet = storm(20)
    scene.tick(140)
    assert scene.phase() is Phase.FIXING


def test_in_a_storm_a_person_may_still_approve() -> None:
    scene = Scene("restart")
    scene.fleet = storm()
    scene.sick(100)
    scene.tick(120)
    scene.feed(life.Approved("Ada"), 130)
    scene.tick(135)
    assert scene.phase() is Phase.FIXING


def test_a_small_fleet_has_its_storm_by_number_not_by_share() -> None:
    scene = Scene("restart")
    scene.fleet = Fleet(machines_of_type=10, sick_of_type=5)
    scene.sick(100)
    scene.tick(120)
    assert scene.phase() is Phase.FIXING


def test_a_site_has_so_many_remedies_under_way_at_most() -> None:
    scene = Scene("restart", mode=Mode.SUGGEST)
    scene.fleet = Fleet(in_flight_at_site=3)
    scene.sick(100)
    scene.tick(120)
    scene.feed(life.Approved("Ada"), 130)
    scene.tick(135)
    assert scene.phase() is Phase.HOLDING  # a person's yes does not lift this limit
    scene.fleet = Fleet(in_flight_at_site=2)
    scene.tick(140)
    assert scene.phase() is Phase.FIXING


def test_a_remedy_that_did_not_last_is_left_out() -> None:
    scene = Scene("restart", "flush")
    scene.fleet = Fleet(tried=[Tried("restart", "cavitation", ns(-1800))])
    scene.sick(100)
    scene.tick(120)
    scene.tick(125)
    assert [c.remedy for c in scene.sent()] == ["flush"]
    assert "Leaves out 'Restart'" in scene.notes()


@pytest.mark.parametrize(
    "earlier",
    [
        Tried("restart", "cavitation", ns(-3500)),  # cooled down by the time it is needed
        Tried("restart", "other_fault", ns(0)),
        Tried("flush", "cavitation", ns(0)),
    ],
)
def test_another_remedy_fault_or_an_hour_do_not_count_for_the_cooldown(earlier: Tried) -> None:
    scene = Scene("restart")
    scene.fleet = Fleet(tried=[earlier])
    scene.sick(110)
    scene.tick(120)
    assert scene.phase() is Phase.FIXING


def test_a_machine_has_a_daily_budget_of_remedies() -> None:
    scene = Scene("restart")
    spent = [Tried(f"r{i}", "f", ns(-i * HOUR_S)) for i in range(6)]
    scene.fleet = Fleet(tried=spent, limits=Limits(attempts_per_day=6))
    scene.sick(100)
    scene.tick(120)
    assert scene.reason is EscalationReason.ATTEMPTS_EXHAUSTED
    assert scene.sent() == []


def test_yesterdays_remedies_do_not_count() -> None:
    scene = Scene("restart")
    spent = [Tried(f"r{i}", "f", ns(-24 * HOUR_S)) for i in range(6)]
    scene.fleet = Fleet(tried=spent)
    scene.sick(100)
    scene.tick(120)
    assert scene.phase() is Phase.FIXING


# Deadlines.


def test_the_deadline_ends_observation() -> None:
    scene = Scene(plan=planned("restart", deadline_s=60))
    scene.tick(60)
    assert scene.reason is EscalationReason.SLA_DEADLINE


def test_a_remedy_that_could_not_be_verified_in_time_is_not_tried() -> None:
    scene = Scene(plan=planned("restart", deadline_s=120 + 360 + 59))
    scene.sick(100)
    scene.tick(120)
    assert scene.reason is EscalationReason.SLA_DEADLINE
    assert scene.sent() == []


def test_a_command_expires_early_enough_to_be_verified_before_the_deadline() -> None:
    scene = Scene(plan=planned("restart", deadline_s=120 + 360 + 60))
    scene.sick(100)
    scene.tick(120)
    assert scene.sent()[0].expires_ns == ns(180)


@pytest.mark.parametrize("mode", list(Mode))
def test_the_deadline_ends_every_remote_phase(mode: Mode) -> None:
    for scene in (Scene("restart", mode=mode), fixing("restart", mode=mode)):
        scene.tick(8 * HOUR_S)
        assert scene.reason is EscalationReason.SLA_DEADLINE
        assert len(scene.tickets()) == 1
