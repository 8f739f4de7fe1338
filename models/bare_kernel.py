"""The compiled part of `models.bare` before and after its detector and checks.

All that numba compiles together stands in this one file, because its cache looks at no other.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.checks_kernel import Counts, Floats, Grades, Marks
from models.prefetch import EARLY, LINE, ask

Flags = NDArray[np.bool_]

GOOD, BROKEN = 0, 2
"""`contract.telemetry.Quality.GOOD` and ``BAD`` as the wire has them."""
COMMISSIONING, HEALTHY, ALARM, UNJUDGED = range(4)
"""Places in ``tuple(models.monitor.State)``."""
_GREATEST = 1e300
"""Beyond it a value is a broken word of the wire."""


@njit(cache=True, error_model="numpy")
def take(  # noqa: PLR0917  # jitted: arrays one by one
    values: Floats, quality: Marks, columns: Counts, low: Floats, high: Floats, margin: Floats,
    raw: Floats, usable: Floats, grade: Grades,
) -> None:  # fmt: skip
    """Take the checked signals out of rows; see `models.sample.Sample` for what they become.

    Args:
        values: all signals of the type, (n, k).
        quality: marks from the wire, (n, k).
        columns: where the checked signals are, (c,).
        low: of plausible values, (c,).
        high: of plausible values, (c,).
        margin: by which noise may go beyond them.
        raw: where the values go, NaN where there is none, (n, c).
        usable: where they go unless they are of doubtful quality or not plausible.
        grade: 1 if bad, -1 if usable, 0 if neither.
    """
    for i in range(values.shape[0]):
        for j in range(columns.size):
            value, mark = values[i, columns[j]], quality[i, columns[j]]
            if not -_GREATEST < value < _GREATEST:
                value = np.nan
            raw[i, j], usable[i, j], grade[i, j] = value, np.nan, 0
            if mark == GOOD and low[j] <= value <= high[j]:
                usable[i, j], grade[i, j] = value, -1
            elif mark == BROKEN or value < low[j] - margin[j] or value > high[j] + margin[j]:
                grade[i, j] = 1


@njit(cache=True, error_model="numpy")
def conclude(  # noqa: PLR0917  # jitted: arrays one by one
    which: Counts, times_ns: Counts, raw: Floats, usable: Floats, values_quality: Marks,
    columns: Counts, fresh: Flags, learning: Flags, alarm: Flags, failing: Marks, score: Floats,
    state: Marks, newest_ns: Counts, newest_score: Floats, newest_state: Marks, newest_raw: Floats,
    newest_quality: Marks,
) -> None:  # fmt: skip
    """Turn what detector and checks say into each row's score and state, and keep the newest."""
    for i in range(which.size):
        if i + EARLY < which.size:
            ask(newest_raw, which[i + EARLY], 0)
            ask(newest_raw, which[i + EARLY], LINE)
            ask(newest_quality, which[i + EARLY], 0)
        m = which[i]
        judged = False
        for j in range(raw.shape[1]):
            judged |= not math.isnan(usable[i, j])
            newest_raw[m, j] = raw[i, j]
            newest_quality[m, j] = values_quality[i, columns[j]]
        judged &= fresh[i] and not learning[m]
        if not judged:
            score[i] = np.nan
        if failing[i] or (fresh[i] and alarm[i]):
            state[i] = ALARM
        elif learning[m]:
            state[i] = COMMISSIONING
        else:
            state[i] = HEALTHY if judged else UNJUDGED
        newest_ns[m], newest_score[m], newest_state[m] = times_ns[i], score[i], state[i]
