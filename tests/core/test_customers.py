"""Customers hear of a fault once it is one, of its end if they heard of it, and not at night."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from cloud.core import customers, letters
from cloud.core.customers import Moment, allowed_ns, moments
from cloud.core.evidence import NS
from cloud.core.letters import Facts
from cloud.core.states import Case, Phase, Visit
from contract.errors import Malformed
from contract.tickets import ClosingReport, VisitState
from tests.core.scenes import Scene, fixing

BERLIN = ZoneInfo("Europe/Berlin")
FACTS = Facts(machine="Pump", fault="Cavitation", case="c-1", when="soon", link="", stop="S")


def told(scene: Scene) -> list[Moment]:
    """Return what the customer hears when the scene's present case is all there is."""
    return moments(None, scene.case)


def dispatched(state: VisitState = VisitState.ORDERED, expected_ns: int | None = None) -> Case:
    case = structs.replace(fixing("restart").case, phase=Phase.DISPATCHED)
    return structs.replace(case, visit=Visit(key="c-1", state=state, expected_ns=expected_ns))


def test_what_is_only_watched_is_not_told() -> None:
    scene = Scene("restart")
    assert told(scene) == []
    cleared = structs.replace(scene.case, phase=Phase.SELF_CLEARED)
    assert moments(scene.case, cleared) == []


def test_the_first_remedy_is_told_together_with_the_fault() -> None:
    watched = Scene("restart").case
    assert moments(watched, fixing("restart").case) == [Moment.RECEIVED, Moment.FIXING]


def test_a_recovery_is_told_to_whoever_knows_of_the_fault() -> None:
    under_way = fixing("restart").case
    recovered = structs.replace(under_way, phase=Phase.RECOVERED)
    assert moments(under_way, recovered) == [Moment.FIXED]
    assert moments(recovered, recovered) == []


def test_the_visit_is_told_step_by_step() -> None:
    before = fixing("restart").case
    ordered = dispatched()
    planned = dispatched(VisitState.SCHEDULED, expected_ns=5)
    later = dispatched(VisitState.SCHEDULED, expected_ns=9)
    leaving = dispatched(VisitState.ON_THE_WAY, expected_ns=9)
    assert moments(before, ordered) == [Moment.VISIT_ORDERED]
    assert moments(ordered, dispatched(VisitState.ACCEPTED)) == []
    assert moments(ordered, planned) == [Moment.VISIT_PLANNED]
    assert moments(planned, later) == [Moment.VISIT_PLANNED]
    assert moments(later, leaving) == [Moment.ON_THE_WAY]
    assert moments(leaving, structs.replace(leaving, changes=99)) == []


@pytest.mark.parametrize(("resolved", "heard"), [(True, [Moment.CLOSED]), (False, [])])
def test_a_visit_that_did_not_help_is_not_called_a_repair(
    resolved: bool, heard: list[Moment]
) -> None:
    report = ClosingReport(finding="other", resolved=resolved)
    closed = structs.replace(dispatched(), phase=Phase.CLOSED, report=report)
    assert moments(dispatched(), closed) == heard


@pytest.mark.parametrize(
    ("clock", "free"),
    [("2026-07-01 21:59", "21:59"), ("2026-07-01 22:00", "07:00"), ("2026-07-02 03:00", "07:00"),
     ("2026-07-02 06:59", "07:00"), ("2026-07-02 07:00", "07:00"), ("2026-03-29 01:30", "07:00")],
)  # fmt: skip
def test_quiet_hours_hold_messages_back(clock: str, free: str) -> None:
    at_ns = int(datetime.fromisoformat(clock).replace(tzinfo=BERLIN).timestamp()) * NS
    found_ns = allowed_ns(Moment.FIXED, at_ns, "22:00", "07:00", BERLIN)
    local = datetime.fromtimestamp(found_ns // NS, UTC).astimezone(BERLIN)
    assert local.strftime("%H:%M") == free
    assert allowed_ns(Moment.ON_THE_WAY, at_ns, "22:00", "07:00", BERLIN) == at_ns


clocks = st.times().map(lambda t: t.strftime("%H:%M"))


zones = st.sampled_from(["UTC", "Asia/Shanghai", "America/St_Johns"])


@given(st.integers(0, 2**31), clocks, clocks, zones)
def test_what_is_held_back_is_held_for_less_than_a_day_and_sent_when_it_is_over(
    at_s: int, quiet_from: str, quiet_until: str, zone: str
) -> None:
    at_ns = at_s * NS
    found_ns = allowed_ns(Moment.FIXED, at_ns, quiet_from, quiet_until, ZoneInfo(zone))
    assert 0 <= found_ns - at_ns <= 25 * 3600 * NS
    again_ns = allowed_ns(Moment.FIXED, found_ns, quiet_from, quiet_until, ZoneInfo(zone))
    assert again_ns - found_ns <= 3600 * NS  # a clock that is put back may pass the hour twice


@pytest.mark.parametrize("language", letters.LANGUAGES)
@pytest.mark.parametrize("moment", list(Moment))
def test_every_moment_has_a_letter_in_every_language(language: str, moment: Moment) -> None:
    title, text = letters.write(letters.shipped()[language], moment, FACTS)
    assert "Pump" in title
    assert "c-1" in text
    assert "{" not in title + text


def test_letters_with_unknown_gaps_are_refused_by_name(tmp_path: Path) -> None:
    for name in ("en.toml", "zh.toml"):
        text = Path(customers.__file__).parents[1].joinpath("letters", name).read_text()
        tmp_path.joinpath(name).write_text(text.replace("{fault}", "{falt}", 1))
    with pytest.raises(Malformed, match=r"received.text: \{falt\} is not known here"):
        letters.load(tmp_path)


def test_a_hostile_machine_name_stays_one_line_in_a_title() -> None:
    facts = structs.replace(FACTS, machine="P\r\nBcc: a@example.com {link}")
    title, _ = letters.write(letters.shipped()["en"], Moment.RECEIVED, facts)
    assert "\n" not in title
    assert "{link}" in title
