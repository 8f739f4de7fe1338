"""What people wish: this remedy next, and the promise's clock to stand still."""

from collections.abc import Callable

import pytest

from cloud.core import case as life
from cloud.core import levels, wishes
from cloud.core.limits import Fleet, Tried
from cloud.core.states import Mode, Phase
from cloud.core.telling import EventType, events
from contract import machines
from contract.commands import AnswerStatus
from contract.faults import UNKNOWN
from tests.core.scenes import (
    HOUR_S,
    Scene,
    diagnosed,
    dispatched,
    fixing,
    ns,
    planned,
    remedy,
    verifying,
)

PUMP = machines.library()["centrifugal_pump"]


def wish(scene: Scene, name: str, at_s: float) -> None:
    scene.feed(life.TryAsked("Ada", remedy(name)), at_s)


def awaiting() -> Scene:
    scene = Scene("restart", mode=Mode.SUGGEST)
    scene.sick(100)
    scene.tick(120)
    assert scene.phase() is Phase.AWAITING_APPROVAL
    return scene


@pytest.mark.parametrize("scene_of", [lambda: Scene("restart"), awaiting, Scene])
def test_what_a_person_wants_is_tried_next_without_another_yes(
    scene_of: Callable[[], Scene],
) -> None:
    scene = scene_of()
    wish(scene, "derate", 130)
    assert scene.phase() is Phase.HOLDING
    assert "Ada wants 'Derate' tried next." in scene.notes()
    scene.tick(135)
    assert scene.phase() is Phase.FIXING
    assert scene.sent()[0].remedy == "derate"
    assert scene.case.asked == ""


def test_the_plan_goes_on_behind_it() -> None:
    scene = Scene("restart", "derate")
    wish(scene, "derate", 10)
    assert [step.remedy for step in scene.case.plan.steps] == ["derate", "restart"]


def test_a_remedy_under_verification_gives_way() -> None:
    scene = verifying("restart", "flush")
    wish(scene, "derate", 200)
    scene.tick(205)
    assert [e.remedy for e in scene.sent()] == ["restart", "derate"]
    assert [step.remedy for step in scene.case.plan.steps] == ["restart", "derate", "flush"]


def test_a_command_that_is_out_cannot_be_overtaken() -> None:
    scene = fixing("restart")
    before = scene.case
    wish(scene, "derate", 130)
    assert scene.case == before


def test_the_same_wish_twice_is_one_wish() -> None:
    scene = Scene("restart")
    wish(scene, "derate", 10)
    before = scene.case
    wish(scene, "derate", 11)
    assert scene.case == before


def test_a_wish_brings_back_what_was_turned_down() -> None:
    scene = awaiting()
    scene.feed(life.Rejected("Ada"), 130)
    wish(scene, "restart", 140)
    scene.sick(141)
    scene.tick(145)
    assert scene.sent()[0].remedy == "restart"


def test_a_sharper_diagnosis_does_not_replace_a_wish_but_danger_does() -> None:
    scene = Scene("restart")
    wish(scene, "derate", 10)
    before = scene.case
    scene.feed(life.Diagnosed(diagnosed("clogged"), planned("flush")), 11)
    assert scene.case == before
    scene.feed(life.Diagnosed(diagnosed("clogged", safety=True), planned("flush")), 12)
    assert scene.phase() is Phase.DISPATCHED


def test_the_limits_hold_for_wishes_too() -> None:
    scene = Scene("restart")
    scene.fleet = Fleet(tried=[Tried("derate", "cavitation", ns(-60))])
    wish(scene, "derate", 10)
    scene.sick(11)
    scene.tick(15)
    assert "Leaves out 'Derate': it was used 75 s ago" in scene.notes()


def test_the_remedies_of_the_type_are_offered_with_what_they_would_cure() -> None:
    scene = Scene("restart")
    offered = {step.remedy: step.fault for step in wishes.offered(scene.case, PUMP)}
    assert set(offered) == {remedy.name for remedy in PUMP.remedies}
    assert offered["open_suction_valve"] == "cavitation"
    assert UNKNOWN in offered.values()
    assert wishes.offered(fixing("restart").case, PUMP) == []
    assert wishes.offered(dispatched().case, PUMP) == []


def pause(scene: Scene, at_s: float, until_s: float) -> None:
    scene.feed(life.PauseAsked("Ada", "stocktaking", ns(until_s)), at_s)


def test_nothing_is_sent_and_nothing_falls_due_while_the_customer_waits() -> None:
    scene = Scene("restart")
    pause(scene, 10, 10 * HOUR_S)
    scene.sick(100)
    scene.tick(120)
    assert scene.phase() is Phase.HOLDING
    assert "Holds back: the clock of the promise stands still" in scene.notes()
    scene.tick(9 * HOUR_S)  # past the deadline of 8 h
    assert scene.phase() is Phase.HOLDING


@pytest.mark.parametrize("ends", ["asked", "over"])
def test_the_deadlines_move_by_the_time_that_was_waited(ends: str) -> None:
    scene = Scene("restart")
    before = scene.case.plan
    pause(scene, 600, 600 + 2 * HOUR_S)
    if ends == "asked":
        scene.feed(life.ResumeAsked("Ada"), 600 + HOUR_S)
        waited_s = HOUR_S
    else:
        scene.tick(600 + 3 * HOUR_S)
        waited_s = 2 * HOUR_S
    assert scene.case.paused_ns is None
    expected = levels.moved(before, ns(600), ns(600 + waited_s))
    assert scene.case.plan.due_ns == expected.due_ns == before.due_ns + waited_s * 10**9
    assert "the machine must run again by" in scene.notes()


def test_after_the_wait_the_remedy_is_sent() -> None:
    scene = Scene("restart")
    pause(scene, 10, 3600)
    scene.sick(100)
    scene.tick(120)
    scene.sick(3590)
    scene.tick(3601)
    assert scene.phase() is Phase.FIXING


def test_a_visit_that_is_ordered_waits_too_and_dispatch_hears_of_it() -> None:
    scene = dispatched()
    before = scene.case
    pause(scene, 600, 4200)
    assert events(before, scene.case) == [EventType.TICKET_UPDATED]
    before = scene.case
    scene.tick(5000)
    assert events(before, scene.case) == [EventType.TICKET_UPDATED]
    assert scene.case.paused_ns is None
    assert "The wait is over and the clock runs again" in scene.notes()


@pytest.mark.parametrize("until_s", [0, 10, 31 * 86400])
def test_a_wait_ends_in_the_future_and_within_a_month(until_s: float) -> None:
    scene = Scene("restart")
    before = scene.case
    pause(scene, 10, until_s)
    assert scene.case == before


def test_one_wait_at_a_time_and_none_to_end() -> None:
    scene = Scene("restart")
    assert scene.feed(life.ResumeAsked("Ada"), 5) == []
    pause(scene, 10, 3600)
    before = scene.case
    pause(scene, 20, 7200)
    assert scene.case == before


def test_a_plan_does_not_grow_without_end() -> None:
    scene = Scene("restart")
    for i in range(100):
        wish(scene, f"remedy{i}", 10 + i)
    assert len(scene.case.plan.steps) == wishes.STEPS_MAX


def test_an_unreachable_device_does_not_forget_the_wish() -> None:
    scene = Scene("restart")
    wish(scene, "derate", 10)
    scene.tick(15)
    scene.answer(20, AnswerStatus.UNREACHABLE)
    assert scene.case.step is not None
    assert scene.case.step.remedy == "derate"
