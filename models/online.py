"""Detectors row by row: one stream of rows, as programs and as users of river know them.

`Stream` is the shipped detector for one machine: rows in, score and alarm out.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from models.commission import LEAST_ROWS
from models.factors import Array
from models.fleet import MAX_WARMUP, Flags, Fleet

_MOST_S = 9e9
"""Times further from 1970 than this, in seconds, do not fit 64 bits of nanoseconds."""


def commissioning_rows(warmup: int) -> int:
    """Return how many rows are learned from if the first ``warmup`` shall not be judged."""
    return min(max(warmup, LEAST_ROWS), MAX_WARMUP)


class Stream:
    """One machine's detector.

    Several signals are checked against each other; a lone one has nothing to be checked against,
    so only what is new in it is told (`models.fleet`).
    """

    def __init__(self, columns: Sequence[str], warmup: int) -> None:
        """Make a detector that knows nothing yet.

        Args:
            columns: names of the signals, in order.
            warmup: leading rows to learn from. Below 30 nothing can be judged, so it learns from
                30; more than 200,000 are not kept, so it judges early.

        Raises:
            Malformed: no columns.
        """
        self._fleet = Fleet(columns, 1, commissioning_rows(warmup))
        self._last_ns = 0

    def step(self, time_s: float, row: ArrayLike) -> tuple[float, bool]:
        """Judge a row, then learn it.

        Args:
            time_s: event time in seconds. One that is not finite counts as the last one, so the
                row is not judged.
            row: the signals (d,), NaN where missing.

        Returns:
            Score, 1 is the alarm level, and whether there is an alarm.

        Raises:
            ValueError: not as many values as signals.
        """
        score, alarm = self.steps([time_s], np.asarray(row, np.float64)[None])
        return float(score[0]), bool(alarm[0])

    def steps(self, times_s: Sequence[float], rows: ArrayLike) -> tuple[Array, Flags]:
        """Judge rows (n, d) in their order, each as `step` does."""
        times_ns = np.array([self._nanoseconds(t) for t in times_s], np.int64)
        return self._fleet.update(np.zeros(len(times_ns), np.int64), times_ns, rows)

    def _nanoseconds(self, time_s: float) -> int:
        if math.isfinite(time_s):
            self._last_ns = round(max(-_MOST_S, min(_MOST_S, time_s)) * 1e9)
        return self._last_ns
