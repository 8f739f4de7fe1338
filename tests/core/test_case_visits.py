"""A visit: what dispatch says in any order, and when it is called off."""

import pytest

from cloud.core import case as life
from cloud.core import visits
from cloud.core.states import Phase
from cloud.core.telling import EventType, events
from contract.tickets import ClosingReport, EscalationReason, VisitState, VisitUpdate
from tests.core.scenes import Scene, dispatched, fixing, ns

W = VisitState
REPORT = life.ReportReceived(ClosingReport(finding="other"))


def word(state: VisitState, at_s: float, name: str = "", **fields: object) -> VisitUpdate:
    made = {"id": name or f"{state}-{at_s}", "state": state, "at_ns": ns(at_s), **fields}
    return VisitUpdate(**made)  # type: ignore[arg-type]


def say(scene: Scene, *words: VisitUpdate, at_s: float = 5000) -> None:
    for each in words:
        scene.feed(life.VisitUpdated(each), at_s)


def state(scene: Scene) -> VisitState:
    assert scene.case.visit is not None
    return scene.case.visit.state


def test_a_ticket_begins_a_visit_under_the_key_of_the_case() -> None:
    scene = dispatched()
    assert scene.case.visit is not None
    assert (scene.case.visit.key, state(scene)) == ("pump-1-a1", W.ORDERED)
    assert scene.case.tickets == 1


def test_every_step_of_a_good_day_stands_in_the_timeline() -> None:
    scene = dispatched()
    planned = word(W.SCHEDULED, 300, expected_ns=ns(7200), technician="Kim")
    say(scene, word(W.ACCEPTED, 200), planned, word(W.ON_THE_WAY, 400), word(W.ON_SITE, 500))
    assert "planned for Kim, expected 1970-01-12 15:46 UTC" in scene.notes()
    assert "Kim is on the way, expected" in scene.notes()
    assert "Kim is at the machine" in scene.notes()
    say(scene, word(W.DONE, 600, note="Cleaned."))
    assert "waits for the closing report. Cleaned." in scene.notes()
    assert scene.phase() is Phase.DISPATCHED
    scene.feed(REPORT, 6000)
    assert scene.phase() is Phase.CLOSED


def test_the_same_word_again_changes_nothing() -> None:
    scene = dispatched()
    say(scene, word(W.ACCEPTED, 200, "w1"))
    before = scene.case
    assert scene.feed(life.VisitUpdated(word(W.ACCEPTED, 200, "w1")), 5001) == []
    assert scene.case == before
    assert scene.feed(life.VisitUpdated(word(W.ACCEPTED, 200, "w2")), 5002) == []
    assert state(scene) is W.ACCEPTED


def test_an_older_word_is_told_but_undoes_nothing() -> None:
    scene = dispatched()
    say(scene, word(W.ON_SITE, 500), word(W.SCHEDULED, 300))
    assert state(scene) is W.ON_SITE
    assert "Dispatch said late: the visit is planned" in scene.notes()


def test_words_come_out_right_in_any_order() -> None:
    said = [word(W.ACCEPTED, 200), word(W.SCHEDULED, 300), word(W.ON_THE_WAY, 400)]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]):
        scene = dispatched()
        say(scene, *[said[i] for i in order])
        assert state(scene) is W.ON_THE_WAY


def test_a_dispatch_system_whose_clock_is_behind_is_heard() -> None:
    scene = dispatched()
    say(scene, word(W.ACCEPTED, -9000))
    assert state(scene) is W.ACCEPTED


def test_what_is_final_stays() -> None:
    scene = dispatched()
    say(scene, word(W.DONE, 500), word(W.CANCELLED, 600))
    assert state(scene) is W.DONE
    assert visits.refusal(scene.case, "pump-1-a1", word(W.CANCELLED, 600)).endswith("is final")


def test_withdrawn_is_no_word_of_dispatch() -> None:
    scene = dispatched()
    say(scene, word(W.WITHDRAWN, 500))
    assert state(scene) is W.ORDERED
    assert "only the gateway" in visits.refusal(scene.case, "pump-1-a1", word(W.WITHDRAWN, 1))


def test_a_machine_that_stays_well_calls_the_visit_off() -> None:
    scene = dispatched()
    say(scene, word(W.SCHEDULED, 200), at_s=210)
    scene.healthy(300, 300 + 1780)
    assert scene.phase() is Phase.DISPATCHED
    assert "if that lasts until 1970-01-12 14:21 UTC, the visit is called off" in scene.notes()
    before = scene.case
    scene.healthy(300 + 1800, 300 + 1800)
    assert scene.phase() is Phase.WITHDRAWN
    assert state(scene) is W.WITHDRAWN
    assert scene.case.recovered_since_ns == ns(300)
    assert events(before, scene.case) == [EventType.TICKET_WITHDRAWN, EventType.CASE_ENDED]
    assert not scene.labels()


@pytest.mark.parametrize("left", [W.ON_THE_WAY, W.ON_SITE, W.DONE])
def test_once_somebody_has_left_the_visit_stands(left: VisitState) -> None:
    scene = dispatched()
    say(scene, word(left, 200), at_s=210)
    scene.healthy(300, 4000)
    assert scene.phase() is Phase.DISPATCHED
    assert "the visit stands" in scene.notes()


def test_a_word_of_leaving_that_came_late_counts_too() -> None:
    scene = dispatched()
    say(scene, word(W.SCHEDULED, 200), word(W.ON_THE_WAY, 150), at_s=210)
    scene.healthy(300, 4000)
    assert scene.phase() is Phase.DISPATCHED


def test_a_relapse_begins_the_wait_anew() -> None:
    scene = dispatched()
    scene.healthy(300, 2000)
    scene.sick(2020)
    scene.healthy(2040, 3800)
    assert scene.phase() is Phase.DISPATCHED
    scene.healthy(3820, 3840)
    assert scene.phase() is Phase.WITHDRAWN


def test_a_dangerous_machine_and_a_wish_are_looked_at_anyway() -> None:
    unsafe, wish = Scene(safety=True), fixing("restart")
    wish.feed(life.EscalationAsked("Ada"), 200)
    for scene in (unsafe, wish):
        scene.healthy(300, 4000)
        assert scene.phase() is Phase.DISPATCHED
        assert "the visit stands" in scene.notes()


def cancelled() -> Scene:
    scene = dispatched()
    say(scene, word(W.CANCELLED, 200), at_s=210)
    assert scene.phase() is Phase.DISPATCHED
    return scene


def test_a_cancelled_visit_waits_for_a_persons_decision() -> None:
    scene = cancelled()
    assert "a person must decide" in scene.notes()
    before = scene.case
    scene.feed(life.EscalationAsked("Ada", "it is urgent"), 300)
    assert scene.case.visit is not None
    assert scene.case.visit.key == "pump-1-a1~2"
    assert scene.reason is EscalationReason.NOT_REMOTABLE
    assert [t.key for t in scene.tickets()] == ["pump-1-a1/ticket", "pump-1-a1~2/ticket"]
    assert events(before, scene.case) == [EventType.TICKET_OPENED]


def test_a_cancelled_visit_is_the_tickets_end() -> None:
    scene = dispatched()
    before = scene.case
    say(scene, word(W.CANCELLED, 200), at_s=210)
    assert events(before, scene.case) == [EventType.TICKET_CLOSED]
    before = scene.case
    scene.healthy(300, 600)
    assert scene.case.recovered_since_ns is not None
    assert events(before, scene.case) == []
    scene.healthy(620, 2200)
    assert scene.phase() is Phase.WITHDRAWN
    assert events(before, scene.case) == [EventType.CASE_ENDED]


def test_a_visit_that_is_cancelled_when_the_machine_is_well_ends_the_case() -> None:
    scene = dispatched()
    say(scene, word(W.ON_THE_WAY, 200), at_s=210)
    scene.healthy(300, 3000)
    say(scene, word(W.CANCELLED, 2990), at_s=3005)
    assert scene.phase() is Phase.WITHDRAWN
    assert "had been cancelled: nothing is left to do" in scene.notes()


def test_a_cancelled_visit_can_be_a_wrong_alarm_and_no_other_can() -> None:
    scene = dispatched()
    assert scene.feed(life.Dismissed("Ada"), 200) == []
    assert scene.feed(life.EscalationAsked("Ada"), 200) == []
    scene = cancelled()
    scene.feed(life.Dismissed("Ada"), 300)
    assert scene.phase() is Phase.DISMISSED


def test_words_about_a_ticket_that_is_over_are_answered_clearly() -> None:
    scene = dispatched()
    scene.healthy(300, 2200)
    told = visits.refusal(scene.case, "pump-1-a1", word(W.ON_THE_WAY, 2300))
    assert told == "ticket pump-1-a1 is withdrawn: nobody is needed there any more, call them back"
    assert visits.refusal(scene.case, "pump-1-a1", word(W.CANCELLED, 2300)) == ""
    closed = dispatched()
    closed.feed(REPORT, 300)
    assert visits.refusal(closed.case, "pump-1-a1", word(W.ON_SITE, 250)) == ""


def test_a_loop_of_words_is_cut() -> None:
    scene = dispatched()
    for i in range(visits.WORDS_MAX + 50):
        say(scene, word(W.SCHEDULED, 200 + i, expected_ns=ns(9000 + i)))
    assert scene.case.visit is not None
    assert scene.case.visit.words == visits.WORDS_MAX
    assert len(scene.case.visit.seen) == visits.SEEN_MAX
    assert "the report still closes it" in visits.refusal(
        scene.case, "pump-1-a1", word(W.ACCEPTED, 9000)
    )


@pytest.mark.parametrize(
    ("key", "number"),
    [("c-1", 1), ("c-1~2", 2), ("c~12", 12), ("c~1", 0), ("c~", 0), ("c~02", 0), ("c~x", 0)],
)
def test_a_key_tells_which_ticket_of_its_case_it_is(key: str, number: int) -> None:
    assert visits.number(key) == number
