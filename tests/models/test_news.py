"""A lone signal's news: found when it is new, quiet when it is not, and never a crash."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models import news

Floats = NDArray[np.float64]
Change = Callable[[Floats], Floats]
WARMUP = 600
DAY = 288  # rows of five minutes
AT = 3000


def minutes(rows: int) -> Floats:
    return np.arange(0.0, 300.0 * rows, 300.0)


def run(
    value: Floats,
    time_s: Floats | None = None,
    warmup: int = WARMUP,
    state: news.News | None = None,
) -> Floats:
    """Score and alarm of every row of one signal."""
    at = minutes(len(value)) if time_s is None else time_s
    state = news.empty(1) if state is None else state
    machine = np.zeros(len(value), np.int64)
    score, alarm = news.step_many(state, machine, at, np.asarray(value, float), warmup)
    return np.column_stack([score, alarm])


def alarms(value: Floats) -> list[int]:
    return [int(i) for i in np.flatnonzero(run(value)[:, 1])]


def daily(days: int, seed: int = 0) -> Floats:
    """A machine busy from eight to six, with noise."""
    row = np.arange(days * DAY)
    busy = (row % DAY > DAY / 3) & (row % DAY < 3 * DAY / 4)
    noise: Floats = np.random.default_rng(seed).normal(size=len(row))
    return 20.0 + 50.0 * busy + 2.0 * noise


def noise(rows: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(50.0, 2.0, rows)


CHANGES: dict[str, Change] = {
    "step": lambda x: x + 15.0 * (np.arange(len(x)) >= AT),
    "spike": lambda x: x + 30.0 * (np.arange(len(x)) == AT),
    "louder": lambda x: np.where(np.arange(len(x)) >= AT, 50.0 + 4.0 * (x - 50.0), x),
    "silence": lambda x: np.where(np.arange(len(x)) >= AT, 50.0, x),
}


@pytest.mark.parametrize("what", CHANGES)
def test_news_in_noise_is_found_within_two_hours(what: str) -> None:
    """In four of five signals; the fifth may just have had an alarm by chance."""
    found = 0
    for seed in range(20):
        rows = alarms(CHANGES[what](noise(4000, seed)))
        found += any(AT <= i < AT + 24 for i in rows)
    assert found >= 16


@pytest.mark.parametrize("seed", range(3))
def test_a_lost_day_cycle_is_found_that_day(seed: int) -> None:
    """Every value was seen a thousand times; only the time of day makes it news."""
    value = daily(14, seed)
    day_off = slice(10 * DAY, 11 * DAY)
    value[day_off] = 20.0 + 2.0 * np.random.default_rng(seed + 100).normal(size=DAY)
    assert any(10 * DAY <= i < 11 * DAY for i in alarms(value))


def test_what_stays_becomes_normal() -> None:
    """A step is news once, and so is the step back; not every row in between."""
    value = noise(4000)
    value[2000:] += 15.0
    assert 1 <= sum(2000 <= i < 4000 for i in alarms(value)) <= 4


@given(
    st.lists(st.floats(width=64) | st.sampled_from([0.0, 1.0, 1.0, -1e308, 1e-308]), max_size=60),
    st.lists(st.floats(width=64), min_size=60, max_size=60),
    st.integers(0, 40),
)
def test_no_row_breaks_it(values: list[float], times: list[float], warmup: int) -> None:
    """NaN, infinities, giants, time standing or running backwards: always a defined answer."""
    out = run(np.array(values), np.array(times[: len(values)]), warmup)
    assert np.isfinite(out).all()
    assert (out[:, 0] >= 0).all()
    assert not out[:warmup].any()
    assert (out[:, 1] == (out[:, 0] >= 1)).all()


@pytest.mark.parametrize("missing", [math.nan, math.inf, -1e200])
def test_missing_rows_change_nothing(missing: float) -> None:
    value, places = noise(2000), range(100, 1900, 9)
    gappy = np.insert(value, places, missing)
    out = run(gappy, np.insert(minutes(2000), places, math.nan))
    there = np.abs(gappy) < 1e100
    assert not out[~there].any()
    assert np.array_equal(out[there], run(value))


@pytest.mark.parametrize("value", [0.0, 7.3, -1e99])
def test_a_constant_signal_is_no_news(value: float) -> None:
    assert not run(np.full(3000, value))[:, 0].any()


def test_a_constant_signal_that_moves_at_last_is_news() -> None:
    value = np.full(3000, 7.3)
    value[2000] = 7.4
    assert 2000 in alarms(value)


def test_units_do_not_matter() -> None:
    """Exactly, where the change of unit is exact in floating point."""
    value = daily(12)
    value[9 * DAY] += 60.0
    assert np.array_equal(run(value), run(1024.0 * value))
    assert np.array_equal(run(value), run(value / 4096.0))


@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (-8.0, 0.0), (1.8, 32.0), (1.0, 1e5)])
def test_offsets_and_signs_matter_no_more_than_rounding(scale: float, shift: float) -> None:
    """Rounding decides which of two neighbours is remembered, no more."""
    value = daily(12)
    value[9 * DAY] += 60.0
    one, other = run(value), run(scale * value + shift)
    assert np.mean(np.abs(one[:, 0] - other[:, 0])) < 0.05
    assert one[9 * DAY, 1] == other[9 * DAY, 1] == 1


def test_a_copy_of_the_arrays_goes_on_exactly() -> None:
    value, at, state = daily(10), minutes(10 * DAY), news.empty(1)
    run(value[:1500], at[:1500], state=state)
    saved = news.News(**{k: a.copy() for k, a in state._asdict().items()})
    rest = run(value[1500:], at[1500:], state=state)
    assert np.array_equal(rest, run(value[1500:], at[1500:], state=saved))
    for a, b in zip(state, saved, strict=True):
        assert np.array_equal(a, b, equal_nan=a.dtype == float)


@given(st.lists(st.booleans(), min_size=300, max_size=300))
def test_machines_do_not_influence_each_other(order: list[bool]) -> None:
    """Whatever the interleaving, row by row or many at once, each answers as if it were alone."""
    signals = (noise(300, 1), np.cumsum(noise(300, 2) - 50.0))
    machine = np.where(order, 2, 0)
    row = np.where(order, np.cumsum(order), np.cumsum(~np.array(order))) - 1
    value = np.where(order, signals[1][row], signals[0][row])
    state = news.empty(3)
    score, alarm = news.step_many(state, machine, 300.0 * row, value, 60)
    single, steps = news.empty(3), []
    for m, i, x in zip(machine, row, value, strict=True):
        steps.append(news.step(single, m, 300.0 * i, x, 60))
    assert [tuple(s) for s in steps] == list(zip(score, alarm, strict=True))
    for second in (0, 1):
        mine = machine == 2 * second
        alone = run(signals[second], warmup=60)[: mine.sum()]
        assert np.array_equal(np.stack([score[mine], alarm[mine]], axis=1), alone)
    assert state.rows[1] == 0


CHANCE: dict[str, tuple[Callable[[np.random.Generator], Floats], float, float]] = {
    "normal": (lambda r: r.normal(size=4000), 0.6, 2.0),
    "heavy tails": (lambda r: r.standard_t(3, 4000), 2.0, 6.0),
    "skewed": (lambda r: np.exp(1.5 * r.normal(size=4000)), 2.0, 6.0),
    "counts": (lambda r: r.poisson(2.0, 4000).astype(float), 0.3, 2.0),
}


@pytest.mark.parametrize("kind", CHANCE)
def test_chance_alarms_come_with_the_growth_of_history(kind: str) -> None:
    """As documented: so many per 2.7-fold history of noise in which nothing ever happens."""
    make, least, most = CHANCE[kind]
    per_stream = np.mean([len(alarms(make(np.random.default_rng(seed)))) for seed in range(20)])
    assert least <= per_stream / math.log(4000 / WARMUP) <= most


def test_a_day_of_seconds_has_few_alarms() -> None:
    """Slow swings, a day cycle and noise: three days of one row a second."""
    at = np.arange(3 * 86_400.0)
    draws = np.random.default_rng(3).normal(size=(2, len(at)))
    slow = np.cumsum(draws[0])
    slow = (slow - np.linspace(0.0, slow[-1], len(slow))) / 300.0
    value = 3.0 * np.sin(2.0 * np.pi * at / 86_400.0) + slow + 0.3 * draws[1]
    assert run(value, at, warmup=3600)[:, 1].sum() <= 12


def test_memory_is_constant_and_small() -> None:
    size = sum(a.nbytes for a in news.empty(10)) / 10
    assert size <= 64 * 1024
