"""The forest learns sharp and rare classes quickly, in bounded memory, and takes any input."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from msgspec import Struct

from contract.errors import Malformed
from models import artefact, forest
from models.forest import Combination, Forest
from models.tree import Floats, Ints

TORQUE, SPEED, WEAR, GRADE = range(4)


def machining(n: int, seed: int) -> tuple[Floats, Ints]:
    """Products of a lathe: too much or too little power fails, so does a strained worn tool."""
    rng = np.random.default_rng(seed)
    torque = rng.normal(40, 10, n).clip(5)
    speed = 1500 * (40 / torque) ** 0.4 * np.exp(rng.normal(0, 0.04, n))
    wear = (np.arange(n) * 2.3) % 225
    grade = rng.integers(0, 3, n)
    power = torque * speed
    strained = wear * torque > 10_500 + 900 * grade
    failed = (power > 83_000) | (power < 38_000) | strained | (rng.random(n) < 0.001)
    rows = np.column_stack([torque, speed, wear, grade]).astype(np.float64)
    return rows, failed.astype(np.int64)


POWER_AND_STRAIN = [
    Combination("product", TORQUE, SPEED),
    Combination("product", WEAR, TORQUE),
]


def average_precision(label: Ints, score: Floats) -> float:
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(label[order])
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    recall = np.concatenate([[0.0], hits[last] / hits[-1]])
    return float((np.diff(recall) * hits[last] / (last + 1)).sum())


def test_sharp_limits_are_learnt_from_few_failures() -> None:
    rows, failed = machining(4000, seed=1)
    rows = forest.combined(rows, POWER_AND_STRAIN)
    answers = forest.score_then_learn(forest.empty(rows.shape[1], 2), rows, failed)[:, 1]
    chance = failed[500:].mean()
    assert chance < 0.05
    assert average_precision(failed[500:], answers[500:]) > 0.8


def test_physics_features_make_limits_learnable() -> None:
    rows, failed = machining(3000, seed=2)
    plain = forest.score_then_learn(forest.empty(4, 2), rows, failed)[500:, 1]
    wide = forest.combined(rows, POWER_AND_STRAIN)
    physics = forest.score_then_learn(forest.empty(6, 2), wide, failed)[500:, 1]
    gain = average_precision(failed[500:], physics) - average_precision(failed[500:], plain)
    assert gain > 0.03


def test_scoring_in_one_go_equals_row_by_row() -> None:
    rows, failed = machining(700, seed=3)
    together, single = forest.empty(4, 2), forest.empty(4, 2)
    answers = forest.score_then_learn(together, rows, failed)
    for row, label, answer in zip(rows, failed, answers, strict=True):
        assert np.array_equal(forest.probabilities(single, row), answer)
        forest.learn(single, row, label)
    for name in Forest._fields:
        assert np.array_equal(getattr(together, name), getattr(single, name)), name


def test_units_do_not_matter() -> None:
    rows, failed = machining(1200, seed=4)
    answers = forest.score_then_learn(forest.empty(4, 2), rows, failed)
    other_units = rows * np.array([0.5, 2.0, 1024.0, 4.0])  # powers of two: no rounding
    assert np.array_equal(forest.score_then_learn(forest.empty(4, 2), other_units, failed), answers)


def test_classes_may_appear_late_and_rare_ones_are_kept() -> None:
    rng = np.random.default_rng(5)
    rows, labels = rng.normal(size=(3000, 2)), np.zeros(3000, dtype=np.int64)
    rare = np.arange(50, 3000, 300)
    rows[rare, 0] += 20
    labels[rare] = 1
    rows[2900:, 1] += 20
    labels[2900:] = 2
    state = forest.empty(2, 4, capacity=256)
    forest.score_then_learn(state, rows, labels)
    assert state.kept.sum() == 256
    assert state.kept[1] == len(rare)
    for row, label in (((0.0, 0.0), 0), ((20.0, 0.0), 1), ((0.0, 20.0), 2)):
        answer = forest.probabilities(state, np.array(row))
        assert answer.argmax() == label
        assert answer[label] > 0.6
        assert answer.sum() == pytest.approx(1.0)


def test_a_missing_value_is_a_value_of_its_own() -> None:
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(400, 2))
    labels = (rng.random(400) < 0.3).astype(np.int64)
    rows[labels == 1, 0] = np.nan
    state = forest.empty(2, 2)
    forest.score_then_learn(state, rows, labels)
    assert forest.probabilities(state, np.array([np.nan, 0.0]))[1] > 0.9
    assert forest.probabilities(state, np.array([-1e9, 0.0]))[1] < 0.1


def test_the_order_of_kept_examples_stays_sorted_when_full() -> None:
    rows, failed = machining(900, seed=7)
    state = forest.empty(4, 2, capacity=128)
    forest.score_then_learn(state, rows, failed)
    for values, order in zip(state.values, state.order, strict=True):
        assert np.array_equal(np.sort(order), np.arange(128))
        assert (np.diff(values[order]) >= 0).all()
    assert np.array_equal(np.bincount(state.labels, minlength=2), state.kept)


def test_shapes_that_do_not_fit_are_refused() -> None:
    state = forest.empty(2, 2)
    with pytest.raises(ValueError, match="as many inputs"):
        forest.probabilities(state, np.zeros(1))
    with pytest.raises(ValueError, match="as many inputs"):
        forest.score_then_learn(state, np.zeros((2, 2)), np.zeros(1, dtype=np.int64))
    with pytest.raises(ValueError, match="needs inputs"):
        forest.empty(0, 2)


def test_a_forest_out_of_nodes_still_answers() -> None:
    rng = np.random.default_rng(9)
    rows, labels = rng.normal(size=(3000, 2)), rng.integers(0, 2, 3000)
    answers = forest.score_then_learn(forest.empty(2, 2), rows, labels)
    assert np.isfinite(answers).all()
    assert 0.4 < answers[1500:, 1].mean() < 0.6


ANY = st.floats(width=64) | st.sampled_from([0.0, 1.0, 1e308, 5e-324])


@settings(max_examples=40)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(0, 60), st.just(3)), elements=ANY),
    st.lists(st.integers(-2, 4), min_size=60, max_size=60),
)
def test_any_input_gets_a_probability(rows: Floats, labels: list[int]) -> None:
    state = forest.empty(3, 3, capacity=32, trees=4)
    given_labels = np.array(labels[: len(rows)], dtype=np.int64)
    answers = forest.score_then_learn(state, rows, given_labels)
    assert np.isfinite(answers).all()
    assert (answers >= 0).all()
    assert np.allclose(answers.sum(axis=1), 1.0)
    assert state.kept.sum() <= 32
    known = given_labels[(given_labels >= 0) & (given_labels < 3)]
    assert np.array_equal(state.seen, np.bincount(known, minlength=3))


def test_combinations_leave_no_value_where_there_is_none() -> None:
    rows = np.array([[6.0, 3.0], [1.0, 0.0], [np.nan, 2.0]])
    every = [Combination(kind, 0, 1) for kind in ("product", "difference", "ratio")]
    wide = forest.combined(rows, every)
    assert wide[0].tolist() == [6.0, 3.0, 18.0, 3.0, 2.0]
    assert np.isnan(wide[1, 4])
    assert np.isnan(wide[2, 2:]).all()
    with pytest.raises(ValueError, match="no combination 'sum'"):
        forest.combined(rows, [Combination("sum", 0, 1)])


class Saved(Struct):
    """What a program would keep."""

    forest: Forest


def test_a_saved_forest_goes_on_exactly() -> None:
    rows, failed = machining(900, seed=8)
    state = forest.empty(4, 2)
    forest.score_then_learn(state, rows[:600], failed[:600])
    data = artefact.pack(Saved(state), [["torque"]])
    again = artefact.unpack(data, Saved, [["torque"]]).forest
    assert np.array_equal(
        forest.score_then_learn(state, rows[600:], failed[600:]),
        forest.score_then_learn(again, rows[600:], failed[600:]),
    )
    with pytest.raises(Malformed):
        artefact.unpack(data, Saved, [["speed"]])


def test_recorded_failures_are_ranked_as_promised() -> None:
    folder = os.environ.get("FARFIX_DATA")
    if not folder:
        pytest.skip("FARFIX_DATA names no folder with recorded data")
    lines = next((Path(folder) / "ai4i").glob("*.csv")).read_text(encoding="utf-8-sig").splitlines()
    cells = [line.split(",") for line in lines[1:]]
    grade = [[c[2] == "L", c[2] == "M"] for c in cells]
    rows = np.column_stack([[[float(v) for v in c[3:8]] for c in cells], grade])
    physics = [
        Combination("product", 2, 3),
        Combination("difference", 1, 0),
        Combination("product", 4, 3),
    ]
    rows = forest.combined(rows, physics)
    failed = np.array([int(c[8]) for c in cells])
    answers = forest.score_then_learn(forest.empty(rows.shape[1], 2), rows, failed)[:, 1]
    assert average_precision(failed[500:], answers[500:]) > 0.88
