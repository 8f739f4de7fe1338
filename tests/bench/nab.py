"""NAB v1.1 (numenta/NAB): own implementation of the published scoring.

Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms" (ICMLA 2015). The first alarm
in a window earns up to 1, the earlier the more; a missed window costs 1 (2 where misses weigh
double); every false row costs up to 0.11 (0.22), less just after a window. 0 is a detector that
never speaks, 100 a perfect one. The board sets one threshold per profile for the whole corpus with
the labels in hand; *own alarm* is what a detector says by itself. The first 15 % of a file, at most
750 rows, are not scored.
"""

import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.bench import detectors
from tests.bench.detectors import Detector
from tests.bench.metrics import Array, Flags
from tests.bench.report import Options, Panel, Section, Table, number, say

PROFILES = {"standard": (0.11, 1.0), "low FP": (0.22, 1.0), "low FN": (0.11, 2.0)}
"""What a false row and a missed window cost, of config/profiles.json."""
PROBATION, PROBATION_ROWS = 0.15, 750
FAR_AFTER = 3.0
"""So many window lengths after a window a false row costs in full."""
RANDOM_RATE = 1 / 1000
"""The random detector alarms about as often as NAB has windows."""
HOW = "`data`, `labels` of numenta/NAB in `DIR/nab`"
BOARD = [
    ("ARTime", 74.9, 65.1, 80.4),
    ("Numenta HTM (best run)", 70.5, 62.6, 75.2),
    ("CAD OSE", 69.9, 67.0, 73.2),
    ("KNN-CAD", 58.0, 43.4, 64.8),
    ("Random cut forest", 51.7, 38.4, 59.7),
]
"""Standard, low FP, low FN: scoreboard in the README of numenta/NAB."""


class Metric(NamedTuple):
    """One file; windows are first row and row after the last."""

    times_s: Array
    values: Array
    windows: list[tuple[int, int]]


class Scored(NamedTuple):
    """All judged rows of the corpus, of one detector."""

    score: Array
    value: Array
    """What an alarm is worth here."""
    window: NDArray[np.int64]
    """Number of the window a row lies in, or -1."""
    windows: int


def load(folder: Path) -> list[Metric]:
    """Read all files that are there."""
    labels: dict[str, list[list[str]]] = json.loads(
        (folder / "labels" / "combined_windows.json").read_text()
    )
    metrics = []
    for name, spans in sorted(labels.items()):
        path = folder / "data" / name
        if not path.exists():
            continue
        with path.open(newline="") as file:
            _, *lines = csv.reader(file)
        times = np.array([line[0] for line in lines], "datetime64[us]")
        windows = []
        for first, last in np.array(spans, "datetime64[us]").reshape(-1, 2):
            here = np.flatnonzero((times >= first) & (times <= last))
            windows.append((int(here[0]), int(here[-1]) + 1))
        seconds = (times - times[0]) / np.timedelta64(1, "s")
        metrics.append(Metric(seconds, np.array([float(line[1]) for line in lines]), windows))
    return metrics


def probation(rows: int) -> int:
    """Return how many leading rows are not judged."""
    return min(int(PROBATION * rows), PROBATION_ROWS)


def sigmoid(position: Array) -> Array:
    """Return the worth of an alarm; -1 is the window's first row, 0 its end."""
    safe = np.minimum(position, FAR_AFTER)
    return np.where(position > FAR_AFTER, -1.0, 2.0 / (1.0 + np.exp(5.0 * safe)) - 1.0)


def worth(rows: int, windows: list[tuple[int, int]]) -> tuple[Array, NDArray[np.int64]]:
    """Return what an alarm is worth at each row, and each row's window (-1: none)."""
    value, window = np.full(rows, -1.0), np.full(rows, -1, np.int64)
    for k, (a, b) in enumerate(windows):
        until = windows[k + 1][0] if k + 1 < len(windows) else rows
        value[b:until] = sigmoid((np.arange(b, until) - (b - 1)) / max(b - a - 1.0, 1.0))
        value[a:b] = sigmoid(-(b - np.arange(a, b)) / (b - a)) / sigmoid(np.array(-1.0))
        window[a:b] = k
    return value, window


def scored(metrics: list[Metric], scores: list[Array]) -> Scored:
    """Put all judged rows together."""
    parts, count = [], 0
    for m, score in zip(metrics, scores, strict=True):
        value, window = worth(len(score), m.windows)
        window = np.where(window >= 0, window + count, -1)
        count += len(m.windows)
        start = probation(len(score))
        parts.append((score[start:], value[start:], window[start:]))
    score, value, window = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Scored(score, value, window, count)


def best(s: Scored, false_cost: float, miss_cost: float) -> float:
    """Return the score at the best of all thresholds, chosen with the labels."""
    order = np.argsort(-s.score, kind="stable")
    score, value, window = s.score[order], s.value[order], s.window[order]
    gain = np.where(window < 0, value * false_cost, 0.0)
    earned: dict[int, float] = {}
    for i in np.flatnonzero(window >= 0).tolist():  # the earliest alarm counts: the most worth
        k, now = int(window[i]), float(value[i])
        before = earned.get(k, -miss_cost)
        gain[i] = max(now - before, 0.0)
        earned[k] = max(now, before)
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    return _normal(max(float(np.cumsum(gain)[last].max()), 0.0), s.windows, miss_cost)


def own(s: Scored, alarm: Flags, false_cost: float, miss_cost: float) -> float:
    """Return the score of a detector's own alarms."""
    total = float(s.value[alarm & (s.window < 0)].sum()) * false_cost
    for k in np.unique(s.window[alarm & (s.window >= 0)]):
        total += float(s.value[alarm & (s.window == k)].max()) + miss_cost
    return _normal(total, s.windows, miss_cost)


def _normal(above_silence: float, windows: int, miss_cost: float) -> float:
    return 100.0 * above_silence / (windows * (1.0 + miss_cost))


def measure(metrics: list[Metric], detector: Detector) -> list[float]:
    """Return best per profile, own alarm (standard), windows hit and false rows by own alarm."""
    outputs = [
        detector(["value"], probation(len(m.values)), m.times_s, m.values[:, None]) for m in metrics
    ]
    table = scored(metrics, [np.nan_to_num(o[0]) for o in outputs])
    alarm = scored(metrics, [o[1].astype(float) for o in outputs]).score > 0
    hit = len(np.unique(table.window[alarm & (table.window >= 0)]))
    return [
        *(best(table, *costs) for costs in PROFILES.values()),
        own(table, alarm, *PROFILES["standard"]),
        hit,
        int((alarm & (table.window < 0)).sum()),
    ]


def section(options: Options, data: Path) -> Section:
    """Measure everything on NAB."""
    metrics = load(data / "nab")
    windows, length = sum(len(m.windows) for m in metrics), sum(len(m.values) for m in metrics)
    candidates: dict[str, Detector] = {
        "**Farfix**": detectors.farfix,
        "always alarm": detectors.always,
        f"random, one row in {1 / RANDOM_RATE:.0f}": detectors.chance(RANDOM_RATE),
        "river HalfSpaceTrees": detectors.half_space_trees,
    }
    rows, bars = [], []
    for name, detector in candidates.items():
        if options.quick and detector is detectors.half_space_trees:
            continue
        say(f"NAB: {name}")
        *profiles, alarm, hit, false = measure(metrics, detector)
        rows.append([name, *(number(p, 1) for p in profiles), number(alarm, 1),
                     f"{hit} of {windows}", number(false)])  # fmt: skip
        bars.append((name.strip("*"), profiles[0]))
    rows += [[f"{n} (published)", *(number(v, 1) for v in v3), "-", "-", "-"] for n, *v3 in BOARD]
    bars.append((f"best published ({BOARD[0][0]})", BOARD[0][1]))
    return Section(
        "NAB: lone signals",
        f"{len(metrics)} of its 58 files with {windows} windows, {length:,} rows. As the "
        "board does, one threshold per profile is chosen with the labels; *own alarm* is the "
        "detector's own word (standard profile), without any. Published: all 58 files.",
        [Table(
            ["", *PROFILES, "own alarm", "windows hit", "false rows"], rows,
            "Windows hit and false rows are of the own alarm.",
        )],
        [Panel("NAB: standard profile", bars, 100.0)],
    )  # fmt: skip
