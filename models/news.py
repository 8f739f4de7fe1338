"""News: what a lone signal has never done before.

A signal with nothing to be checked against cannot show that a fault lasts: whatever stays becomes
its normal. It can show that something is *new*. So a handful of numbers is derived from it (value,
change, levels, deviation from the time of day and of the week, span, roughness), each is compared
with all that it ever was, and the gap to the nearest of them is its oddness. A conformal rank among
all earlier gaps (Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005) makes
gaps of different numbers and signals comparable; evidence of several numbers adds up. What was seen
once is remembered and no news again, and soon after an alarm only bigger news is one.

Strictly online, constant memory and time per row, one setting for all signals.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.sketch import BINS, LEADERS, Floats, insert, nearest, rank

NUMBERS = 11
"""Value, change, 2 levels, 3 by time of day, 2 by time of week, span, roughness."""
_ROUGHNESS = 10
"""The only number that is not in the unit of the signal."""

_DAY_S, _WEEK_S = 86_400.0, 604_800.0
_DAY_SLOTS, _WEEK_SLOTS = 48, 168
"""Half an hour of the day, an hour of the week: a few rows each in what machines usually report."""
_DAY_GAIN, _WEEK_GAIN, _GAIN_S = 0.1, 0.3, 300.0
"""Share by which a slot follows a row, less for rows that follow each other within five minutes:
a visit of half an hour moves its slot half way, whatever the sampling."""
_SHORT_ROWS, _ROUGH_ROWS, _LONG_ROWS = 12, 24, 100
"""Spans that are averaged over: an hour, two and eight of five-minute rows."""
_DELAY_ROWS = _SHORT_ROWS
"""A number is compared with what it was so many rows ago and before: one that leaves slowly is seen
as far as it has come, not as far as its last step went."""
_STILL = 1e-6
"""Steps below a thousandth of the spread are as good as none."""
_SPREADS = 5.0
"""A gap counts relative to this many spreads plus its distance from the centre: far out values are
seldom, and a gap between two of them is no news."""
_LEAST_SPREAD = 0.01
"""The spread of a number counts as at least this share of the signal's: less is no matter."""
_WINSOR = 20.0
"""A single value moves the spread by no more than one so many spreads away."""
_BEYOND = 2.0
"""Decades. A rank cannot tell a gap just wider than all others from one a hundred times as wide;
even in a tail too heavy for a mean (Pareto's law, exponent 1) that is a hundred times as rare."""
_LEAST_ROWS = 30
"""Below so many earlier gaps a rank says nothing."""
_USUAL_ROWS = 1000.0
_SCARCITY = 0.7
"""Evidence is -log10 of p (rows / 1000)^0.7. The exponent 0 would mean so many alarms per row, 1 so
many per tenfold history, whatever the sampling; rows that hang together make the truth lie between.
From 0.5 to 0.8 it does not matter. A short history at most doubles evidence."""
_LEVEL = 1.0
"""Mean squared evidence that is an alarm: as if all numbers were at one in ten, or one alone at one
in 2,000. It is reached by chance 1.2 to 1.4 times whenever the history of a normal signal grows
2.7-fold (of a heavy-tailed one 4 to 5 times), however fast it is sampled."""
_SAME_SHARE = 0.1
"""News within a tenth of the history belong to the same event, unless they are much bigger ..."""
_SAME_S = _WEEK_S
"""... but what happens a week later is another event, however long the history."""
_GREATEST = 1e100
"""Beyond it a value is a broken word of the wire, and is taken as missing."""


class News(NamedTuple):
    """State of many lone signals, first axis = machine; copy the arrays and it is saved."""

    rows: NDArray[np.int64]
    time_s: Floats
    last: Floats
    level: Floats
    slow: Floats
    roughness: Floats
    strength: Floats
    day_smooth: Floats
    week_smooth: Floats
    day: Floats
    week: Floats
    ring: Floats
    recent: Floats
    centre: Floats
    spread: Floats
    judged: NDArray[np.int64]
    leaders: Floats
    used: NDArray[np.int64]
    radius: Floats
    widest: Floats
    counts: Floats
    alarm_row: NDArray[np.int64]
    alarm_s: Floats
    alarm_strength: Floats


def empty(machines: int) -> News:
    """Return the state of so many signals of which nothing was seen yet."""
    one, each = (machines,), (machines, NUMBERS)
    return News(
        rows=np.zeros(one, np.int64),
        time_s=np.zeros(one),
        last=np.zeros(one),
        level=np.zeros(one),
        slow=np.zeros(one),
        roughness=np.zeros(one),
        strength=np.zeros(one),
        day_smooth=np.zeros(one),
        week_smooth=np.zeros(one),
        day=np.full((machines, _DAY_SLOTS), np.nan),
        week=np.full((machines, _WEEK_SLOTS), np.nan),
        ring=np.zeros((machines, _LONG_ROWS)),
        recent=np.full((machines, _DELAY_ROWS, NUMBERS), np.nan),
        centre=np.zeros(each),
        spread=np.zeros(each),
        judged=np.zeros(each, np.int64),
        leaders=np.zeros((*each, LEADERS)),
        used=np.zeros(each, np.int64),
        radius=np.zeros(each),
        widest=np.zeros(each),
        counts=np.zeros((*each, BINS)),
        alarm_row=np.full(one, -1, np.int64),
        alarm_s=np.zeros(one),
        alarm_strength=np.zeros(one),
    )


@njit(cache=True)
def step(news: News, m: int, time_s: float, value: float, warmup: int) -> tuple[float, bool]:
    """Judge one row of machine `m`, then learn it.

    Args:
        news: all states; changed in place.
        m: number of the machine.
        time_s: event time in seconds; only the time of day and of the week count, so it may stand,
            leap or run backwards. If it is not finite, the last one holds.
        value: the signal; NaN and infinite are missing.
        warmup: rows that are learned from before any is judged.

    Returns:
        score: from 1 on an alarm and its strength; below 1 the newest of late, fading.
        alarm: whether this row is news. Momentary: a lone signal cannot show that a fault lasts.
    """
    since_s = 0.0
    if math.isfinite(time_s):
        since_s = time_s - news.time_s[m] if news.rows[m] > 0 else 0.0
        news.time_s[m] = time_s
    if not abs(value) <= _GREATEST:
        return 0.0, False
    n = news.rows[m]
    now = _derive(news, m, value, min(max(since_s / _GAIN_S, 0.0), 1.0))
    strength = _surprise(
        now, news.recent[m, n % _DELAY_ROWS], news.judged[m], news.centre[m], news.spread[m],
        news.leaders[m], news.used[m], news.radius[m], news.widest[m], news.counts[m],
    )  # fmt: skip
    news.rows[m] = n + 1
    if n < warmup:
        return 0.0, False
    return _event(news, m, n, strength)


@njit(cache=True)
def step_many(
    news: News, machine: NDArray[np.int64], time_s: Floats, value: Floats, warmup: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Judge and learn rows of any machines in their order, each as `step` does."""
    score, alarm = np.zeros(len(value)), np.zeros(len(value), np.bool_)
    for i in range(len(value)):
        score[i], alarm[i] = step(news, machine[i], time_s[i], value[i], warmup)
    return score, alarm


@njit(cache=True)
def _derive(news: News, m: int, value: float, follow: float) -> Floats:
    """Return the numbers that are watched, and update what they are made of."""
    n, now = news.rows[m], np.zeros(NUMBERS)
    if n == 0:
        news.last[m] = news.level[m] = news.slow[m] = value
    change = value - news.last[m]
    news.level[m] += (value - news.level[m]) / min(n + 1.0, _SHORT_ROWS)
    news.slow[m] += (value - news.slow[m]) / min(n + 1.0, _LONG_ROWS)
    now[0], now[1], now[2], now[3] = value, change, news.level[m], news.slow[m]
    _by_time(news, m, value, follow, now)
    ring = news.ring[m]
    ring[n % _LONG_ROWS] = value
    seen = ring[: min(n + 1, _LONG_ROWS)]
    now[9] = seen.max() - seen.min()
    now[_ROUGHNESS] = np.nan
    if news.spread[m, 0] > 0.0:
        roughness = math.log(_STILL + (change / news.spread[m, 0]) ** 2)
        news.roughness[m] += (roughness - news.roughness[m]) / min(n + 0.0, _ROUGH_ROWS)
        if n >= _ROUGH_ROWS:  # the first few say little, and would make silence an old friend
            now[_ROUGHNESS] = news.roughness[m]
    news.last[m] = value
    return now


@njit(cache=True)
def _by_time(news: News, m: int, value: float, follow: float, now: Floats) -> None:
    """Fill in the deviations from this time of day and of the week; NaN before it ever was."""
    day, week = news.day[m], news.week[m]
    k = int(news.time_s[m] % _DAY_S / _DAY_S * _DAY_SLOTS) % _DAY_SLOTS
    h = int(news.time_s[m] % _WEEK_S / _WEEK_S * _WEEK_SLOTS) % _WEEK_SLOTS
    now[4:9] = np.nan
    if math.isnan(day[k]):
        day[k] = value
    else:
        off = near = value - day[k]
        for i in (k - 1, k + 1):  # what happens daily is not on time to the minute
            beside = value - day[i % _DAY_SLOTS]
            if abs(beside) < abs(near):
                near = beside
        news.day_smooth[m] += (off - news.day_smooth[m]) / _SHORT_ROWS
        now[4], now[5], now[6] = off, near, news.day_smooth[m]
        day[k] += _DAY_GAIN * follow * off
    if math.isnan(week[h]):
        week[h] = value
    else:
        off = value - week[h]
        news.week_smooth[m] += (off - news.week_smooth[m]) / _SHORT_ROWS
        now[7], now[8] = off, news.week_smooth[m]
        week[h] += _WEEK_GAIN * follow * off


@njit(cache=True)
def _surprise(  # noqa: PLR0917  # jitted: arrays one by one
    now: Floats, recent: Floats, judged: NDArray[np.int64], centre: Floats, spread: Floats,
    leaders: Floats, used: NDArray[np.int64], radius: Floats, widest: Floats, counts: Floats,
) -> float:  # fmt: skip
    """Return the mean squared evidence of all numbers that they are new, and learn them."""
    total, least = 0.0, _LEAST_SPREAD * spread[0]
    scarcity = _SCARCITY * math.log10(max(judged[0], 1) / _USUAL_ROWS)
    for j in range(NUMBERS):
        value, old = now[j], recent[j]
        recent[j] = value
        if not math.isnan(old):
            gap, place = nearest(leaders[j], used[j], old)
            if used[j] > 0:
                widest[j] = max(widest[j], gap)
            if gap > radius[j]:
                used[j], radius[j] = insert(leaders[j], used[j], radius[j], old, place)
        if math.isnan(value):
            continue
        gap, _ = nearest(leaders[j], used[j], value) if used[j] > 0 else (0.0, 0)
        n, beyond, oddness = judged[j], 0.0, 0.0
        if n == 0:
            centre[j] = value
        away = abs(value - centre[j])
        wide = spread[j] if j == _ROUGHNESS else max(spread[j], least)
        if wide > 0.0:
            oddness = gap / (_SPREADS * wide + away)
        larger = rank(counts[j], oddness)
        if gap > widest[j]:
            beyond = _BEYOND if gap > 10.0**_BEYOND * widest[j] else math.log10(gap / widest[j])
        bounded = min(away, _WINSOR * spread[j]) if spread[j] > 0.0 else away
        centre[j] += (value - centre[j]) / (n + 1.0)
        spread[j] += (bounded - spread[j]) / (n + 1.0)
        judged[j] = n + 1
        if n >= _LEAST_ROWS:
            rarity = math.log10((n + 1.0) / (larger + 1.0)) + beyond
            total += max(0.0, rarity - max(scarcity, -rarity)) ** 2
    return total / NUMBERS


@njit(cache=True)
def _event(news: News, m: int, n: int, strength: float) -> tuple[float, bool]:
    """Decide whether it is an event of its own; just after an alarm it must be much stronger."""
    bar = _LEVEL
    if news.alarm_row[m] >= 0:
        rows, seconds = n - news.alarm_row[m], news.time_s[m] - news.alarm_s[m]
        age = max(rows / (_SAME_SHARE * n), seconds / _SAME_S)
        bar += (news.alarm_strength[m] + _LEVEL) * max(0.0, 1.0 - age)
    news.strength[m] = max(strength, news.strength[m] * (1.0 - 1.0 / _LONG_ROWS))
    if strength <= bar:
        return news.strength[m] / (news.strength[m] + _LEVEL), False
    news.alarm_row[m], news.alarm_s[m], news.alarm_strength[m] = n, news.time_s[m], strength
    return strength / _LEVEL, True
