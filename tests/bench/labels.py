"""Learning from labels: AI4I 2020 (UCI), 10,000 products of a milling machine, 3.4 % failures.

Prequential: each row is answered before its label is learned. All learners get the inputs of the
set and what a technician would name beside them: power = torque x speed, heat = difference of the
temperatures, strain = wear x torque.
"""

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import forest as river_forest
from river import linear_model, optim, preprocessing

from models import forest
from models.forest import Combination
from tests.bench import metrics
from tests.bench.metrics import Array
from tests.bench.report import Options, Panel, Section, Table, number, say

SKIPPED_ROWS = 500
"""Answers to the first rows are not judged: nothing is known yet."""
HOW = "the CSV of the UCI set AI4I 2020 Predictive Maintenance in `DIR/ai4i`"
NUMBERS = (
    "Air temperature [K]", "Process temperature [K]", "Rotational speed [rpm]", "Torque [Nm]",
    "Tool wear [min]",
)  # fmt: skip
PHYSICS = [
    Combination("product", 3, 2), Combination("difference", 1, 0), Combination("product", 4, 3),
]  # fmt: skip
Learner = Callable[[Array, NDArray[np.int64]], Array]


def load(folder: Path) -> tuple[Array, NDArray[np.int64]]:
    """Return inputs with physics (n, 10) and labels (n,)."""
    with next(folder.glob("*.csv")).open(newline="", encoding="utf-8-sig") as file:
        lines = list(csv.DictReader(file))
    rows = np.array(
        [[*(float(x[c]) for c in NUMBERS), x["Type"] == "L", x["Type"] == "M"] for x in lines]
    )
    failed = np.array([int(line["Machine failure"]) for line in lines], np.int64)
    return forest.combined(rows.astype(float), PHYSICS), failed


def farfix(rows: Array, labels: NDArray[np.int64]) -> Array:
    """Answer with the shipped forest."""
    state = forest.empty(rows.shape[1], 2)
    answers: Array = forest.score_then_learn(state, rows, labels)[:, 1]
    return answers


def of_river(make: Callable[[], Any]) -> Learner:
    """Return a learner around a classifier of river."""

    def run(rows: Array, labels: NDArray[np.int64]) -> Array:
        model, answers = make(), np.zeros(len(rows))
        for i, (row, label) in enumerate(zip(rows.tolist(), labels.tolist(), strict=True)):
            x = dict(enumerate(row))
            answers[i] = model.predict_proba_one(x).get(True, 0.0)
            model.learn_one(x, bool(label))
        return answers

    return run


def random(rows: Array, labels: NDArray[np.int64]) -> Array:
    """Roll dice."""
    return np.random.default_rng(0).random(len(rows))


def always(rows: Array, labels: NDArray[np.int64]) -> Array:
    """Give everything the same answer."""
    return np.ones(len(rows))


def measure(learner: Learner, rows: Array, labels: NDArray[np.int64]) -> tuple[float, float, float]:
    """Return AUC-PR, AUC-ROC and rows per second of CPU time."""
    start = time.thread_time()
    answers = learner(rows, labels)
    seconds = time.thread_time() - start
    truth, judged = labels[SKIPPED_ROWS:] > 0, answers[SKIPPED_ROWS:]
    speed = len(rows) / max(seconds, 1e-9)
    return metrics.auc_pr(truth, judged), metrics.auc_roc(truth, judged), speed


def section(options: Options, data: Path) -> Section:
    """Measure learners on AI4I."""
    rows, labels = load(data / "ai4i")
    farfix(rows[:2], labels[:2])  # compiles
    learners: dict[str, Learner] = {
        "**Farfix forest**": farfix,
        "always failure": always,
        "random": random,
        "river logistic regression": of_river(
            lambda: (
                preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.05))
            )
        ),
        "river AMF (10 trees)": of_river(
            lambda: river_forest.AMFClassifier(n_estimators=10, seed=1, use_aggregation=True)
        ),
    }
    lines, bars = [], []
    for name, learner in learners.items():
        say(f"AI4I: {name}")
        pr, roc, speed = measure(learner, rows, labels)
        told = "-" if learner in {always, random} else number(speed)
        lines.append([name, number(pr, 3), number(roc, 3), told])
        bars.append((name.strip("*"), pr))
    return Section(
        "AI4I: learning from labels",
        f"{len(rows):,} rows, {int(labels.sum())} failures; each row is answered, then its label "
        f"learned; the first {SKIPPED_ROWS} answers are not judged.",
        [Table(["", "AUC-PR", "AUC-ROC", "rows/s"], lines)],
        [Panel("AI4I: AUC-PR", bars, 1.0)],
    )
