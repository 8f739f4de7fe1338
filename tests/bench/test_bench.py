"""The benchmark's arithmetic on inputs made by hand."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from models.fleet import Fleet
from models.prognosis import Prognosis
from tests.bench import (
    bench_models,
    detectors,
    labels,
    metrics,
    nab,
    report,
    rul,
    runs,
    skab,
    speed,
    tep,
)
from tests.bench.longrun_eval import Found, Outcome
from tests.bench.metrics import Array, Flags

OPTIONS = report.Options(None, 1, 1, quick=True)


def flags(text: str) -> Flags:
    return np.array([c == "1" for c in text])


def test_ranking_counts_ties_half() -> None:
    label = flags("0011")
    assert metrics.auc_roc(label, np.array([1.0, 2.0, 3.0, 4.0])) == 1.0
    assert metrics.auc_roc(label, np.array([4.0, 3.0, 2.0, 1.0])) == 0.0
    assert metrics.auc_roc(label, np.ones(4)) == 0.5
    assert metrics.auc_roc(label, np.array([1.0, 2.0, 2.0, 3.0])) == 3.5 / 4
    assert np.isnan(metrics.auc_roc(flags("11"), np.ones(2)))


def test_average_precision_takes_ties_together() -> None:
    label = flags("0101")
    assert metrics.auc_pr(label, np.ones(4)) == 0.5
    assert metrics.auc_pr(label, np.array([4.0, 3.0, 2.0, 1.0])) == pytest.approx(
        (1 / 2 + 2 / 4) / 2
    )
    assert metrics.auc_pr(label, np.array([1.0, 3.0, 1.0, 4.0])) == 1.0


def test_runs_reach_from_their_first_row_to_the_row_after_their_last() -> None:
    assert metrics.runs(flags("1101001")) == [(0, 2), (3, 4), (6, 7)]
    assert metrics.runs(flags("00")) == []


# ---- SKAB ---------------------------------------------------------------------------------------


def pump(path: Path, rows: int, first: int, last: int) -> None:
    """Write a file in which rows ``first`` to ``last`` are faulty."""
    lines = ["datetime;Pressure;Current;anomaly;changepoint"]
    for i in range(rows):
        stamp = f"2020-03-09 10:{i // 60:02d}:{i % 60:02d}"
        lines.append(f"{stamp};{i / 7};{-i};{float(first <= i <= last)};0.0")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def recordings(tmp_path: Path) -> list[skab.Recording]:
    pump(tmp_path / "valve1" / "0.csv", 1000, 500, 799)
    pump(tmp_path / "other" / "1.csv", 900, 500, 799)
    (tmp_path / "anomaly-free").mkdir()
    (tmp_path / "anomaly-free" / "a.csv").write_text("datetime;Pressure\n2020-03-09 10:00:00;1\n")
    return skab.load(tmp_path)


def test_skab_leaves_out_files_without_labels(recordings: list[skab.Recording]) -> None:
    assert [len(r.anomaly) for r in recordings] == [900, 1000]
    assert recordings[0].columns == ["Pressure", "Current"]
    assert recordings[0].times_s[:3].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_always_alarming_has_the_f1_of_the_anomalous_share(
    recordings: list[skab.Recording], seed: int | None
) -> None:
    f = skab.run(recordings, detectors.always, seed)
    assert f.f1 == pytest.approx(2 * 600 / (600 + 1100))
    assert (f.far_pct, f.mar_pct, f.found, f.faults) == (100.0, 0.0, 2, 2)
    assert (f.false_episodes, f.delay_s) == (0, 0.0)
    assert f.normal_h == 500 / 3600


def test_skab_tells_delay_and_false_episodes(recordings: list[skab.Recording]) -> None:
    late, early = (np.zeros(len(r.anomaly), bool) for r in recordings)
    late[520:800] = True
    early[100:110] = True  # learning: not judged
    early[450:460] = early[850:950] = True
    f = skab.measure(recordings, [late, early])
    assert (f.found, f.faults, f.false_episodes, f.delay_s) == (1, 2, 2, 20.0)
    assert f.far_pct == pytest.approx(100 * 110 / 500)
    assert f.mar_pct == pytest.approx(100 * 320 / 600)


def test_the_best_stopwatch_needs_no_data(recordings: list[skab.Recording]) -> None:
    watch = detectors.stopwatch(*skab.best_stopwatch(recordings))
    assert skab.best_stopwatch(recordings) == (500, 800)
    assert skab.run(recordings, watch, None).f1 == 1.0
    assert skab.run(recordings, watch, 0).f1 < 0.9, "heads are cut"


def test_a_disguise_keeps_the_physics(recordings: list[skab.Recording]) -> None:
    seen = skab.disguised(recordings[0], np.random.default_rng(0))
    assert seen.columns == ["c0", "c1"]
    assert not np.allclose(seen.rows, recordings[0].rows)
    assert np.abs(np.corrcoef(seen.rows.T)) == pytest.approx(np.ones((2, 2)))


# ---- NAB ----------------------------------------------------------------------------------------


def lone(*windows: tuple[int, int], rows: int = 1000) -> nab.Metric:
    return nab.Metric(np.arange(0.0, rows), np.zeros(rows), list(windows))


def scored(metric: nab.Metric, *alarms: int) -> tuple[nab.Scored, Flags]:
    score = np.zeros(len(metric.values))
    score[list(alarms)] = 1.0
    table = nab.scored([metric], [score])
    return table, table.score > 0


def own(metric: nab.Metric, *alarms: int, profile: str = "standard") -> float:
    return nab.own(*scored(metric, *alarms), *nab.PROFILES[profile])


def test_nab_reads_windows_by_their_time_stamps(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "data" / "real").mkdir(parents=True)
    stamps = [f"2014-04-01 00:{i:02d}:00" for i in range(60)]
    windows = {"real/a.csv": [[stamps[10] + ".000000", stamps[19] + ".000000"]], "real/b.csv": []}
    (tmp_path / "labels" / "combined_windows.json").write_text(json.dumps(windows))
    lines = ["timestamp,value", *(f"{s},{i}.5" for i, s in enumerate(stamps))]
    (tmp_path / "data" / "real" / "a.csv").write_text("\n".join(lines))
    (metric,) = nab.load(tmp_path)  # b.csv is not there
    assert metric.windows == [(10, 20)]
    assert (metric.times_s[1], metric.values[1]) == (60.0, 1.5)


def test_nab_silence_is_zero_and_the_first_row_of_every_window_a_hundred() -> None:
    metric = lone((300, 400), (600, 650))
    for profile in nab.PROFILES:
        assert own(metric, profile=profile) == 0.0
        assert own(metric, 300, 600, profile=profile) == pytest.approx(100.0)
        assert own(metric, 300, 350, 600, profile=profile) == pytest.approx(100.0)


def test_nab_alarms_late_in_a_window_earn_less() -> None:
    last = float(nab.sigmoid(np.array(-1 / 100)) / nab.sigmoid(np.array(-1.0)))
    assert own(lone((300, 400)), 399) == pytest.approx(100 * (last + 1) / 2)
    assert 50 < own(lone((300, 400)), 399) < own(lone((300, 400)), 350) < 100


def test_nab_false_rows_cost_more_the_farther_they_are_from_the_window() -> None:
    metric = lone((300, 400))
    assert own(metric, 200) == pytest.approx(-100 * 0.11 / 2)
    assert own(metric, 200, profile="low FP") == pytest.approx(-100 * 0.22 / 2)
    assert own(metric, 200, profile="low FN") == pytest.approx(-100 * 0.11 / 3)
    assert own(metric, 999) == pytest.approx(-100 * 0.11 / 2)
    assert own(metric, 999) < own(metric, 405) < 0
    assert own(metric, 100) == 0.0, "the first 15 % are not judged"


def test_nab_takes_the_best_of_all_thresholds_with_the_labels() -> None:
    metric = lone((300, 400), (600, 650))
    score = np.zeros(1000)
    score[300], score[600], score[200], score[700:990] = 3.0, 1.0, 2.0, 0.5
    table = nab.scored([metric], [score])
    assert nab.best(table, 0.11, 1.0) == pytest.approx(100 - 100 * 0.11 / 4)
    assert nab.best(nab.scored([metric], [np.ones(1000)]), 0.11, 1.0) == 0.0


# ---- TEP, RUL, labels ---------------------------------------------------------------------------


def test_tep_reads_normal_rows_lying_on_their_side(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "d00.dat", np.zeros((52, 500)))
    for fault in (0, 1, 3, 9, 15):
        np.savetxt(tmp_path / f"d{fault:02d}_te.dat", np.full((960, 52), float(fault)))
    normal, tests = tep.load(tmp_path)
    assert normal.shape == (500, 52)
    assert sorted(tests) == [0, 1], "3, 9 and 15 are left out"


def test_tep_judges_each_fault_from_its_onset() -> None:
    def detector(
        columns: list[str], warmup: int, times_s: Array, rows: Array
    ) -> tuple[Array, Flags]:
        on = rows[:, 0] > 0
        return on.astype(float), on

    tests = {fault: np.zeros((960, 52)) for fault in (0, 1)}
    tests[0][:96] = tests[1][200:] = 1.0
    f = tep.measure(np.zeros((500, 52)), tests, detector)
    assert (f.far_pct, f.early_pct, f.missed_pct) == pytest.approx((10.0, 0.0, 5.0))
    assert f.delay_rows == 40
    assert f.auc == pytest.approx((760 + 40 / 2) / 800)


def test_late_estimates_cost_more_than_early_ones() -> None:
    assert rul.phm_score(np.array([-13.0])) == pytest.approx(np.e - 1)
    assert rul.phm_score(np.array([10.0])) == pytest.approx(np.e - 1)
    assert rul.rmse(np.array([3.0, 4.0, np.nan])) == pytest.approx(np.sqrt(12.5))


def test_cut_off_lives_and_learned_ones_are_disjoint() -> None:
    units = {u: np.arange(100.0 + u)[:, None] for u in range(1, 21)}
    train, test, left = rul.cut_off(units, 0)
    assert (len(train), len(test)) == (16, 4)
    assert not train.keys() & test.keys()
    for (unit, rows), rest in zip(test.items(), left, strict=True):
        assert len(rows) + rest == len(units[unit])


def told(n: int, off: float, half_width: float = 5.0) -> rul.Told:
    truth = np.arange(n - 1.0, -1.0, -1.0)
    expected = truth + off
    return rul.Told(expected, expected - half_width, expected + half_width, truth)


def test_every_life_counts_once_and_only_where_its_end_is_near() -> None:
    far = told(300, 3.0)
    far.expected[:100] = 1e6  # more than the cap before its end
    p = rul.Play([told(10, 4.0), far], [], 1.0)
    assert rul.stage(p, 0, 2) == pytest.approx(np.sqrt((16 + 9) / 2))


def test_coverage_counts_rows_with_an_estimate() -> None:
    lives = [told(10, 0.0)] * 11 + [told(10, 6.0)]
    unknown = told(20, 0.0)
    unknown.expected[:] = np.nan
    held, width, known = rul.coverage(rul.Play([*lives, unknown], [], 1.0))
    assert (held, width, known) == pytest.approx((0.5, 10.0, 0.5))


def test_the_mean_life_is_that_of_earlier_lives_only() -> None:
    p = rul.Play([told(100, 0.0), told(50, 0.0)], [], 1.0)
    again = rul.baseline(p, lambda age, mean: mean - age)
    assert np.isnan(again.lives[0].expected).all()
    assert again.lives[1].expected[0] == 99.0


def test_estimates_are_those_of_the_shipped_model() -> None:
    rng = np.random.default_rng(0)
    train = {u: rng.normal(size=(20, 24)) for u in range(3)}
    p = rul.play(train, {9: rng.normal(size=(5, 24))}, np.array([7.0]), 0)
    assert np.isnan(p.lives[0].expected).all(), "nothing is known before the first failure"
    assert p.finals[0].truth.tolist() == [11.0, 10.0, 9.0, 8.0, 7.0]
    assert Prognosis(rul.COLUMNS, rul.CAP).failures == 0


def test_always_the_same_answer_has_the_precision_of_the_failures() -> None:
    rows, y = np.zeros((1000, 2)), (np.arange(1000) % 10 == 0).astype(np.int64)
    pr, roc, _ = labels.measure(labels.always, rows, y)
    assert (pr, roc) == pytest.approx((0.1, 0.5))


def test_physics_stands_beside_the_inputs(tmp_path: Path) -> None:
    head = ["UID", "Type", *labels.NUMBERS, "Machine failure"]
    text = ",".join(head) + "\n1,L,300,310,1500,40,10,1\n"
    (tmp_path / "a.csv").write_text(text, encoding="utf-8-sig")
    rows, failed = labels.load(tmp_path)
    assert rows.tolist() == [[300, 310, 1500, 40, 10, 1, 0, 60000, 10, 400]]
    assert failed.tolist() == [1]


def test_dice_find_faults_but_do_not_hold_them() -> None:
    def found(*, newly: bool, held: float) -> Found:
        return Found("pump", "easy", "leak", newly, 0, held, None)

    faults = [found(newly=True, held=0.8), found(newly=True, held=0.0), found(newly=False, held=0)]
    outcome = Outcome(faults, [], 0, 3600, 0, 100, 50, 0.0, 7200)
    assert runs.held_new([outcome, outcome]) == pytest.approx(0.8 / 3)


# ---- speed and report ---------------------------------------------------------------------------


def test_river_alarms_by_the_second_half_of_its_warm_up() -> None:
    score = np.repeat([9.0, 2.0, 3.0, 0.0], [40, 60, 7, 9])
    _, alarm = detectors._alarmed(score, 100)
    assert metrics.runs(alarm) == [(102, 109)], "a median of five is two rows late"


@pytest.fixture(scope="module")
def explained() -> Fleet:
    return speed.commissioned("explained", 10)


def test_the_two_references_are_what_they_are_called(explained: Fleet) -> None:
    assert not speed.commissioned("level only", 3)._reference.features.any()
    assert (explained._reference.features > 0).all()


def test_copied_machines_answer_like_the_one_that_learned() -> None:
    fleet = speed.commissioned("level only", 3)
    who, when = np.tile(np.arange(3), 50), np.repeat(np.arange(50), 3)
    rows = np.zeros((150, 8)) + when[:, None] / 10
    score, _ = fleet.update(who, (when + 300) * speed.SECOND_NS, rows)
    assert score[-1] > score[0] > 0
    assert (score.reshape(50, 3) == score[::3, None]).all()


def test_a_block_holds_all_machines_tick_by_tick() -> None:
    who, times_ns, rows = speed.block("level only", 100, 2)
    assert who[:101].tolist() == [*range(100), 0]
    assert times_ns[99:101].tolist() == [2300 * speed.SECOND_NS, 2301 * speed.SECOND_NS]
    assert rows.shape == (speed.BLOCK_ROWS, 8)


def test_the_timed_plant_runs_on_without_jumps(explained: Fleet) -> None:
    whole = speed._plant(np.linspace(-1, 1, 100))
    assert np.array_equal(speed._plant(np.linspace(-1, 1, 100)[:60]), whole[:60])
    _, alarm = explained.update(*speed.block("explained", 10, 0))
    assert alarm[:10_000].mean() < 0.05, "it is healthy running that is timed"


def test_tables_show_what_is_unknown_as_a_dash() -> None:
    assert report.number(None) == report.number(float("nan")) == "-"
    assert report.number(float("inf")) == "never ends"
    assert report.number(1234.56, 1) == "1,234.6"
    section = report.Section("A", "b", [report.Table(["x", "y"], [["one", "2"]])])
    assert "| x   | y |\n|-----|--:|\n| one | 2 |\n" in report.markdown([section], "make it", [])


def test_without_data_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "benchmarks.md"
    names = ",".join(bench_models.ON_DATA)
    words = ["--sections", names, "--data", str(tmp_path), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["bench_models.py", *words])
    bench_models.main()
    text = out.read_text()
    for source in ("waico/SKAB", "numenta/NAB", "C-MAPSS", "tennessee-eastman", "AI4I 2020"):
        assert source in text
    assert "--data DIR" in text
    assert text in capsys.readouterr().out


def test_a_section_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_models.py", "--sections", "skab,nonsense"])
    with pytest.raises(SystemExit):
        bench_models.main()
