"""Row by row and in batches, as a model of river and with one inside: the same answers."""

import copy
import math
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from river import anomaly, base, checks, compose, preprocessing
from river import stream as river_stream

from contract.errors import Malformed
from models.fleet import Fleet
from models.online import MAX_SIGNALS, OnlineDetector, RiverFleet, Stream

Floats = NDArray[np.float64]
Row = dict[Any, Any]
SECOND = 10**9
WARMUP = 120


def signals(rows: int, d: int, seed: int = 0) -> Floats:
    """Noise that leans on the first signal, so that there is something to explain."""
    x = np.random.default_rng(seed).normal(size=(rows, d))
    x[:, 1:] += 2.0 * x[:, :1]
    return x


def as_dicts(x: Floats, times_s: Floats | None = None) -> list[Row]:
    when = np.arange(float(len(x))) if times_s is None else times_s
    return [
        {f"s{j}": v for j, v in enumerate(row)} | {"time": t}
        for row, t in zip(x.tolist(), when.tolist(), strict=True)
    ]


def walk(detector: Any, rows: list[Row]) -> list[float]:
    """Score first, learn afterwards."""
    scores = []
    for row in rows:
        scores.append(detector.score_one(row))
        detector.learn_one(row)
    return scores


@given(st.data())
@settings(max_examples=25)
def test_row_by_row_is_what_a_fleet_says_in_batches_of_any_size(data: st.DataObject) -> None:
    """To the last bit: any signals, gaps, doubled and late rows, machines and batches mixed."""
    d, machines = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    warmup, n = data.draw(st.sampled_from([30, 120])), 500
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x = signals(n, d, int(draw.integers(2**32)))
    x[draw.random(x.shape) < data.draw(st.sampled_from([0.0, 0.05, 0.4]))] = np.nan
    if data.draw(st.booleans()):
        x[:, -1] = 5.0
    x[400:] += data.draw(st.sampled_from([0.0, 8.0, 1e300]))
    which = draw.integers(0, machines, n)
    times_s = np.arange(n) - draw.integers(0, data.draw(st.integers(1, 4)), n)
    names = [f"s{j}" for j in range(d)]
    fleet, parts = Fleet(names, machines, warmup), []
    edges = np.sort(draw.integers(0, n, 5))
    for i, j in zip([0, *edges], [*edges, n], strict=True):
        parts.append(fleet.update(which[i:j], times_s[i:j] * SECOND, x[i:j]))
    score, alarm = (np.concatenate(part) for part in zip(*parts, strict=True))
    for m in range(machines):
        rows = as_dicts(x[which == m], times_s[which == m].astype(float))
        one = OnlineDetector(warmup)
        assert walk(one, rows) == score[which == m].tolist()
        if rows:
            assert one.alarm == alarm[which == m][-1]
        stream = Stream(names, warmup)
        answers = [stream.step(r["time"], v) for r, v in zip(rows, x[which == m], strict=True)]
        assert answers == list(zip(score[which == m], alarm[which == m], strict=True))


@pytest.mark.parametrize("d", [1, 4])
def test_looking_changes_nothing(d: int) -> None:
    rows = as_dicts(signals(400, d))
    plain, curious = OnlineDetector(WARMUP), OnlineDetector(WARMUP)
    walk(plain, rows[:300])
    for row in rows[:300]:
        curious.score_one({"s0": 1e9})
        curious.score_one(row)
        curious.score_one(rows[7])
        curious.learn_one(row)
    assert walk(plain, rows[300:]) == walk(curious, rows[300:])


def test_many_at_once_are_what_they_are_one_by_one() -> None:
    x = signals(500, 3)
    x[450:, 1] += 8.0
    one, many = OnlineDetector(WARMUP), OnlineDetector(WARMUP)
    expected = walk(one, as_dicts(x))
    got: list[float] = []
    for i, j in [(0, 100), (100, 130), (130, 131), (131, 131), (131, 500)]:
        part = {f"s{k}": x[i:j, k] for k in range(3)} | {"time": np.arange(i, j)}
        got.extend(many.score_many(part))
        many.learn_many(part)
    assert got == expected
    assert one.alarm
    assert many.alarm
    assert one.attribution() == many.attribution()
    assert one.score_one({"s0": 1.0}) == many.score_one({"s0": 1.0})


def test_the_order_of_keys_does_not_matter() -> None:
    rows = as_dicts(signals(300, 4))
    turned = [dict(reversed(row.items())) for row in rows]
    assert walk(OnlineDetector(WARMUP), rows) == walk(OnlineDetector(WARMUP), turned)


def test_keys_may_come_and_go() -> None:
    """Late in commissioning: watched. Later: ignored. Left out: missing. No key: still answered."""
    x = signals(600, 3)
    rows = as_dicts(x)
    for row in rows[:20]:
        del row["s1"]
    gappy = x.copy()
    gappy[:20, 1] = np.nan
    expected = Stream(["s0", "s1", "s2"], WARMUP).steps(np.arange(600.0).tolist(), gappy)[0]
    for row in rows[WARMUP:]:
        row["new"] = 1e9
    assert walk(OnlineDetector(WARMUP), rows) == expected.tolist()
    detector = OnlineDetector(WARMUP)
    walk(detector, rows[:400])
    odd: list[Row] = [{}, {"other": 3.0}, {"s0": None, "s1": "broken", "s2": [1.0]}, {7: 1.0}]
    for row in odd:
        assert math.isfinite(detector.score_one(row))
        detector.learn_one(row)


def test_strange_rows_in_commissioning_neither_break_it_nor_grow_without_end() -> None:
    detector = OnlineDetector(30)
    for i in range(100):
        detector.learn_one({})
        assert detector.score_one({"s0": 1.0}) == 0.0
        assert len(detector._early) < 30 or i < 30
    flooded = OnlineDetector(WARMUP)
    for i in range(WARMUP - 1):
        flooded.learn_one({f"key {i} {j}": 1.0 for j in range(50)})
    assert len(flooded._keys) == MAX_SIGNALS


def test_signals_may_be_named_in_advance() -> None:
    x = signals(300, 4)
    named = OnlineDetector(WARMUP, signals=["s2", "s0"])
    expected = Stream(["s2", "s0"], WARMUP).steps(np.arange(300.0).tolist(), x[:, [2, 0]])[0]
    assert walk(named, as_dicts(x)) == expected.tolist()


def test_time_may_be_a_datetime_or_left_out() -> None:
    x = signals(300, 3)
    rows = as_dicts(x)
    dated = [row | {"time": datetime.fromtimestamp(row["time"], UTC)} for row in rows]
    bare = [{k: v for k, v in row.items() if k != "time"} for row in rows]
    expected = walk(OnlineDetector(WARMUP), rows)
    assert walk(OnlineDetector(WARMUP), dated) == expected
    assert walk(OnlineDetector(WARMUP), bare) == expected


@pytest.mark.parametrize("cut", [50, 200])
def test_a_copy_or_a_pickle_goes_on_exactly(cut: int) -> None:
    rows = as_dicts(signals(300, 3))
    detector = OnlineDetector(WARMUP)
    walk(detector, rows[:cut])
    detector.score_one(rows[cut])
    others = [copy.deepcopy(detector), pickle.loads(pickle.dumps(detector))]  # noqa: S301 - its own
    expected = walk(detector, rows[cut:])
    assert [walk(other, rows[cut:]) for other in others] == [expected, expected]


def test_river_takes_it_for_one_of_its_own() -> None:
    detector = OnlineDetector(WARMUP, time="t")
    assert isinstance(detector, base.AnomalyDetector)
    clone = detector.clone()
    assert (clone.warmup, clone.time, clone.signals) == (WARMUP, "t", None)
    pipeline = compose.Select("s0", "s1", "time") | OnlineDetector(WARMUP)
    rows = as_dicts(signals(300, 4))
    chosen = [{k: row[k] for k in ("s0", "s1", "time")} for row in rows]
    assert walk(pipeline, rows) == walk(OnlineDetector(WARMUP), chosen)
    x = signals(300, 4)
    for row, _ in river_stream.iter_array(x, np.zeros(300), ["a", "b", "c", "d"]):
        detector.learn_one(row)
    assert detector.score_one({"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0}) > 0


def test_rivers_own_checks_of_estimators_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [({k: v for k, v in row.items() if k != "time"}, 0) for row in as_dicts(signals(150, 3))]
    monkeypatch.setattr(checks, "_yield_datasets", lambda *_, **__: [rows])
    done = []
    for check in checks.yield_checks(OnlineDetector(60)):
        if check.__name__ != "check_roc_auc":  # needs scikit-learn
            check(OnlineDetector(60))
            done.append(check.__name__)
    assert {"check_pickling", "check_learn_one"} <= set(done)


def test_without_river_it_works_as_well() -> None:
    program = (
        "import sys; sys.modules['river'] = None\n"
        "from models.online import OnlineDetector\n"
        "d = OnlineDetector(30)\n"
        "for i in range(100): d.score_one({'a': i % 7, 'b': i % 5}); d.learn_one({'a': i % 7})\n"
        "print(type(d).__mro__[1].__module__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "models.online"


def test_streams_take_any_warmup_and_time() -> None:
    x = signals(200, 3)
    for warmup in (0, 29, 30):
        scores, _ = Stream(["a", "b", "c"], warmup).steps(np.arange(200.0).tolist(), x)
        assert not scores[:30].any()
        assert scores[30:].all()
    stream = Stream(["a", "b", "c"], 30)
    stream.steps(np.arange(100.0).tolist(), x[:100])
    last = stream.step(100.0, x[100])
    assert stream.step(math.nan, x[101]) == stream.step(math.inf, x[102]) == last
    assert stream.step(101.0, x[101]) != last
    with pytest.raises(ValueError, match="3 signals"):
        stream.step(102.0, [1.0, 2.0])
    with pytest.raises(Malformed):
        Stream([], 30)


def half_space_trees() -> Any:
    trees = anomaly.HalfSpaceTrees(n_trees=10, height=8, window_size=250, seed=1)
    return preprocessing.MinMaxScaler() | trees


MODELS: dict[str, Callable[[], Any]] = {
    "half-space trees": half_space_trees,
    "gaussian": lambda: preprocessing.StandardScaler() | anomaly.OneClassSVM(nu=0.1),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_river_model_watches_where_a_fleet_would(name: str) -> None:
    names = ["s0", "s1", "s2"]
    x = signals(1600, 3)
    x[1500:] *= 6.0
    x[700:720, 1] = np.nan
    fleet = RiverFleet(MODELS[name], names, 2, 600)
    which = np.tile([0, 1], 1600)
    both = np.repeat(x, 2, axis=0)
    score, alarm = fleet.update(which, np.arange(3200), both)
    assert not score[:1200].any()
    assert alarm[1200:3000].mean() < 0.03
    assert alarm[3000:].mean() > 0.05
    assert np.array_equal(score[::2], score[1::2])
    single = []
    stream = Stream(names, 600, RiverFleet(MODELS[name], names, 1, 600))
    for i, row in enumerate(x):
        single.append(stream.step(float(i), row))
    assert single == list(zip(score[::2], alarm[::2], strict=True))


def test_a_river_model_that_says_nothing_for_long_is_judged_when_it_does() -> None:
    """Half-space trees are silent for their first window; no score is not a low alarm level."""
    x = signals(600, 3)
    score, alarm = RiverFleet(half_space_trees, ["a", "b", "c"], 1, 100).update(
        np.zeros(600, np.int64), np.arange(600), x
    )
    assert not score[:250].any()
    assert score[300:].all()
    assert alarm.mean() < 0.5
    with pytest.raises(ValueError, match="3 signals"):
        RiverFleet(half_space_trees, ["a", "b", "c"], 1, 100).update([0], [0], [[1.0]])


def test_row_by_row_is_no_slower_than_half_space_trees() -> None:
    rows = as_dicts(signals(2600, 8))
    ours, theirs = OnlineDetector(WARMUP), half_space_trees()
    walk(ours, rows[:600])
    walk(theirs, rows[:600])
    ratios = []
    for i in range(600, 2600, 100):  # turn by turn, so that a busy machine slows both
        began = time.process_time()
        walk(ours, rows[i : i + 100])
        middle = time.process_time()
        walk(theirs, rows[i : i + 100])
        ratios.append((middle - began) / (time.process_time() - middle))
    assert np.median(ratios) < 1.0
