"""Many machines at once: faults found, machines kept apart, all input defined and bounded."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract.errors import Malformed
from models import artefact, news
from models.clocks import BACKWARDS_ROWS
from models.fleet import MAX_WARMUP, Fleet

Floats = NDArray[np.float64]
NAMES = ["load", "current", "temperature"]
WARMUP = 600
SECOND = 10**9


def plant(rows: int, seed: int = 0) -> Floats:
    """A load that wanders, and what a current and a winding make of it."""
    draw = np.random.default_rng(seed)
    load = np.zeros(rows)
    for i in range(1, rows):
        load[i] = 0.95 * load[i - 1] + draw.normal()
    current = 2.0 * load + 0.5 * draw.normal(size=rows)
    temperature = 60.0 + 0.4 * load + 0.2 * draw.normal(size=rows)
    return np.column_stack([load, current, temperature])


def broken(rows: int, at: int, until: int | None = None, seed: int = 0) -> Floats:
    """The same with a winding that runs two degrees hot, which is within its usual range."""
    x = plant(rows, seed)
    x[at:until, 2] += 2.0
    return x


def run(
    fleet: Fleet, x: Floats, m: int = 0, times_ns: NDArray[np.int64] | None = None
) -> tuple[Floats, NDArray[np.bool_]]:
    when = np.arange(len(x)) * SECOND if times_ns is None else times_ns
    return fleet.update(np.full(len(x), m), when, x)


def later(fleet: Fleet, start_s: int, x: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    return run(fleet, x, times_ns=(start_s + np.arange(len(x))) * SECOND)


def commissioned(names: list[str] = NAMES, x: Floats | None = None, warmup: int = WARMUP) -> Fleet:
    fleet = Fleet(names, 1, warmup)
    run(fleet, plant(warmup) if x is None else x[:warmup])
    return fleet


def same_state(one: Fleet, other: Fleet) -> bool:
    return one.save() == other.save()


@pytest.mark.parametrize("seed", range(3))
def test_a_fault_alarms_while_it_lasts_and_no_longer(seed: int) -> None:
    score, alarm = run(Fleet(NAMES, 1, WARMUP), broken(2000, 1000, 1400, seed))
    assert not score[:WARMUP].any()
    assert not alarm[:1000].any()
    assert alarm[1010:1400].mean() > 0.95
    assert score[1010:1400].mean() > 1
    assert not alarm[1700:].any()


def test_the_alarm_is_attributed_to_the_signal_that_is_wrong() -> None:
    fleet = Fleet(NAMES, 1, WARMUP)
    x = broken(1100, 1000)
    run(fleet, x)
    first = fleet.attribution(0)[0]
    assert first.signal == "temperature"
    assert first.sigmas > 3
    assert first.expected == pytest.approx(x[-1, 2] - 2.0, abs=1.0)
    assert Fleet(NAMES, 1, WARMUP).attribution(0) == []


@given(st.data())
@settings(max_examples=15)
def test_how_rows_are_batched_and_interleaved_does_not_matter(data: st.DataObject) -> None:
    machines = data.draw(st.integers(1, 4))
    order = np.array(data.draw(st.lists(st.integers(0, machines - 1), min_size=400, max_size=400)))
    cuts = sorted(data.draw(st.sets(st.integers(1, 399), max_size=6)))
    plants = [broken(400, 80, seed=m) for m in range(machines)]
    place = np.array([np.count_nonzero(order[:i] == m) for i, m in enumerate(order)])
    x = np.array([plants[m][i] for m, i in zip(order, place, strict=True)])
    whole, parted = Fleet(NAMES, machines, 60), Fleet(NAMES, machines, 60)
    score, alarm = whole.update(order, place * SECOND, x)
    parts = [
        parted.update(order[i:j], place[i:j] * SECOND, x[i:j])
        for i, j in zip([0, *cuts], [*cuts, 400], strict=True)
    ]
    assert np.array_equal(score, np.concatenate([s for s, _ in parts]))
    assert np.array_equal(alarm, np.concatenate([a for _, a in parts]))
    for m in range(machines):
        alone = run(Fleet(NAMES, 1, 60), plants[m][: np.count_nonzero(order == m)])
        assert np.array_equal(score[order == m], alone[0])
    assert same_state(whole, parted)


WILD = st.floats(width=64) | st.sampled_from([0.0, 1.0, np.nan, np.inf, -np.inf, 1e308, 5e-324])


@given(
    st.lists(st.tuples(WILD, WILD, WILD), max_size=90),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=90, max_size=90),
    st.booleans(),
)
@settings(max_examples=60)
def test_no_row_breaks_a_fleet(
    rows: list[tuple[float, float, float]], times: list[int], trained: bool
) -> None:
    """As commissioning or later: always finite, never negative, never an exception."""
    fleet = commissioned(warmup=60) if trained else Fleet(NAMES, 1, 30)
    x = np.array(rows).reshape(-1, 3)
    score, _ = run(fleet, x, times_ns=np.array(times[: len(x)], np.int64))
    assert np.isfinite(score).all()
    assert (score >= 0).all()
    again, alarm = later(fleet, 2**33, plant(100))
    assert np.isfinite(again).all()
    assert alarm.shape == (100,)


def test_dead_signals_are_left_out_and_the_others_are_judged() -> None:
    x = broken(1200, 1000)
    dead = np.column_stack([np.full(1200, np.nan), x, np.full(1200, 7.3), np.full(1200, np.inf)])
    fleet = Fleet(["nan", *NAMES, "constant", "inf"], 1, WARMUP)
    _, alarm = run(fleet, dead)
    assert not alarm[:1000].any()
    assert alarm[1010:].mean() > 0.9
    assert {a.signal for a in fleet.attribution(0) if a.sigmas} <= set(NAMES)


def test_a_signal_that_appears_after_commissioning_is_ignored() -> None:
    x = np.column_stack([plant(1200), np.full(1200, np.nan)])
    with_it = x.copy()
    with_it[800:, 3] = 1e6
    names = [*NAMES, "late"]
    assert np.array_equal(run(Fleet(names, 1, WARMUP), x), run(Fleet(names, 1, WARMUP), with_it))


def test_a_signal_that_vanishes_is_no_fault_and_the_others_are_judged() -> None:
    x = plant(2000)
    x[900:, 1] = np.nan
    x[1500:, 2] += 3.0
    _, alarm = run(Fleet(NAMES, 1, WARMUP), x)
    assert not alarm[:1500].any()
    assert alarm[1600:].all()


def test_rows_without_any_value_repeat_the_last_answer() -> None:
    fleet = commissioned()
    last = later(fleet, WARMUP, plant(100, 1))[0][-1]
    score, _ = later(fleet, WARMUP + 100, np.full((1000, 3), np.nan))
    assert (score == last).all()


def test_a_machine_that_only_stood_still_stays_unjudged_and_learns_when_it_moves() -> None:
    fleet = Fleet(NAMES, 1, 60)
    score, alarm = run(fleet, np.full((500, 3), 4.0))
    assert not score.any()
    assert not alarm.any()
    assert fleet.progress(0) < 1
    later(fleet, 500, plant(120))
    assert fleet.progress(0) == 1


def test_late_and_doubled_rows_repeat_the_last_answer_and_change_nothing() -> None:
    x = broken(900, 800)
    clean, noisy = Fleet(NAMES, 1, WARMUP), Fleet(NAMES, 1, WARMUP)
    expected, _ = run(clean, x)
    place = np.repeat(np.arange(900), 2)
    place[1::2] -= np.arange(900) % 7  # each row is followed by an older one, or by itself
    score, _ = run(noisy, x[np.maximum(place, 0)] + 0.0, times_ns=np.maximum(place, 0) * SECOND)
    assert np.array_equal(score[::2], expected)
    assert np.array_equal(score[1::2], expected)


@pytest.mark.parametrize("back_s", [3600, 60 * 365 * 86_400])
def test_after_a_clock_was_set_back_for_good_the_machine_is_judged_on(back_s: int) -> None:
    x = broken(1600, 1300)
    times = np.arange(1600) * SECOND
    times[1000:] -= back_s * SECOND
    score, alarm = run(Fleet(NAMES, 1, WARMUP), x, times_ns=times)
    repeated = score[1000 : 1000 + BACKWARDS_ROWS - 1]
    assert (repeated == score[999]).all()
    assert (np.diff(score[1000 + BACKWARDS_ROWS :]) != 0).all()
    assert not alarm[:1300].any()
    assert alarm[1310:].mean() > 0.9


def test_one_row_from_a_far_future_does_not_stop_a_machine() -> None:
    x = broken(1600, 1300)
    times = np.arange(1600) * SECOND
    times[1000] = 2**62
    _, alarm = run(Fleet(NAMES, 1, WARMUP), x, times_ns=times)
    assert not alarm[:1300].any()
    assert alarm[1310:].mean() > 0.9


def test_a_clock_that_restarts_in_1970_again_and_again_does_not_run_out() -> None:
    times = np.arange(2000) * SECOND
    times[np.arange(2000) // 20 % 2 == 1] += 50 * 365 * 86_400 * SECOND
    fleet, x = commissioned(), plant(2000, 1)
    for start in range(100):  # 5,000 leaps of a month each; 64 bits hold 3,500
        score, _ = run(fleet, x, times_ns=times + start)
    assert np.count_nonzero(np.diff(score)) > 900


def test_a_flooding_machine_costs_no_memory_and_the_others_nothing() -> None:
    x, flood = broken(1200, 1000), plant(20_000, 9)
    quiet, busy = Fleet(NAMES, 2, WARMUP), Fleet(NAMES, 2, WARMUP)
    expected, _ = run(quiet, x, 1)
    got = []
    for i in range(0, 1200, 100):
        run(busy, flood, 0, times_ns=(i * 20_000 + np.arange(20_000)) * SECOND)
        size = len(busy.save())
        got.append(run(busy, x[i : i + 100], 1, (i + np.arange(100)) * SECOND)[0])
    assert np.array_equal(np.concatenate(got), expected)
    assert size < 400_000
    stuck = Fleet(NAMES, 1, WARMUP)
    run(stuck, np.full((100_000, 3), 1.0))
    assert len(stuck.save()) < 2 * (WARMUP * 32 + stuck.machine_bytes())


def test_an_empty_batch_is_answered_by_nothing() -> None:
    fleet = commissioned()
    before = fleet.save()
    empty = np.zeros(0, np.int64)
    for rows in (np.zeros((0, 3)), np.zeros(0)):
        score, alarm = fleet.update(empty, empty, rows)
        assert score.shape == alarm.shape == (0,)
    assert fleet.update([], [], [])[0].shape == (0,)
    assert fleet.save() == before


@pytest.mark.parametrize(
    ("machines", "times", "rows", "says"),
    [
        ([0], [1], [1.0, 2.0, 3.0], r"rows \(n, 3\)"),
        ([0], [1], [[1.0, 2.0]], r"rows \(n, 3\)"),
        ([0, 0], [1], [[1.0, 2.0, 3.0]], "got"),
        (0, 1, [[1.0, 2.0, 3.0]], "got"),
        ([1], [1], [[1.0, 2.0, 3.0]], "from 0 to 0"),
        ([-1], [1], [[1.0, 2.0, 3.0]], "from 0 to 0"),
        ([0.0], [1], [[1.0, 2.0, 3.0]], "integers"),
        ([0], [1.5], [[1.0, 2.0, 3.0]], "integers"),
    ],
)
def test_arrays_that_do_not_fit_are_an_error_of_the_program(
    machines: list[int], times: list[int], rows: list[list[float]], says: str
) -> None:
    fleet = commissioned()
    before = fleet.save()
    with pytest.raises(ValueError, match=says):
        fleet.update(machines, times, rows)
    assert fleet.save() == before


@pytest.mark.parametrize("warmup", [29, MAX_WARMUP + 1])
def test_a_commissioning_too_short_or_too_long_is_refused(warmup: int) -> None:
    with pytest.raises(Malformed, match="between 30 and 200000"):
        Fleet(NAMES, 1, warmup)
    with pytest.raises(Malformed, match="0 signals"):
        Fleet([], 1, 100)


@pytest.mark.parametrize("cut", [0, 1, 300, WARMUP - 1, WARMUP, 900, 1030, 1500])
@pytest.mark.parametrize("names", [NAMES, NAMES[:1]])
def test_a_saved_fleet_goes_on_to_the_last_bit(cut: int, names: list[str]) -> None:
    """Saved in commissioning, healthy, in an alarm or after it; with three signals or one."""
    x = broken(1600, 1000, 1200)[:, : len(names)]
    times = np.arange(1600) * SECOND
    fleet = Fleet(names, 2, WARMUP, ["A"] * len(names))
    run(fleet, x[:cut], 1, times[:cut])
    restored = Fleet.restore(names, fleet.save(), ["A"] * len(names))
    copied = pickle.loads(pickle.dumps(copy.deepcopy(fleet)))  # noqa: S301 - its own
    expected = run(fleet, x[cut:], 1, times[cut:])
    for other in (restored, copied):
        assert np.array_equal(run(other, x[cut:], 1, times[cut:]), expected)
        assert same_state(fleet, other)


def test_a_state_of_another_fleet_or_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = Fleet(NAMES, 1, WARMUP, ["A", "A", "K"]).save()
    for names, units in [
        (NAMES[::-1], ["A", "A", "K"]),
        (NAMES[:2], ["A", "A"]),
        (NAMES, ["A", "A", "degC"]),
        (NAMES, []),
    ]:
        with pytest.raises(Malformed, match="other signals or settings"):
            Fleet.restore(names, saved, units)
    for damaged in (saved[:-9], b"", saved[:200] + b"\x00" + saved[201:]):
        with pytest.raises(Malformed):
            Fleet.restore(NAMES, damaged, ["A", "A", "K"])
    monkeypatch.setattr(artefact, "VERSION", artefact.VERSION + 1)
    with pytest.raises(Malformed, match="version"):
        Fleet.restore(NAMES, saved, ["A", "A", "K"])


def test_recommissioning_forgets_one_machine_and_no_other() -> None:
    x = plant(1000)
    fleet = Fleet(NAMES, 2, WARMUP)
    run(fleet, x, 0)
    run(fleet, broken(1000, 900), 1)
    before = fleet.attribution(0)
    fleet.recommission(1)
    assert fleet.progress(1) == 0
    assert fleet.attribution(0) == before
    again = run(fleet, plant(1200, 5), 1, (5000 + np.arange(1200)) * SECOND)
    assert np.array_equal(again, run(Fleet(NAMES, 1, WARMUP), plant(1200, 5)))


def lone(x: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    machine = np.zeros(len(x), np.int64)
    return news.step_many(news.empty(1), machine, np.arange(float(len(x))), x, WARMUP)


def test_a_lone_signal_is_judged_by_its_news() -> None:
    x = broken(2000, 1500)[:, 2:]
    score, alarm = run(Fleet(["temperature"], 1, WARMUP), x)
    assert np.array_equal((score, alarm), lone(x[:, 0]))


def test_the_only_signal_that_moves_is_judged_by_its_news() -> None:
    x = plant(2000)
    x[:, 0], x[:, 2] = 3.0, np.nan
    x[1500, 1] += 40.0
    fleet = Fleet(NAMES, 3, WARMUP)
    others = [run(fleet, plant(2000, m), m) for m in (0, 2)]
    score, alarm = run(fleet, x, 1)
    assert np.array_equal((score, alarm), lone(x[:, 1]))
    assert alarm[1500]
    assert fleet.progress(1) == 1
    for m, expected in zip((0, 2), others, strict=True):
        assert np.array_equal(run(Fleet(NAMES, 1, WARMUP), plant(2000, m)), expected)
    fleet.recommission(1)
    assert np.array_equal(
        later(fleet, 0, plant(10))[0], run(commissioned_with_two(), plant(10), 0)[0]
    )
    assert fleet.progress(1) == 0


def commissioned_with_two() -> Fleet:
    fleet = Fleet(NAMES, 1, WARMUP)
    run(fleet, plant(2000, 0))
    return fleet


def test_progress_goes_from_nothing_to_all() -> None:
    fleet = Fleet(NAMES, 2, WARMUP)
    run(fleet, plant(WARMUP // 2))
    assert fleet.progress(0) == 0.5
    assert fleet.progress(1) == 0
    later(fleet, WARMUP // 2, plant(WARMUP))
    assert fleet.progress(0) == 1


def test_a_glitch_in_commissioning_does_not_blind_its_signal() -> None:
    x = broken(900, 800)
    x[100, 2] = 1e9
    _, alarm = run(Fleet(NAMES, 1, WARMUP), x)
    assert not alarm[:800].any()
    assert alarm[830:].mean() > 0.9


@pytest.mark.parametrize("names", [NAMES, NAMES[:1]])
@pytest.mark.parametrize("cut", [0, 300, 900])
def test_one_machine_goes_on_in_another_fleet_alike_and_nowhere_else(
    cut: int, names: list[str]
) -> None:
    x = broken(1600, 1000, 1200)[:, : len(names)]
    times = np.arange(1600) * SECOND
    fleet, other = Fleet(names, 2, WARMUP), Fleet(names, 3, WARMUP)
    run(fleet, x[:cut], 1, times[:cut])
    run(other, x, 2)  # forgotten
    other.keep(2, fleet.kept(1))
    assert other.progress(2) == fleet.progress(1)
    expected = run(fleet, x[cut:], 1, times[cut:])
    assert np.array_equal(run(other, x[cut:], 2, times[cut:]), expected)
    assert other.kept(2) == fleet.kept(1)
    before = other.kept(0)
    for stranger in (Fleet(["a", "b"], 1, WARMUP), Fleet(names, 1, 60)):
        run(stranger, plant(50)[:, : len(stranger.signals)])
        kept = stranger.kept(0)
        if len(stranger.signals) == len(names):
            kept.state = kept.state[:-8]
        with pytest.raises(Malformed, match="another fleet"):
            other.keep(0, kept)
    assert other.kept(0) == before


def test_late_rows_are_told_from_fresh_ones() -> None:
    for names in (NAMES, NAMES[:1]):
        fleet, times = Fleet(names, 1, WARMUP), np.array([5, 6, 6, 4, 7]) * SECOND
        fresh = fleet.judge(np.zeros(5, np.int64), times, plant(5)[:, : len(names)].copy())[2]
        assert fresh.tolist() == [True, True, False, False, True]
