"""What is measured, and what it is measured against: each a function over one whole stream.

All of them are strictly online (score first, learn afterwards); a stream is handed over at once
only to save calls. The warm-up rows are healthy and not judged.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from river import anomaly, preprocessing

from models.online import Stream
from tests.bench.metrics import Array, Flags

Detector = Callable[[list[str], int, Array, Array], tuple[Array, Flags]]
"""Columns, warm-up rows, times in seconds (n,), rows (n, d) -> scores (n,), alarms (n,)."""

MEDIAN_ROWS = 5
"""River's detectors give no alarms. Theirs is raised while the median of so many scores is above
the highest such median of the second half of the warm-up: no labels, no future."""


def farfix(columns: list[str], warmup: int, times_s: Array, rows: Array) -> tuple[Array, Flags]:
    """Run the detector as shipped."""
    return Stream(columns, warmup).steps(times_s.tolist(), rows)


def always(columns: list[str], warmup: int, times_s: Array, rows: Array) -> tuple[Array, Flags]:
    """Alarm on every row."""
    return np.ones(len(rows)), np.ones(len(rows), bool)


def chance(rate: float, seed: int = 0) -> Detector:
    """Return a detector that rolls a die on every row and alarms on this share of them."""
    rng = np.random.default_rng(seed)

    def roll(columns: list[str], warmup: int, times_s: Array, rows: Array) -> tuple[Array, Flags]:
        score = rng.random(len(rows))
        return score, score > 1.0 - rate

    return roll


def stopwatch(first: int, end: int) -> Detector:
    """Return a detector that alarms from one row to before another, whatever it reads."""

    def watch(columns: list[str], warmup: int, times_s: Array, rows: Array) -> tuple[Array, Flags]:
        on = np.zeros(len(rows), bool)
        on[first:end] = True
        return on.astype(float), on

    return watch


def river_trees() -> tuple[Any, Any]:
    """Return river's scaler and HalfSpaceTrees; Any because river's methods have no types."""
    trees = anomaly.HalfSpaceTrees(n_trees=10, height=8, window_size=250, seed=42)
    return preprocessing.MinMaxScaler(), trees


def half_space_trees(
    columns: list[str], warmup: int, times_s: Array, rows: Array
) -> tuple[Array, Flags]:
    """Run river's HalfSpaceTrees; missing values are held, for it cannot do without."""
    scaler, model = river_trees()
    scores = np.zeros(len(rows))
    x = dict.fromkeys(columns, 0.0)
    for i, row in enumerate(rows.tolist()):
        x.update((c, v) for c, v in zip(columns, row, strict=True) if v - v == 0)
        scaler.learn_one(x)
        scaled = scaler.transform_one(x)
        scores[i] = model.score_one(scaled)
        model.learn_one(scaled)
    return _alarmed(scores, warmup)


def _alarmed(scores: Array, warmup: int) -> tuple[Array, Flags]:
    recent: deque[float] = deque(maxlen=MEDIAN_ROWS)
    smooth = np.zeros(len(scores))
    for i, score in enumerate(scores.tolist()):
        recent.append(score)
        smooth[i] = sorted(recent)[len(recent) // 2]
    alarm = smooth > smooth[warmup // 2 : warmup].max(initial=0.0)
    alarm[:warmup] = False
    return smooth, alarm
