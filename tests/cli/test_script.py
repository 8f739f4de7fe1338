"""The demo's script and the judgement of what came of it: pure, so tested without a process."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farfix.api import Attempt, Detail, Hypothesis
from farfix.demo import report, script
from farfix.demo.accounting import count, gaps
from farfix.demo.machines import Broken
from farfix.demo.script import Catalogue, Injection, Known, Nature

CATALOGUE: Catalogue = {
    kind: {
        "hang": Known(Nature.REMOTE, ["restart"], ["hang"]),
        "drift": Known(Nature.REMOTE, ["recalibrate"], ["drift"]),
        "defect": Known(Nature.REMOTE, ["update_firmware"], ["defect"]),
        "wear": Known(Nature.ON_SITE, [], ["wear"]),
        "leak": Known(Nature.ON_SITE, [], ["leak"]),
        "passing": Known(Nature.SELF, [], ["passing"]),
        "demand_step": Known(Nature.BAIT, [], []),
    }
    for kind in script.MACHINE_TYPES
}


@given(st.integers(3, 60), st.integers(0, 10_000))
def test_a_script_is_fair(machines: int, seed: int) -> None:
    fleet = script.fleet(machines)
    plan = script.script(fleet, CATALOGUE, seed)
    assert plan == script.script(fleet, CATALOGUE, seed)
    assert len({i.device for i in plan}) == len(plan)
    assert {i.device for i in plan} <= {m.device for m in fleet}
    times = [i.after_s for i in plan]
    assert times == sorted(times)
    assert 0 < times[0] <= times[-1] <= script.FIRST_FAULT_S + script.SPREAD_S
    natures = Counter(i.nature for i in plan)
    assert {Nature.REMOTE, Nature.ON_SITE, Nature.SELF} <= set(natures)
    assert natures[Nature.SELF] == 1
    if machines >= 6:
        assert natures[Nature.BAIT] == 1
        assert "defect" in {i.fault for i in plan}
        assert len(plan) < machines


def test_another_seed_is_another_script() -> None:
    fleet = script.fleet(9)
    assert script.script(fleet, CATALOGUE, 1) != script.script(fleet, CATALOGUE, 2)


def test_a_fleet_has_two_sites_and_a_serial_line() -> None:
    fleet = script.fleet(9)
    assert {m.site for m in fleet} == {"north", "south"}
    assert {m.bus for m in fleet} == {"tcp-north", "tcp-south", "rtu-south"}
    assert len({m.device for m in fleet}) == 9
    assert all(len({m.site for m in fleet if m.bus == bus}) == 1 for bus in {m.bus for m in fleet})


S = 10**9


def case(case_id: str, opened_s: int, phase: str, **changes: object) -> Detail:
    fields: dict[str, object] = {
        "case_id": case_id,
        "device": "pump-1",
        "phase": phase,
        "open": phase == "dispatched",
        "opened_ns": opened_s * S,
        "updated_ns": opened_s * S + 300 * S,
        "hypotheses": [Hypothesis("hang", 0.9)],
        "deviations": [],
        "attempts": [Attempt("restart", "recovered", 1, 2, "")],
        "timeline": [],
        "ticket_key": case_id if phase in {"dispatched", "closed"} else None,
    }
    return Detail(**(fields | changes))  # type: ignore[arg-type]


def plan(nature: Nature) -> Injection:
    return Injection("pump-1", "hang", 0, nature, ["hang"])


HANG = Broken("pump-1", "hang", 100 * S, 400 * S, "restart")
WEAR = Broken("pump-1", "wear", 100 * S)


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        ([], None),
        ([case("a", 120, "observing")], None),
        ([case("a", 120, "recovered")], "recovered"),
        ([case("a", 120, "self_cleared")], "self_cleared"),
        ([case("a", 120, "dispatched")], "ticket"),
        ([case("a", 120, "closed")], "ticket"),
        ([case("a", 120, "dismissed")], None),
        ([case("a", 50, "recovered")], None),
        ([case("a", 120, "recovered", device="pump-2")], None),
    ],
)
def test_outcomes_are_read_from_the_cases(cases: list[Detail], expected: str | None) -> None:
    assert report.outcome(report.own_cases(HANG, cases)) == expected


def test_a_case_without_a_fault_is_a_false_one() -> None:
    before, own, after = (
        case("b", 50, "recovered"),
        case("o", 120, "recovered"),
        case("a", 900, "x"),
    )
    found = report.false_cases([plan(Nature.REMOTE)], [HANG], [before, own, after])
    assert found == ["a", "b"]
    assert report.false_cases([plan(Nature.BAIT)], [HANG], [own]) == ["o"]


def test_a_fault_that_goes_on_has_not_recovered() -> None:
    early = case("e", 120, "recovered", updated_ns=300 * S)
    late = case("l", 120, "recovered", updated_ns=500 * S)
    assert report.false_recoveries([HANG], [early]) == ["e"]
    assert report.false_recoveries([HANG], [late]) == []
    assert report.false_recoveries([WEAR], [late]) == ["l"]


def test_a_bait_is_watched_for_its_time() -> None:
    bait = [plan(Nature.BAIT)]
    watched_ns = HANG.injected_ns + int(report.BAIT_WATCH_S * S)
    assert not report.settled(bait, [HANG], [], watched_ns - 1)
    assert report.settled(bait, [HANG], [], watched_ns)
    assert not report.settled(bait, [], [], watched_ns)


def test_the_story_of_a_fault() -> None:
    told = report.fault_report(plan(Nature.REMOTE), HANG, [case("o", 120, "recovered")], {})
    assert (told.outcome, told.expected, told.named_right) == ("recovered", "recovered", True)
    assert told.detected_after_s == 20
    assert [r.name for r in told.remedies] == ["restart"]
    assert report.bait_report(HANG, []).cases == []
    assert report.bait_report(HANG, [case("o", 120, "recovered")]).cases == ["o"]


def test_what_was_not_stored_is_lost_and_what_a_spool_holds_is_not() -> None:
    told = count(
        {("a", 1), ("a", 2), ("a", 3)},
        {("a", 1), ("b", 9)},
        {("a", 3), ("a", 4)},
        scored=4,
        missing=2,
        repeated=5,
    )
    assert (told.published, told.stored, told.lost) == (3, 2, 1 + 2)
    assert (told.duplicates, told.in_spool, told.redelivered_batches) == (2, 2, 5)


def test_a_number_that_nobody_heard_is_a_gap() -> None:
    assert gaps({("a", "boot"): {1, 2, 5}}, {("a", "boot", 3)}) == 1
    assert gaps({}, set()) == 0
