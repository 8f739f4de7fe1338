"""Service levels: hours of service over changes of the clocks, deadlines, pauses, what was kept."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from cloud.core import case as life
from cloud.core import levels, playbook, service_hours
from cloud.core.events import Approved, Dismissed, EscalationAsked, ReportReceived
from cloud.core.levels import Kept, Level
from cloud.core.service_hours import DAYS, Calendar, Clock
from cloud.core.states import Phase, Plan
from contract import machines
from contract.errors import Refused
from contract.faults import Severity
from contract.tickets import ClosingReport
from tests.core.scenes import HOUR_S, Scene, fixing, ns, planned

NS = 10**9
H = 3600 * NS
BOOKS = playbook.shipped(machines.library())
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # until 2019 its clocks changed at midnight
    "Australia/Lord_Howe",  # changes by half an hour
    "Atlantic/Azores",  # midnight comes twice
    "Africa/Cairo",
    "Asia/Shanghai",
    "Asia/Kathmandu",
]
EDGES = ["00:00", "06:00", "09:30", "12:00", "17:45", "24:00"]


def at(text: str, zone: str = "Europe/Berlin") -> int:
    """Return the moment at which a wall clock shows a time."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * NS


def weekdays(hours: str = "08:00-18:00", *holidays: str) -> Calendar:
    days = [dt.date.fromisoformat(text) for text in holidays]
    return Calendar(**{day: [hours] for day in DAYS[:5]}, holidays=days)


# Hours of service.

openings = st.lists(st.sampled_from(EDGES), min_size=2, max_size=4, unique=True).map(
    lambda edges: [
        f"{a}-{b}" for a, b in zip(sorted(edges)[::2], sorted(edges)[1::2], strict=False)
    ]
)
calendars = st.builds(
    Calendar,
    mon=openings,
    sat=openings,
    sun=openings,
    wed=st.one_of(st.just([]), openings),
    holidays=st.lists(st.dates(dt.date(2016, 1, 1), dt.date(2026, 12, 31)), max_size=5),
)
clocks = st.builds(Clock, st.one_of(st.none(), calendars), st.sampled_from(ZONES))
moments = st.integers(at("2016-01-01"), at("2026-12-01"))
spans = st.integers(0, 400 * H)


@settings(deadline=None)
@given(clock=clocks, begin=moments, span=spans)
def test_time_added_is_the_time_measured(clock: Clock, begin: int, span: int) -> None:
    end = service_hours.after(clock, begin, span)
    assert service_hours.between(clock, begin, end) == span
    assert not span or service_hours.between(clock, begin, end - 1) == span - 1, "the first moment"


@settings(deadline=None)
@given(clock=clocks, end=moments, span=spans)
def test_time_taken_off_is_the_time_measured(clock: Clock, end: int, span: int) -> None:
    begin = service_hours.before(clock, end, span)
    assert service_hours.between(clock, begin, end) == span
    assert not span or service_hours.between(clock, begin + 1, end) == span - 1, "the last moment"


@settings(deadline=None)
@given(clock=clocks, begin=moments, spans=st.tuples(spans, spans))
def test_time_adds_up(clock: Clock, begin: int, spans: tuple[int, int]) -> None:
    middle = begin + spans[0]
    end = middle + spans[1]
    parts = service_hours.between(clock, begin, middle), service_hours.between(clock, middle, end)
    assert sum(parts) == service_hours.between(clock, begin, end)
    assert service_hours.after(clock, begin, sum(spans)) >= service_hours.after(
        clock, begin, spans[0]
    )


CHANGES = [
    ("Europe/Berlin", "2026-03-28"),
    ("Europe/Berlin", "2026-10-24"),
    ("America/Sao_Paulo", "2018-11-03"),
    ("America/Sao_Paulo", "2019-02-16"),
    ("Australia/Lord_Howe", "2026-04-04"),
    ("Australia/Lord_Howe", "2026-10-03"),
    ("Atlantic/Azores", "2026-03-28"),
    ("Atlantic/Azores", "2026-10-24"),
]


@settings(deadline=None)
@given(calendar=calendars, change=st.sampled_from(CHANGES))
def test_service_time_is_what_the_clock_on_the_wall_says(
    calendar: Calendar, change: tuple[str, str]
) -> None:
    zone, day = change
    begin, place = at(day, zone), ZoneInfo(zone)
    quarters = 0
    for quarter in range(3 * 24 * 4):
        wall = dt.datetime.fromtimestamp(begin // NS + quarter * 900, place)
        shown = f"{wall:%H:%M}"
        hours = getattr(calendar, DAYS[wall.weekday()])
        opened = any(text[:5] <= shown < text[6:] for text in hours)
        quarters += opened and wall.date() not in calendar.holidays
    end = begin + 3 * 24 * H
    assert service_hours.between(Clock(calendar, zone), begin, end) == quarters * 900 * NS


def test_a_promise_sleeps_over_night_weekend_and_holiday() -> None:
    clock = Clock(weekdays("08:00-18:00", "2026-12-25"), "Europe/Berlin")
    assert service_hours.after(clock, at("2026-12-24 17:00"), 2 * H) == at("2026-12-28 09:00")
    assert service_hours.before(clock, at("2026-12-28 09:00"), 2 * H) == at("2026-12-24 17:00")
    assert service_hours.after(clock, at("2026-12-26 03:00"), H) == at("2026-12-28 09:00")


def test_a_night_in_which_the_clocks_change_has_an_hour_more_or_less() -> None:
    clock = Clock(Calendar(sun=["00:00-24:00"]), "Europe/Berlin")
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-01", 24)):
        assert service_hours.between(clock, at(day) - H, at(day) + 30 * H) == hours * H


def test_hours_that_begin_in_the_hour_that_is_left_out_begin_at_the_change() -> None:
    clock = Clock(Calendar(sun=["02:30-04:00"]), "Europe/Berlin")
    begin = at("2026-03-29")
    assert service_hours.after(clock, begin, 30 * 60 * NS) == at("2026-03-29 03:30")
    assert service_hours.between(clock, begin, begin + 20 * H) == H


def test_a_day_that_an_island_leaves_out_has_no_service() -> None:
    clock = Clock(Calendar(fri=["08:00-18:00"]), "Pacific/Apia")
    begin = at("2011-12-28", "Pacific/Apia")
    assert service_hours.between(clock, begin, begin + 7 * 24 * H) == 0
    assert service_hours.after(clock, begin, H) == at("2012-01-06 09:00", "Pacific/Apia")


@pytest.mark.parametrize(
    ("calendar", "said"),
    [
        (Calendar(), "open for 0 h a week: at least 4 h are needed"),
        (Calendar(mon=["18:00-08:00"]), "mon: hours end before they begin"),
        (Calendar(tue=["08:00-12:00", "11:00-18:00"]), "tue: hours overlap"),
        (Calendar(wed=["13:00-18:00", "08:00-12:00"]), "wed: hours overlap, or are not in their"),
    ],
)
def test_a_calendar_that_cannot_work_is_named(calendar: Calendar, said: str) -> None:
    assert any(said in problem for problem in service_hours.problems(calendar))


def test_weeks_are_counted() -> None:
    assert service_hours.weekly_h(None) == 168
    assert service_hours.weekly_h(weekdays()) == 50


# Promises.


def level(**changes: object) -> Level:
    given: dict[str, object] = {
        "respond_h": dict.fromkeys(Severity, 2.0),
        "restore_h": dict.fromkeys(Severity, 8.0),
        "on_site_lead_h": 3.0,
        "pause_max_h": 48.0,
        "pause_reasons": ["no access"],
    }
    return Level(**{**given, **changes})  # type: ignore[arg-type]  # as a test names them


def plan(made: Level, begin: int, zone: str = "Europe/Berlin", **calendars: Calendar) -> Plan:
    promise = levels.promise("B", made, calendars, (Severity.HIGH, begin), zone)
    return structs.replace(planned("x"), **structs.asdict(promise))


def test_deadlines_count_in_the_hours_of_the_site() -> None:
    made = level(calendar="days", on_site_calendar="days")
    found = plan(made, at("2026-11-20 16:00"), days=weekdays())
    assert found.respond_by_ns == at("2026-11-20 18:00")
    assert found.due_ns == at("2026-11-23 14:00")
    assert found.escalate_at_ns == at("2026-11-23 11:00")
    elsewhere = plan(made, at("2026-11-20 16:00"), "Asia/Shanghai", days=weekdays())
    assert elsewhere.due_ns == at("2026-11-23 16:00", "Asia/Shanghai"), "it was Friday 23:00 there"


def test_a_visit_is_ordered_before_the_hours_of_its_work_are_over() -> None:
    made = level(on_site_calendar="days", restore_h=dict.fromkeys(Severity, 72.0))
    found = plan(made, at("2026-11-20 06:00"), days=weekdays())
    assert found.due_ns == at("2026-11-23 06:00")
    assert found.escalate_at_ns == at("2026-11-20 15:00"), "nobody works at the weekend"


def test_the_promise_is_said_in_a_sentence() -> None:
    made = level(calendar="days", on_site_calendar="long")
    days, long = weekdays("08:00-18:00", "2026-12-25"), Calendar(sat=["06:00-22:00"])
    assert plan(made, 0, days=days, long=long).service_level == (
        "Level B, severity high: response within 2 h and running again within 8 h, counted in "
        "days (mon to fri 08:00-18:00, without holidays; Europe/Berlin); a visit takes 3 h, "
        "counted in long (sat 06:00-22:00; Europe/Berlin)."
    )
    assert plan(level(), 0).service_level == (
        "Level B, severity high: response within 2 h and running again within 8 h, counted round "
        "the clock; a visit takes 3 h."
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"respond_h": {Severity.HIGH: 1.0}}, "respond_h: hours for low, medium, critical are mis"),
        ({"calendar": "nights"}, "calendar 'nights' is unknown; known: round_the_clock, days"),
        ({"pause_reasons": []}, "pause_max_h and pause_reasons belong together"),
        ({"respond_h": dict.fromkeys(Severity, 9.0)}, "respond_h.low is longer than restore_h.low"),
        ({"on_site_lead_h": 9.0}, "on_site_lead_h is longer than the shortest of restore_h"),
        (
            {"calendar": "hour", "restore_h": dict.fromkeys(Severity, 600.0)},
            "restore_h.low takes 1050 days in calendar hour: at most 400",
        ),
        (
            {"on_site_calendar": "days"},
            "on_site_calendar days: for a fault on mon at 00:00 no visit of 3 h fits into the 8 h",
        ),
    ],
)
def test_a_level_that_cannot_be_kept_is_refused(changes: dict[str, object], said: str) -> None:
    known = {"days": weekdays(), "hour": Calendar(mon=["08:00-12:00"])}
    assert said in "\n".join(levels.problems(level(**changes), known))


def test_the_shipped_levels_are_possible() -> None:
    for made in BOOKS.policy.levels.values():
        assert levels.problems(made, BOOKS.policy.calendars) == []


@pytest.mark.parametrize("severity", Severity)
def test_no_shipped_level_promises_later_than_two_weeks_nor_more_than_a_dearer_one(
    severity: Severity,
) -> None:
    shares = []
    for tier, made in sorted(BOOKS.policy.levels.items()):
        for hour in range(7 * 24):
            begin_ns = levels.MONDAY_NS + hour * H
            given = levels.promise(tier, made, BOOKS.policy.calendars, (severity, begin_ns), "UTC")
            assert begin_ns < given.respond_by_ns <= given.due_ns <= begin_ns + 14 * 24 * H
        weekly_h = service_hours.weekly_h(BOOKS.policy.calendars.get(made.calendar))
        shares.append(made.restore_h[severity] / weekly_h)
    assert shares == sorted(shares)


# The clock stands still.


def test_what_is_due_moves_by_the_service_time_for_which_the_clock_stood_still() -> None:
    made = level(calendar="days", on_site_calendar="days")
    begun = plan(made, at("2026-11-20 16:00"), days=weekdays())
    waited = levels.moved(begun, at("2026-11-20 17:00"), at("2026-11-23 09:00"))
    assert waited.respond_by_ns == at("2026-11-23 10:00")
    assert waited.due_ns == at("2026-11-23 16:00")
    assert waited.escalate_at_ns == at("2026-11-23 13:00")
    assert waited.terms.stood == [(at("2026-11-20 17:00"), at("2026-11-23 09:00"))]


@settings(deadline=None)
@given(
    clock=clocks,
    begin=moments,
    times=st.tuples(*[st.integers(0, 60 * H)] * 2),
    hours=st.integers(1, 60),
)
def test_a_pause_leaves_the_service_time_that_is_left(
    clock: Clock, begin: int, times: tuple[int, int], hours: int
) -> None:
    made = level(calendar="own", restore_h=dict.fromkeys(Severity, float(hours)))
    own = {"own": clock.calendar} if clock.calendar else {}
    begun = plan(made, begin, clock.zone, **own)
    stop, go = begin + times[0], begin + sum(times)
    left = service_hours.between(clock, stop, begun.due_ns)
    waited = levels.moved(begun, stop, go)
    if stop <= begun.due_ns and stop < go:
        assert service_hours.between(clock, go, waited.due_ns) == left
    else:
        assert waited.due_ns == begun.due_ns


def test_a_pause_does_not_mend_a_promise_that_was_broken() -> None:
    begun = plan(level(), 0)
    late = levels.moved(begun, 9 * H, 20 * H)
    assert (late.respond_by_ns, late.due_ns) == (begun.respond_by_ns, begun.due_ns)
    assert late.escalate_at_ns == begun.escalate_at_ns


def test_a_sharper_diagnosis_keeps_the_pauses_and_buys_no_time() -> None:
    begun = plan(level(), 0)
    waited = levels.moved(begun, H, 11 * H)
    offered = plan(level(restore_h=dict.fromkeys(Severity, 6.0)), 0)
    assert levels.sharpened(offered, waited).due_ns == 16 * H
    assert levels.sharpened(begun, waited).due_ns == 18 * H
    longer = plan(level(restore_h=dict.fromkeys(Severity, 90.0)), 0)
    assert levels.sharpened(longer, waited).due_ns == 18 * H


def test_a_wait_needs_a_reason_of_the_level_and_has_an_end() -> None:
    begun = plan(level(), 0)
    assert levels.pause_until(begun, "no access", H, 9 * H) == 9 * H
    assert levels.pause_until(begun, "no access: the hall is locked", H, 9 * H) == 9 * H
    assert levels.pause_until(begun, "no access", H, 999 * H) == 49 * H, "48 h are allowed"
    used = levels.moved(begun, 0, 40 * H)
    assert levels.pause_until(used, "no access", 50 * H, 99 * H) == 58 * H
    for made, why, until, said in [
        (begun, "no time", 9 * H, "may wait only for 'no access', not for 'no time'"),
        (begun, "no access", H, "must end in the future"),
        (levels.moved(begun, 0, 48 * H), "no access", 99 * H, "that is used up"),
        (planned("x"), "no access", 9 * H, "its clock never stands still"),
    ]:
        with pytest.raises(Refused, match=said):
            levels.pause_until(made, why, H, until)


# Was it kept? The scenes promise a response within an hour and a running machine within ten.


def test_the_first_remedy_is_a_response_and_recovery_restores() -> None:
    scene = fixing("prime")
    assert levels.kept(scene.case) == Kept(response=True, restore=None)
    scene.answer(130)
    scene.healthy(200, 500)
    assert scene.phase() is Phase.RECOVERED
    assert levels.kept(scene.case) == Kept(response=True, restore=True)


def test_a_persons_decision_is_a_response_even_if_limits_hold_the_remedy() -> None:
    scene = Scene("prime", mode=life.Mode.SUGGEST)
    assert levels.kept(scene.case) == Kept(response=None, restore=None)
    scene.feed(Approved("Ada"), 200)
    assert scene.case.decided_ns == ns(200)
    assert levels.kept(scene.case).response is True


def test_a_late_response_breaks_the_promise() -> None:
    scene = Scene("prime", mode=life.Mode.SUGGEST)
    scene.feed(EscalationAsked("Ada"), HOUR_S + 1)
    assert levels.kept(scene.case).response is False


def test_a_dangerous_machine_has_its_response_at_once() -> None:
    scene = Scene(safety=True)
    assert levels.kept(scene.case).response is True


def test_what_cleared_by_itself_in_time_asked_for_no_response() -> None:
    scene = Scene("prime", mode=life.Mode.SUGGEST)
    scene.healthy(10, 300)
    assert scene.phase() is Phase.SELF_CLEARED
    assert levels.kept(scene.case) == Kept(response=None, restore=True)
    late = structs.replace(scene.case, ended_ns=ns(HOUR_S + 1))
    assert levels.kept(late).response is False


def test_a_wrong_alarm_has_nothing_to_restore() -> None:
    scene = Scene("prime")
    scene.feed(Dismissed("Ada"), 10)
    assert levels.kept(scene.case) == Kept(response=True, restore=None)


@pytest.mark.parametrize(("resolved", "hours", "kept"), [(True, 9, True), (True, 11, False),
                                                         (False, 9, False)])  # fmt: skip
def test_a_visit_restores_only_what_it_repaired(*, resolved: bool, hours: int, kept: bool) -> None:
    scene = Scene(plan=planned())
    scene.feed(EscalationAsked("Ada"), 100)
    report = ClosingReport(finding="bearing_wear", resolved=resolved)
    scene.feed(ReportReceived(report), hours * HOUR_S)
    assert scene.phase() is Phase.CLOSED
    assert levels.kept(scene.case).restore is kept


def test_a_case_that_ends_while_it_waits_ends_with_its_clock_stopped() -> None:
    scene = Scene("prime")
    scene.feed(Dismissed("Ada"), 10)
    ended = structs.replace(scene.case, phase=Phase.RECOVERED, ended_ns=ns(30 * HOUR_S))
    assert levels.kept(ended).restore is False
    waiting = structs.replace(ended, paused_ns=ns(9 * HOUR_S), paused_until_ns=ns(99 * HOUR_S))
    assert levels.kept(waiting).restore is True
    short = structs.replace(waiting, paused_until_ns=ns(20 * HOUR_S))
    assert levels.kept(short).restore is False
