"""Many machines watched in batches: the same answers as one by one."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract.errors import Malformed
from contract.machines import CheckKind, MachineType, Role, Signal
from contract.telemetry import Quality
from models import bare_kernel
from models.bare import Bare
from models.checks_kernel import SAME_LIMIT
from models.monitor import State
from models.settings import Settings
from models.watchers import Watchers
from tests.models.plain_checks import PlainChecks

Floats = NDArray[np.float64]
Marks = NDArray[np.uint8]
Answers = tuple[Floats, Marks]
Rows = tuple[NDArray[np.int64], Floats, Marks]
NAMES = ["flow", "pressure", "current"]
SETTINGS = Settings(commissioning_s=200, commissioning_samples=200, stuck_s=20)
STATES = tuple(State)
SECOND = 10**9
LENGTH = 700


def rig(names: list[str] = NAMES, *, driver: bool = False) -> MachineType:
    signals = [
        Signal(name=n, title=n, unit="", range=(-50.0 + 10 * i, 60.0 + 10 * i))
        for i, n in enumerate(names)
    ]
    info = Signal(name="hours", title="H", unit="h", range=(0, 1e6), role=Role.INFO)
    if driver:
        signals.append(Signal(name="load", title="L", unit="", range=(-100, 100), role=Role.DRIVER))
    return MachineType(name="rig", title="Rig", poll_interval_s=1, signals=[info, *signals])


def healthy(count: int, seed: int = 1, width: int = 4) -> Floats:
    """Rows of a rig: the counter, then signals that move together."""
    draw = np.random.default_rng(seed)
    common = np.sin(np.arange(count) / 9)[:, None] + draw.normal(size=(count, 1))
    x = common + 0.3 * draw.normal(size=(count, width)) + 10 * np.arange(width)
    x[:, 0] = np.arange(count) / 3600
    return np.round(x, 2)


def troubled(seed: int, count: int = LENGTH, width: int = 4) -> Rows:
    """Rows with everything that can be wrong with them, but none late."""
    draw = np.random.default_rng(seed)
    x, q = healthy(count, seed, width), np.zeros((count, width), np.uint8)
    for _ in range(18):
        j, what = draw.integers(1, width), draw.integers(0, 9)
        i, rows = int(draw.integers(0, count)), int(draw.integers(1, 60))
        at = slice(i, min(count, i + (rows if i > 200 else 4)))
        if what <= 2:
            q[at, j] = [Quality.UNCERTAIN, Quality.BAD, Quality.MISSING][what]
            x[at, j] = x[at, j] if what == 0 else np.nan
        elif what <= 4:
            x[at, j if what == 3 else slice(None)] = x[i, j if what == 3 else slice(None)]
        elif what == 5:
            x[at, j] += 5
        elif what == 6:
            x[at, j] = 999.0
        elif what == 7 and i > 300:
            x[at], q[at] = x[i - 90 : i - 90 + len(x[at])], 0
        elif what == 8:
            x[at, j] += 25.0 * (np.arange(len(x[at])) % 7 == 3)
    times = np.cumsum(np.where(draw.random(count) < 0.02, 30, 1)) * SECOND
    return times, x, q


def feed(w: Watchers, m: int, x: Floats, start: int = 0) -> Answers:
    times = (1 + start + np.arange(len(x))) * SECOND
    return w.update(np.full(len(x), m), times, x, np.zeros(x.shape, np.uint8))


def same(one: Answers, other: Answers) -> bool:
    return np.array_equal(one[0], other[0], equal_nan=True) and np.array_equal(one[1], other[1])


def test_the_compiled_parts_know_the_states_and_marks_by_their_numbers() -> None:
    kernel = bare_kernel
    states = [kernel.COMMISSIONING, kernel.HEALTHY, kernel.ALARM, kernel.UNJUDGED]
    assert [STATES[i].name for i in states] == ["COMMISSIONING", "HEALTHY", "ALARM", "UNJUDGED"]
    assert (kernel.GOOD, kernel.BROKEN) == (Quality.GOOD, Quality.BAD)


@pytest.mark.parametrize("driver", [False, True])
def test_machines_go_their_own_way_from_commissioning_to_alarm(driver: bool) -> None:
    x = healthy(600, width=4 + driver)
    x[400:, 2] += 6
    w = Watchers(rig(driver=driver), 3, SETTINGS)
    score, state = feed(w, 1, x)
    assert np.isnan(score[:199]).all()
    assert {STATES[s] for s in state[:199]} == {State.COMMISSIONING}
    assert driver or (STATES[state[199]], np.isnan(score[199])) == (State.UNJUDGED, True)
    assert {STATES[s] for s in state[450:]} == {State.ALARM}
    assert score[450:].min() > 1
    found = w.assessment(1)
    assert (found.state, found.score) == (State.ALARM, score[-1])
    assert found.deviations[0].signal == "pressure"
    assert found.deviations[0].value == x[-1, 2]
    assert w.progress().tolist() == [0, 1, 0]
    w.recommission(1)
    assert w.progress().tolist() == [0, 0, 0]


@pytest.mark.parametrize("driver", [False, True])
def test_batches_of_many_machines_are_answered_as_rows_one_by_one(driver: bool) -> None:
    machines, width = 5, 4 + driver
    rows = [troubled(seed, width=width) for seed in range(machines)]
    draw = np.random.default_rng(0)
    which = draw.permutation(np.repeat(np.arange(machines), LENGTH))
    place = np.array([np.count_nonzero(which[:i] == m) for i, m in enumerate(which)])
    times, x, q = (
        np.array([rows[m][k][i] for m, i in zip(which, place, strict=True)]) for k in range(3)
    )
    w = Watchers(rig(driver=driver), machines, SETTINGS)
    cuts = [0, 1, 900, *range(1000, len(which), 173), len(which)]
    parts = [w.update(which[a:b], times[a:b], x[a:b], q[a:b]) for a, b in pairwise(cuts)]
    score, state = (np.concatenate(part) for part in zip(*parts, strict=True))
    seen = set()
    for m, (t, values, marks) in enumerate(rows):
        alone = Watchers(rig(driver=driver), 1, SETTINGS)
        for i, at in enumerate(np.flatnonzero(which == m)):
            row = slice(i, i + 1)
            found = alone.update(np.zeros(1, np.int64), t[row], values[row], marks[row])
            assert same(found, (score[at : at + 1], state[at : at + 1]))
            told = alone.assessment(0)
            assert told.time_ns == t[i]
            assert told.state == STATES[state[at]]
            assert told.score == (None if np.isnan(score[at]) else score[at])
            seen |= {c.kind for c in told.checks}
        assert w.assessment(m) == told
    assert seen >= {CheckKind.RANGE, CheckKind.LOOSE, CheckKind.STALE}
    assert {STATES[s] for s in state} >= {State.COMMISSIONING, State.HEALTHY, State.ALARM}


@pytest.mark.parametrize("seed", range(6))
def test_the_checks_are_what_plain_search_finds(seed: int) -> None:
    times, x, q = troubled(seed, 1500)
    w, signals = Watchers(rig(), 1, SETTINGS), rig().signals[1:]
    plain = PlainChecks([s.range for s in signals], SETTINGS)
    for i in range(len(x)):
        before = w.progress()[0] < 1
        w.update(np.zeros(1, np.int64), times[i : i + 1], x[i : i + 1], q[i : i + 1])
        fails = plain.row(int(times[i]), x[i, 1:].tolist(), q[i, 1:].tolist(), observed=before)
        if before and w.progress()[0] == 1:
            plain.commission()
            assert isinstance(w._all, Bare)
            checks = w._all._checks
            assert checks.limit.tolist() == [one.limit for one in plain.signals]
            assert checks.repeats_[0, SAME_LIMIT] == plain.limit
        found = w.assessment(0).checks
        assert fails == bool(found)
        assert plain.stale == any(
            "readings before" in c.detail or "new times" in c.detail for c in found
        )
        blamed = {c.signal: c.kind for c in found if c.kind is not CheckKind.STALE}
        for s, one in zip(signals, plain.signals, strict=True):
            kind = CheckKind.RANGE if one.outside else CheckKind.LOOSE if one.loose else None
            kind = CheckKind.STUCK if one.stuck and not one.outside else kind
            if not (one.stuck and any(c.kind is CheckKind.STALE for c in found)):
                assert blamed.get(s.name) is kind


@pytest.mark.parametrize("driver", [False, True])
def test_late_and_doubled_rows_are_not_judged_and_change_nothing(driver: bool) -> None:
    x = healthy(500, width=4 + driver)
    x[400:, 2] += 6
    clean = Watchers(rig(driver=driver), 1, SETTINGS)
    noisy = Watchers(rig(driver=driver), 1, SETTINGS)
    expected = feed(clean, 0, x)
    place = np.repeat(np.arange(500), 2)
    place[1::2] = np.maximum(place[1::2] - np.arange(500) % 7, 0)
    marks = np.zeros((1000, x.shape[1]), np.uint8)
    score, state = noisy.update(np.zeros(1000, np.int64), (1 + place) * SECOND, x[place], marks)
    assert same((score[::2], state[::2]), expected)
    assert np.isnan(score[1::2]).all()
    assert {STATES[s] for s in state[1:380:2]} == {State.COMMISSIONING}
    assert {STATES[s] for s in state[401::2]} == {State.UNJUDGED}
    assert noisy.assessment(0).deviations == []


@pytest.mark.parametrize("driver", [False, True])
@pytest.mark.parametrize("cut", [100, 300, 450])
def test_a_machine_goes_on_exactly_where_it_was_saved_or_copied_to(driver: bool, cut: int) -> None:
    times, x, q = troubled(3, 600, 4 + driver)
    w, other = Watchers(rig(driver=driver), 2, SETTINGS), Watchers(rig(driver=driver), 3, SETTINGS)
    w.update(np.full(cut, 1), times[:cut], x[:cut], q[:cut])
    other.restore(2, w.save(1))
    w.copy(1, other, 0)
    assert other.progress().tolist() == [w.progress()[1], 0, w.progress()[1]]
    expected = w.update(np.full(600 - cut, 1), times[cut:], x[cut:], q[cut:])
    for m in (2, 0):
        got = other.update(np.full(600 - cut, m), times[cut:], x[cut:], q[cut:])
        assert same(got, expected)
        assert other.assessment(m) == w.assessment(1)
        assert other.save(m) == w.save(1)


@pytest.mark.parametrize("driver", [False, True])
def test_what_does_not_fit_is_refused_and_changes_nothing(driver: bool) -> None:
    w = Watchers(rig(driver=driver), 2, SETTINGS)
    feed(w, 1, healthy(250, width=4 + driver))
    saved, before = w.save(1), w.save(0)
    for machine, how in [
        (rig(["a", "b", "c"], driver=driver), SETTINGS),
        (rig(driver=not driver), SETTINGS),
        (rig(driver=driver), Settings()),
    ]:
        with pytest.raises(Malformed, match="commission"):
            Watchers(machine, 1, how).restore(0, saved)
    for damaged in (b"", saved[:-9], saved[:900] + b"\x00\x01" + saved[902:]):
        with pytest.raises(Malformed):
            w.restore(0, damaged)
    assert w.save(0) == before
    w.restore(0, saved)
    assert w.save(0) == saved


@pytest.mark.parametrize("driver", [False, True])
def test_arrays_that_do_not_fit_are_an_error_of_the_program(driver: bool) -> None:
    w, k = Watchers(rig(driver=driver), 2, SETTINGS), 4 + driver
    one, times = np.zeros(1, np.int64), np.ones(1, np.int64)
    row, mark = np.zeros((1, k)), np.zeros((1, k), np.uint8)
    for which, when, values, quality in [
        (one, times, row[:, 1:], mark),
        (one, times, row, mark[:, 1:]),
        (one, np.ones(2, np.int64), row, mark),
        (np.zeros(2, np.int64), times, row, mark),
        (one + 2, times, row, mark),
        (one - 1, times, row, mark),
    ]:
        with pytest.raises(ValueError, match=r"rows|need|numbered"):
            w.update(which, when, values, quality)
    none = np.zeros(0, np.int64)
    score, state = w.update(none, none, np.zeros((0, k)), np.zeros((0, k), np.uint8))
    assert len(score) == len(state) == 0


WILD = st.floats(width=64) | st.sampled_from([0.0, 1.0, np.nan, np.inf, -np.inf, 1e308, 5e-324])


@given(
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), WILD, WILD, WILD, WILD, st.integers(0, 255)),
        max_size=60,
    ),
    st.booleans(),
)
@settings(max_examples=40)
def test_no_row_breaks_a_watch(rows: list[tuple[float, ...]], trained: bool) -> None:
    w = Watchers(rig(), 1, Settings(commissioning_s=40, commissioning_samples=40))
    if trained:
        feed(w, 0, healthy(60))
    n = len(rows)
    times = np.array([row[0] for row in rows], np.int64)
    x = np.array([row[1:5] for row in rows], np.float64).reshape(n, 4)
    q = np.array([row[5] for row in rows], np.uint8).repeat(4).reshape(n, 4)
    score, state = w.update(np.zeros(n, np.int64), times, x, q)
    assert not np.isinf(score).any()
    assert set(state) <= {0, 1, 2, 3}
    told = w.assessment(0)
    assert told.state == (STATES[state[-1]] if n else told.state)


@pytest.mark.parametrize("names", [["flow"], NAMES])
def test_a_lone_signal_is_watched_saved_and_restored(names: list[str]) -> None:
    """Alone in the type, or the only one that moves."""
    x = healthy(600, width=2)[:, [0, 1]]
    x[500, 1] += 50
    x = np.column_stack([x, *[np.full(600, 12.0)] * (len(names) - 1)])
    w, other = Watchers(rig(names), 2, SETTINGS), Watchers(rig(names), 3, SETTINGS)
    first = feed(w, 1, x[:300])
    assert {STATES[s] for s in first[1][:199]} == {State.COMMISSIONING}
    w.copy(1, other, 2)
    expected = feed(w, 1, x[300:], 300)
    assert same(feed(other, 2, x[300:], 300), expected)
    assert STATES[expected[1][200]] is State.ALARM
    w.recommission(1)
    assert w.progress().tolist() == [0, 0]
