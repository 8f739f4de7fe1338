"""Alerts of other systems: they open a case, end it, or are noted in the one that is open."""

import pytest

from cloud.core import alerts, playbook
from cloud.core import case as life
from cloud.core.states import Mode, Phase
from contract import machines
from contract.faults import REPORTED, Severity
from contract.tickets import EscalationReason, VisitState, VisitUpdate
from tests.core.scenes import Scene, diagnosed, ns, planned

PUMP = machines.library()["centrifugal_pump"]
POLICY = playbook.shipped(machines.library()).policy


def reported(*remedies: str, fault: str = REPORTED, mode: Mode = Mode.AUTO) -> Scene:
    scene = Scene(*remedies)
    scene.case, opening = life.open_case(
        case_id="pump-1-a1",
        device="pump-1",
        site="north",
        machine_type="centrifugal_pump",
        diagnosis=diagnosed(fault),
        plan=planned(*remedies, mode=mode),
        now_ns=ns(0),
        alert="a1",
        alert_ns=ns(-30),
    )
    scene.effects = list(opening)
    return scene


def ends(scene: Scene, at_s: float) -> None:
    scene.feed(life.AlertEnded(ns(at_s)), at_s)


def test_an_alert_becomes_a_diagnosis_under_its_own_title() -> None:
    found = alerts.diagnosis(PUMP, POLICY, ("Oil is low", "12 % left", Severity.HIGH))
    assert (found.fault, found.title, found.severity) == (REPORTED, "Oil is low", Severity.HIGH)
    plan = playbook.plan(PUMP, "B", found, playbook.shipped(machines.library()), ns(0))
    told = alerts.described(plan, found)
    assert told.no_remote is EscalationReason.NOT_REMOTABLE
    assert told.no_remote_detail == "Another system reports: Oil is low. 12 % left"


def test_an_alert_that_names_a_fault_of_the_table_is_that_fault() -> None:
    said = ("High vibration", "", Severity.LOW)
    found = alerts.diagnosis(PUMP, POLICY, said, "bearing_wear")
    spec = PUMP.fault("bearing_wear")
    assert spec is not None
    assert (found.fault, found.title, found.severity) == (spec.code, spec.title, spec.severity)
    assert alerts.diagnosis(PUMP, POLICY, said, "no_such_fault").fault == REPORTED


def test_an_alert_about_a_danger_is_one() -> None:
    said = ("Pressure", "", Severity.LOW)
    assert alerts.diagnosis(PUMP, POLICY, said, "discharge_overpressure").safety


def test_the_end_of_the_alert_is_the_end_of_the_case() -> None:
    scene = reported()
    ends(scene, 100)
    assert scene.phase() is Phase.SELF_CLEARED
    assert "no remedy of this case did it" in scene.notes()


def test_an_end_from_before_the_beginning_is_none() -> None:
    scene = reported()
    ends(scene, -60)
    assert scene.phase() is Phase.OBSERVING


def test_telemetry_neither_confirms_nor_ends_what_only_an_alert_tells() -> None:
    scene = reported()
    scene.healthy(10, 1000)
    assert scene.phase() is Phase.OBSERVING
    scene.tick(1010)
    assert scene.phase() is Phase.DISPATCHED
    scene.healthy(1020, 4000)
    assert scene.phase() is Phase.DISPATCHED


def test_a_visit_is_called_off_when_the_alert_ends_in_time() -> None:
    scene = reported()
    scene.tick(1010)
    ends(scene, 1100)
    assert scene.phase() is Phase.WITHDRAWN


def test_a_visit_under_way_stands_when_the_alert_ends() -> None:
    scene = reported()
    scene.tick(1010)
    word = VisitUpdate(id="1", state=VisitState.ON_THE_WAY, at_ns=ns(1050))
    scene.feed(life.VisitUpdated(word), 1050)
    ends(scene, 1100)
    assert scene.phase() is Phase.DISPATCHED
    assert scene.case.recovered_since_ns == ns(1100)
    scene.feed(life.Alerted("a1", "again", ns(1200)), 1200)
    assert scene.case.recovered_since_ns is None
    assert "It is reported again." in scene.notes()
    ends(scene, 1300)
    word = VisitUpdate(id="2", state=VisitState.CANCELLED, at_ns=ns(1400))
    scene.feed(life.VisitUpdated(word), 1400)
    assert scene.phase() is Phase.WITHDRAWN


def test_a_remedy_for_a_reported_fault_is_judged_by_the_alert() -> None:
    scene = reported("restart", fault="cavitation")
    scene.tick(120)
    scene.answer(130)
    scene.healthy(140, 480)
    assert scene.phase() is Phase.VERIFYING
    scene.tick(500)
    assert "'Restart' did not help: the alert still stands." in scene.notes()


def test_a_remedy_before_the_end_of_the_alert_is_not_credited() -> None:
    scene = reported("restart", fault="cavitation")
    scene.tick(120)
    scene.answer(130)
    ends(scene, 300)
    assert (scene.phase(), scene.case.credited) == (Phase.RECOVERED, False)
    assert "may have done it" in scene.notes()


def test_telemetry_that_shows_the_fault_has_the_last_word() -> None:
    scene = reported("restart", fault="cavitation")
    scene.sick(50)
    ends(scene, 60)
    ends(scene, 61)
    assert scene.phase() is Phase.OBSERVING
    assert scene.notes().count("telemetry decides") == 1
    scene.healthy(70, 260)
    assert scene.phase() is Phase.SELF_CLEARED


def test_what_the_detectors_see_makes_the_case_theirs() -> None:
    scene = reported()
    scene.feed(life.Diagnosed(diagnosed("cavitation"), planned("restart")), 20)
    assert scene.case.fault == "cavitation"
    scene.sick(21)
    scene.healthy(30, 220)
    assert scene.phase() is Phase.SELF_CLEARED


def test_an_alert_about_a_machine_with_a_case_is_noted_once() -> None:
    scene = Scene("restart")
    for at_s in (10, 20):
        scene.feed(life.Alerted("b", "Oil is low.", ns(10)), at_s)
    assert scene.notes().count("Another system reports: Oil is low.") == 1


def test_the_end_of_an_alert_that_opened_nothing_changes_nothing() -> None:
    scene = Scene("restart")
    assert scene.feed(life.AlertEnded(ns(10)), 10) == []


@pytest.mark.parametrize("many", [200])
def test_alerts_do_not_fill_a_timeline(many: int) -> None:
    scene = Scene("restart")
    for i in range(many):
        scene.feed(life.Alerted(f"b{i}", "Oil is low.", ns(10)), 10)
    assert len(scene.case.alerts) == alerts.ALERTS_MAX
