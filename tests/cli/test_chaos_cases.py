"""Cases under drill: what may become of a case between two looks, and what must not."""

import pytest
from msgspec.structs import replace

from cloud.core.states import TERMINAL, Phase
from farfix.api import Detail, Entry
from farfix.chaos.cases import SUCCESSORS, History, judge
from farfix.demo.machines import Broken
from farfix.demo.script import Injection, Nature

S = 10**9
CASE = Detail(
    case_id="pump-1-1",
    device="pump-1",
    phase="observing",
    open=True,
    opened_ns=120 * S,
    updated_ns=300 * S,
    hypotheses=[],
    deviations=[],
    attempts=[],
    timeline=[Entry(1, "Fault detected"), Entry(2, "Trying")],
    ticket_key=None,
)
TICKET = replace(CASE, phase="dispatched", ticket_key=CASE.case_id)
WEAR = Broken("pump-1", "wear", 100 * S)
PLAN = [Injection("pump-1", "wear", 0, Nature.ON_SITE, ["wear"])]


def notes(*looks: Detail | None) -> list[str]:
    history = History()
    for look in looks:
        history.note([] if look is None else [look])
    return history.problems


def test_a_case_that_goes_on_is_well() -> None:
    longer = replace(CASE, phase="verifying", timeline=[*CASE.timeline, Entry(3, "more")])
    assert notes(CASE, CASE, longer, replace(longer, phase="fixing"), longer) == []
    assert notes(CASE, TICKET, TICKET) == []


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (None, "is gone"),
        (replace(CASE, timeline=CASE.timeline[:1]), "forgot"),
        (replace(CASE, timeline=[Entry(1, "Something else"), *CASE.timeline[1:]]), "forgot"),
        (replace(CASE, opened_ns=1), "another one"),
    ],
)
def test_a_case_that_lost_something_is_noticed_once(then: Detail | None, said: str) -> None:
    (problem,) = notes(CASE, then, then)
    assert said in problem


def test_no_case_goes_back_from_its_end() -> None:
    for phase in TERMINAL:
        assert SUCCESSORS[phase] == {phase}
        (problem,) = notes(replace(CASE, phase=str(phase)), CASE)
        assert f"from {phase} to observing" in problem
    assert notes(TICKET, replace(TICKET, phase="fixing")) != []
    assert SUCCESSORS[Phase.OBSERVING] >= {"fixing", "recovered", "dispatched", "closed"}


def test_a_fault_that_is_back_opens_its_case_anew_and_loses_nothing() -> None:
    ended = replace(CASE, phase="recovered", open=False)
    back = replace(CASE, opened_ns=900 * S, timeline=[*CASE.timeline, Entry(9, "It is back")])
    assert notes(ended, back) == []
    assert "forgot" in notes(ended, replace(back, timeline=[]))[0]
    assert "another one" in notes(CASE, back)[0]
    wrong = replace(ended, phase="dismissed")
    assert "from dismissed to observing" in notes(wrong, back)[0]


def test_a_further_ticket_of_a_case_belongs_to_it() -> None:
    tickets: dict[str, object] = {CASE.case_id: {}, f"{CASE.case_id}~2": {}}
    again = replace(TICKET, ticket_key=f"{CASE.case_id}~2")
    assert judge(PLAN, [WEAR], [again], tickets) == []


def test_a_ticket_stays_the_same() -> None:
    (problem,) = notes(TICKET, replace(TICKET, ticket_key="another"))
    assert "ticket" in problem


def test_the_end_is_judged() -> None:
    assert judge(PLAN, [WEAR], [TICKET], {CASE.case_id: {}}) == []
    assert judge(PLAN, [WEAR], [CASE], {}) == []  # still being worked on
    expectations: list[tuple[list[Detail], dict[str, object], str]] = [
        ([], {}, "nobody noticed wear"),
        ([replace(CASE, phase="dismissed", open=False)], {}, "ended as dismissed"),
        ([replace(CASE, phase="recovered", open=False)], {}, "called well while"),
        ([TICKET], {}, "did not reach dispatch"),
        ([CASE], {"stray": {}}, "belongs to no case"),
        ([TICKET, replace(CASE, case_id="x", device="pump-2")], {CASE.case_id: {}}, "nothing was"),
        ([TICKET, replace(TICKET, case_id="x")], {CASE.case_id: {}}, "belongs to two cases"),
    ]
    for details, tickets, said in expectations:
        assert any(said in problem for problem in judge(PLAN, [WEAR], details, tickets)), said
