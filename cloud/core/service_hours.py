"""Service hours: when a promise's clock runs, in the time zone of a site.

A calendar names opening hours by weekday, and holidays. They are wall time of the site: a day on
which the clocks change has more or fewer service hours if the change falls into them. Without a
calendar the clock runs round the clock. Times are ns since 1970 UTC.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Annotated
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from cloud.core.evidence import NS

HOUR_NS = 3600 * NS
REACH_DAYS = 3 * 366
"""No promise reaches further; `Calendar.problems` keeps every calendar within."""
WEEKLY_MIN_H = 4.0
"""A calendar that is open for less in a week promises nothing."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Opening = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$")]
Openings = Annotated[list[Opening], Meta(max_length=6)]


class Calendar(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Opening hours of a week as ``08:00-12:30``, ``24:00`` being midnight; and holidays."""

    mon: Openings = []
    tue: Openings = []
    wed: Openings = []
    thu: Openings = []
    fri: Openings = []
    sat: Openings = []
    sun: Openings = []
    holidays: Annotated[list[dt.date], Meta(max_length=200)] = []
    """Days on which it is closed."""


class Clock(Struct, frozen=True):
    """A calendar at a place."""

    calendar: Calendar | None = None
    """None: round the clock."""
    zone: str = "UTC"
    """As in ``Europe/Berlin``."""


def problems(calendar: Calendar) -> list[str]:
    """Say what is wrong with a calendar, each with its field."""
    found, minutes = [], 0
    for day in DAYS:
        end = 0
        for opens, closes in map(_minutes, _openings(calendar, day)):
            if closes <= opens:
                found.append(f"{day}: hours end before they begin; write the rest on the next day")
            elif opens < end:
                found.append(f"{day}: hours overlap, or are not in their order")
            minutes += max(0, closes - opens)
            end = closes
    if not found and minutes < WEEKLY_MIN_H * 60:
        found.append(f"open for {minutes / 60:g} h a week: at least {WEEKLY_MIN_H:g} h are needed")
    return found


def weekly_h(calendar: Calendar | None) -> float:
    """Return hours of service in a week without holidays or changes of the clocks."""
    if calendar is None:
        return 7 * 24.0
    spans = [_minutes(text) for day in DAYS for text in _openings(calendar, day)]
    return sum(closes - opens for opens, closes in spans) / 60


def after(clock: Clock, at_ns: int, service_ns: int) -> int:
    """Return the first moment by which so much service time has passed since ``at_ns``."""
    if clock.calendar is None or service_ns <= 0:
        return at_ns + service_ns
    left_ns, end_ns = service_ns, at_ns
    for opens_ns, closes_ns in _spans(clock.calendar, clock.zone, at_ns, 1):
        begin_ns, end_ns = max(opens_ns, at_ns), max(closes_ns, at_ns)
        if end_ns - begin_ns >= left_ns:
            return begin_ns + left_ns
        left_ns -= end_ns - begin_ns
    return end_ns


def before(clock: Clock, at_ns: int, service_ns: int) -> int:
    """Return the last moment from which so much service time passes until ``at_ns``."""
    if clock.calendar is None or service_ns <= 0:
        return at_ns - service_ns
    left_ns, begin_ns = service_ns, at_ns
    for opens_ns, closes_ns in _spans(clock.calendar, clock.zone, at_ns, -1):
        begin_ns, end_ns = min(opens_ns, at_ns), min(closes_ns, at_ns)
        if end_ns - begin_ns >= left_ns:
            return end_ns - left_ns
        left_ns -= end_ns - begin_ns
    return begin_ns


def between(clock: Clock, from_ns: int, to_ns: int) -> int:
    """Return how much service time passes from one moment to a later one; never negative."""
    if clock.calendar is None:
        return max(0, to_ns - from_ns)
    total_ns = 0
    for opens_ns, closes_ns in _spans(clock.calendar, clock.zone, from_ns, 1):
        if opens_ns >= to_ns:
            break
        total_ns += max(0, min(closes_ns, to_ns) - max(opens_ns, from_ns))
    return total_ns


def _spans(calendar: Calendar, zone: str, at_ns: int, way: int) -> Iterator[tuple[int, int]]:
    """Yield when it is open, from around ``at_ns`` onwards (1) or backwards (-1)."""
    place = ZoneInfo(zone)
    today = dt.datetime.fromtimestamp(at_ns // NS, place).date()
    closed = frozenset(calendar.holidays)
    for i in range(-1, REACH_DAYS):
        day = today + dt.timedelta(days=i * way)
        if day not in closed:
            yield from _day(calendar, place, day)[::way]


def _day(calendar: Calendar, place: ZoneInfo, day: dt.date) -> list[tuple[int, int]]:
    """Return the openings of a day, from its first midnight to the next one's first."""
    found: list[tuple[int, int]] = []
    midnight_ns = _moment(place, day + dt.timedelta(days=1), 0, last=False)
    end_ns = _moment(place, day, 0, last=False)
    for opens, closes in map(_minutes, _openings(calendar, DAYS[day.weekday()])):
        begin_ns = max(end_ns, _moment(place, day, opens, last=False))
        end_ns = min(midnight_ns, _moment(place, day, closes, last=True))
        if end_ns > begin_ns:
            found.append((begin_ns, end_ns))
    return found


def _moment(place: ZoneInfo, day: dt.date, minutes: int, *, last: bool) -> int:
    """Return when a wall clock shows a time: the first or last time that it does so.

    A time that is left out when the clocks go forward is the moment of the change.
    """
    wall = dt.datetime.combine(day, dt.time(), place) + dt.timedelta(minutes=minutes)
    first, second = (int(wall.replace(fold=fold).timestamp()) for fold in (0, 1))
    if second < first:
        return _change(place, second, first) * NS
    return (second if last else first) * NS


def _change(place: ZoneInfo, before_s: int, after_s: int) -> int:
    """Return the second at which the clocks change between two."""
    old = dt.datetime.fromtimestamp(before_s, place).utcoffset()
    while after_s - before_s > 1:
        middle_s = (before_s + after_s) // 2
        if dt.datetime.fromtimestamp(middle_s, place).utcoffset() == old:
            before_s = middle_s
        else:
            after_s = middle_s
    return after_s


def _openings(calendar: Calendar, day: str) -> list[str]:
    found: list[str] = getattr(calendar, day)
    return found


def _minutes(text: str) -> tuple[int, int]:
    opens, closes = text.split("-")
    return _since_midnight(opens), _since_midnight(closes)


def _since_midnight(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)
