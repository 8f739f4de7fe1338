"""The long-run evaluation: the fleet is as it says, and the arithmetic is right."""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.bench import longrun, longrun_eval
from tests.bench.longrun import Bait, Fault, Machine
from tests.bench.plants import KINDS, FloatArray, lag, staged

SEEDS = range(8)


@pytest.fixture(scope="module")
def fleet() -> list[Machine]:
    return [longrun.machine(kind, seed, 2, 14) for kind in KINDS for seed in SEEDS]


def seconds(n: int) -> FloatArray:
    return np.arange(n, dtype=np.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_makes_the_same_machine_bit_by_bit(kind: str) -> None:
    one, again, other = (longrun.machine(kind, seed, 2, 5) for seed in (3, 3, 4))
    assert one.values.tobytes() == again.values.tobytes()
    assert one.times_s.tobytes() == again.times_s.tobytes()
    assert one[4:] == again[4:]
    assert one.values.shape != other.values.shape or not np.array_equal(one.values, other.values)


def test_a_machine_says_nothing_about_its_columns(fleet: list[Machine]) -> None:
    for m in fleet:
        n, d = m.values.shape
        assert m.columns == [f"s{j}" for j in range(d)]
        assert 4 <= d <= 14
        assert m.times_s.shape == (n,)
        assert 0.7 * 7200 < m.warmup < 1.1 * 7200  # gaps and duplicates
    assert len({m.values.shape[1] for m in fleet}) > 5


def test_faults_lie_in_order_after_commissioning_and_some_machines_stay_healthy(
    fleet: list[Machine],
) -> None:
    for m in fleet:
        assert len(m.faults) in {0, 2, 3, 4}
        rows = [m.warmup, *(r for f in m.faults for r in (f.first_row, f.last_row)), len(m.values)]
        gaps = np.diff(rows)
        assert (gaps[2::2] > 2700 * 0.97).all()  # time to recover
        assert all(1200 * 0.97 < length < 5400 * 1.03 for length in gaps[1::2])
    assert 0.1 < np.mean([not m.faults for m in fleet]) < 0.5
    severities = [f.severity for m in fleet for f in m.faults]
    assert all(severities.count(s) > 0.2 * len(severities) for s in longrun.SIGMAS)
    assert len({f.name for m in fleet for f in m.faults}) > 10


def _leading(kind: str, seed: int) -> Iterator[tuple[Fault, float]]:
    """Yield every fault with its leading signal's shift, fully developed, in its own scatter."""
    course, truth, values = longrun._signals(kind, seed, 2, 14)
    z = (values - truth.expected)[:, truth.scatter > 0] / truth.scatter[truth.scatter > 0]
    for f in course.faults:
        quarter = (f.last_row - f.first_row) // 4
        late = z[f.last_row - quarter : f.last_row].mean(axis=0)
        before = z[f.first_row - 600 : f.first_row].mean(axis=0)
        yield f, float(np.abs(late - before).max())


@pytest.mark.parametrize("kind", KINDS)
def test_faults_are_as_large_as_their_severity_says(kind: str) -> None:
    sizes: dict[str, list[float]] = {severity: [] for severity in longrun.SIGMAS}
    for seed in range(16):
        for f, size in _leading(kind, seed):
            if f.name != "sensor_stuck":  # its distance changes with what it no longer follows
                sizes[f.severity].append(size)
    for severity, (low, high) in longrun.SIGMAS.items():
        # noise slower than the quarter of a fault is in the mean, too, and the largest is taken
        assert low - 0.3 < np.median(sizes[severity]) < high + 0.8, (severity, sizes[severity])


@pytest.mark.parametrize("kind", KINDS)
def test_the_scatter_is_that_of_healthy_readings_around_what_physics_expects(kind: str) -> None:
    for seed in range(4):
        course, truth, values = longrun._signals(kind, seed, 12, 1)
        noisy = truth.scatter > 0
        z = (values - truth.expected)[: course.start_s, noisy] / truth.scatter[noisy]
        spread = z[truth.load[: course.start_s] > 0.05].std(axis=0)
        assert (spread > 0.75).all()
        assert (spread < 1.3).all()


def test_every_bait_occurs_and_none_that_would_hide_or_cure_a_fault_lies_in_one(
    fleet: list[Machine],
) -> None:
    names = {b.name for m in fleet for b in m.baits}
    assert names == {
        "setpoint", "new_setpoint", "stop", "restart", "new_mode", "ambient", "gap", "duplicates",
        "spike", "clock_jump",
    }  # fmt: skip
    for m in fleet:
        for b in m.baits:
            assert 0 <= b.row < len(m.values)
            if b.name in {"stop", "restart", "new_mode", "gap"}:
                assert not any(f.first_row - 60 < b.row < f.last_row for f in m.faults)


def test_the_data_path_is_imperfect(fleet: list[Machine]) -> None:
    ticks = np.concatenate([np.diff(m.times_s) for m in fleet])
    assert 0.004 < np.mean(ticks == 2) < 0.02  # single rows lost
    assert ticks.max() > 60
    assert ticks.min() < -10
    assert (ticks == 0).any()
    assert 0.0003 < np.mean([np.isnan(m.values).mean() for m in fleet]) < 0.003
    assert not any(np.isinf(m.values).any() for m in fleet)


def test_a_new_mode_shows_nothing_that_commissioning_saw() -> None:
    """Mode 1 of the plan lasts until the next batch; the others answer within minutes."""
    shown = 0
    for kind in KINDS:
        for seed in SEEDS:
            course, truth, _ = longrun._signals(kind, seed, 2, 14)
            assert not course.plan.new_mode[: course.start_s].any()
            on = course.plan.new_mode > 0.9
            if on.any():
                seen = truth.expected[: course.start_s]
                new = truth.expected[on]
                outside = (new > seen.max(axis=0)) | (new < seen.min(axis=0))
                shown += bool(outside.mean(axis=0).max() > 0.2)
    assert shown > 8


def test_whoever_knows_the_physics_finds_what_is_easy_or_medium() -> None:
    """The task can be solved: five-minute means of the residuals, judged by commissioning."""
    outcomes = []
    for i, kind in enumerate([*KINDS, *KINDS]):
        course, truth, values = longrun._signals(kind, i, 8, 14)
        noisy = truth.scatter > 0
        z = (values - truth.expected)[:, noisy]
        smooth = np.column_stack([lag(z[:, j].copy(), 60.0, 0.0) for j in range(noisy.sum())])
        worst = np.abs(smooth / smooth[: course.start_s].std(axis=0)).max(axis=1)
        alarm = (worst > 1.2 * worst[600 : course.start_s].max()).astype(np.int8)
        n, start = len(z), course.start_s
        m = Machine(f"{kind}-{i}", seconds(n), values, [], start, course.faults, course.baits)
        outcomes.append(longrun_eval.judge(m, alarm))
    figures = longrun_eval.summary(outcomes)["newly_found"]
    for severity in ("easy", "medium"):
        found, of = figures[severity]
        assert of >= 4
        assert found >= 0.9 * of


def test_stages_follow_the_load_with_hysteresis() -> None:
    load = np.array([0.2, 0.4, 0.55, 0.52, 0.48, 0.4, 0.0, 0.9, 0.9])
    assert staged(load, 2, 0.05).tolist() == [1, 1, 2, 2, 2, 1, 0, 1, 2]


# ---- the arithmetic -----------------------------------------------------------------------------

ROWS, WARMUP = 10_000, 1_000
FAULTS = [Fault(2000, 2999, "easy", "wear"), Fault(6000, 6999, "hard", "leak")]


def made(*faults: Fault, baits: tuple[Bait, ...] = ()) -> Machine:
    values = np.zeros((ROWS, 1))
    return Machine("pump-1", seconds(ROWS), values, ["s0"], WARMUP, [*faults], [*baits])


def alarms(*runs: tuple[int, int]) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """Return alarms that stand from each first row to before each end."""
    alarm = np.zeros(ROWS, np.int8)
    for first, end in runs:
        alarm[first:end] = 1
    return alarm


def figures(machine: Machine, *runs: tuple[int, int]) -> dict[str, object]:
    return longrun_eval.measure([machine], [(np.zeros(ROWS), alarms(*runs))])


def test_a_fault_is_newly_found_by_an_alarm_in_it_and_none_shortly_before() -> None:
    m = made(*FAULTS)
    assert figures(m, (2050, 3000))["newly_found"] == {
        "easy": [1, 1],
        "medium": [0, 0],
        "hard": [0, 1],
    }
    assert figures(m, (2050, 3000))["delay_median_s"] == 50
    assert figures(m, (1960, 1970), (2999, 3000))["newly_found"]["easy"] == [1, 1]  # type: ignore[index]
    assert figures(m, (1960, 1971), (2050, 3000))["newly_found"]["easy"] == [0, 1]  # type: ignore[index]
    assert figures(m, (1999, 2000), (2050, 3000))["newly_found"]["easy"] == [0, 1]  # type: ignore[index]
    assert figures(m, (3000, 3100))["newly_found"]["easy"] == [0, 1]  # type: ignore[index]


def test_an_alarm_is_held_from_the_first_to_the_end_of_the_fault() -> None:
    assert figures(made(FAULTS[0]), (2500, 2600), (2800, 3000))["held_pct"] == pytest.approx(60)


def test_false_episodes_begin_outside_of_faults_and_outlast_the_aftermath() -> None:
    m = made(FAULTS[0])
    hours = (ROWS - WARMUP - 1000 - 900) / 3600
    for runs, episodes, rows in [
        ([(1500, 1560)], 1, 60),
        ([(1500, 1560), (5000, 5060)], 2, 120),
        ([(1990, 3000)], 1, 10),
        ([(2500, 4500)], 0, 600),  # the fault's own alarm, far too long
        ([(3100, 3200)], 0, 0),
        ([(3100, 4000)], 1, 100),
        ([(500, 999)], 0, 0),
        ([(500, 1100)], 1, 100),
    ]:
        seen = figures(m, *runs)
        assert seen["false_episodes"] == episodes, runs
        assert seen["false_episodes_per_1000_h"] == pytest.approx(episodes / hours * 1000)
        assert seen["false_minutes_per_1000_h"] == pytest.approx(rows / 60 / hours * 1000)
        assert seen["far_pct"] == pytest.approx(100 * rows / (hours * 3600))


def test_an_alarm_that_goes_on_counts_again_every_ten_minutes() -> None:
    hours = (ROWS - WARMUP - 1000 - 900) / 3600
    seen = figures(made(FAULTS[0]), (1500, 1510), (2500, 4900), (7000, 8201))
    assert seen["false_episodes"] == 2
    assert seen["false_slices_per_1000_h"] == pytest.approx((1 + 2 + 3) / hours * 1000)


def test_clearing_is_timed_from_the_end_of_the_fault() -> None:
    m = made(*FAULTS)
    seen = figures(m, (2100, 3060), (6100, 8000))
    assert seen["clear_median_min"] == pytest.approx((60 + 1000) / 2 / 60)
    assert seen["uncleared_15min_pct"] == 50
    gone = figures(m, (2100, 2990))
    assert gone["clear_median_min"] is None
    assert gone["uncleared_15min_pct"] is None


def test_missed_rows_are_those_of_faults_without_alarm() -> None:
    assert figures(made(*FAULTS), (2000, 2500))["mar_pct"] == pytest.approx(75)


def test_a_false_episode_is_laid_at_the_last_bait_within_15_minutes() -> None:
    m = made(baits=(Bait(1500, "stop"), Bait(1600, "restart"), Bait(4000, "spike")))
    seen = figures(m, (1550, 1560), (1650, 1660), (2501, 2510), (4000, 4010))
    assert seen["false_episodes_after"] == {"stop": 1, "restart": 1, "nothing": 1, "spike": 1}


def test_an_alarm_that_always_stands_finds_nothing_newly_and_silence_neither(
    fleet: list[Machine],
) -> None:
    for value in (0, 1):
        outputs = [(np.zeros(len(m.values)), np.full(len(m.values), value, np.int8)) for m in fleet]
        seen = longrun_eval.measure(fleet, outputs)
        assert [n for n, _ in seen["newly_found"].values()] == [0, 0, 0]
        assert seen["far_pct"] == 100 * value
        assert seen["mar_pct"] == 100 * (1 - value)
        assert seen["false_episodes"] == value * len(fleet)


# ---- the program --------------------------------------------------------------------------------

DETECTORS = """
import numpy as np

class Stepper:
    def __init__(self, columns, warmup):
        self.n = 0
    def step(self, t, x):
        self.n += 1
        return t, int(self.n % 1000 == 0)

class Batch(Stepper):
    def batch(self, t, x):
        return t, (np.arange(1, t.size + 1) % 1000 == 0).astype(np.int8)

class Prophet(Stepper):
    def batch(self, t, x):
        return t, (np.nan_to_num(x[:, 0]) > np.nanmean(x[:, 0])).astype(np.int8)
"""

LOCKSTEP = """
import os, sys
assert int(os.environ["DETECTOR_WARMUP"]) > 0
assert input().startswith("time,s0,")
for n, line in enumerate(sys.stdin, 1):
    print(f"{float(line.split(',')[0])},{int(n % 1000 == 0)}")
"""


def test_steps_batches_and_programs_that_answer_alike_count_alike(tmp_path: Path) -> None:
    (tmp_path / "det.py").write_text(DETECTORS)
    (tmp_path / "cli.py").write_text(LOCKSTEP)
    m = longrun.machine("pump", 0, 1, 1)
    stepped = longrun_eval.called(f"{tmp_path}/det.py:Stepper", m)
    batched = longrun_eval.called(f"{tmp_path}/det.py:Batch", m, check=True)
    answered = longrun_eval.lockstep(f"{sys.executable} {tmp_path}/cli.py", m)
    assert stepped[1].sum() == len(m.values) // 1000
    for other in (batched, answered):
        assert np.array_equal(stepped[0], other[0])
        assert np.array_equal(stepped[1], other[1])
    assert stepped[0][0] == 0.0


def test_a_batch_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    (tmp_path / "det.py").write_text(DETECTORS)
    m = longrun.machine("pump", 0, 1, 1)
    with pytest.raises(SystemExit, match="future"):
        longrun_eval.called(f"{tmp_path}/det.py:Prophet", m, check=True)


@pytest.mark.parametrize("command", ["echo hello", "true", "yes 1"])
def test_a_program_that_does_not_speak_the_contract_is_refused(command: str) -> None:
    m = longrun.machine("pump", 0, 1, 1)
    with pytest.raises(SystemExit, match="row 0: no 'score,alarm'"):
        longrun_eval.lockstep(command, m)


def test_a_cached_machine_is_the_machine(tmp_path: Path) -> None:
    args = argparse.Namespace(cache=tmp_path, seed=0, commission_h=1.0, hours=1.0)
    fresh, cached = (longrun_eval._machine(args, 1) for _ in range(2))
    assert fresh.values.tobytes() == cached.values.tobytes()
    assert fresh.baits == cached.baits
    assert len(list(tmp_path.iterdir())) == 1


def test_the_program_prints_the_detector_beside_its_measuring_sticks(tmp_path: Path) -> None:
    (tmp_path / "det.py").write_text(DETECTORS)
    program = [sys.executable, longrun_eval.__file__, "--detector", f"{tmp_path}/det.py:Batch"]
    options = ["--machines", "4", "--commission-h", "1", "--hours", "3", "--json", "out.json"]
    done = subprocess.run(
        [*program, *options], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "4/4" in done.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    assert list(figures) == ["detector", "always", "random", "never"]
    for name in figures:
        assert f"\n{name}" in done.stdout
