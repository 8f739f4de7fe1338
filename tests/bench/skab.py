"""SKAB (waico/SKAB, v0.9): the official outlier protocol.

Per file rows 0-399 are for learning, rows from 400 are scored, the confusion matrix is pooled over
the files. Beside the files as they are, a detector gets them with a random number of leading rows
cut off and the sensors shuffled, renamed, rescaled, shifted and partly negated: it must depend
neither on names and units nor on where in the file the fault begins.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.bench import detectors, metrics
from tests.bench.detectors import Detector
from tests.bench.metrics import Array, Flags
from tests.bench.report import Options, Panel, Row, Section, Table, number, say

HEAD_ROWS = 400
CUT_ROWS = 200
"""At most half of the head is cut."""
HOW = "the files of waico/SKAB (`data/valve1`, `valve2`, `other`) in `DIR/skab`"
NOT_SIGNALS = ("datetime", "anomaly", "changepoint")
BOARD = [
    ("Conv-AE", 0.78, 13.55, 28.02),
    ("MSET (looks 30 s ahead)", 0.78, 39.73, 14.13),
    ("T2+Q (PCA)", 0.76, 26.62, 24.92),
    ("LSTM-AE", 0.74, 29.96, 25.92),
    ("T2", 0.66, 19.21, 42.60),
    ("Isolation forest", 0.29, 2.56, 82.89),
]
"""F1, FAR %, MAR %: "Proposed Leaderboard" in the README of waico/SKAB."""


class Recording(NamedTuple):
    """One file."""

    columns: list[str]
    times_s: Array
    rows: Array
    anomaly: Flags


class Figures(NamedTuple):
    """What a detector did over all files."""

    f1: float
    far_pct: float
    mar_pct: float
    found: float
    faults: int
    false_episodes: float
    normal_h: float
    delay_s: float


def load(folder: Path) -> list[Recording]:
    """Read all files with labels."""
    return [r for r in map(read, sorted(folder.glob("*/*.csv"))) if r is not None]


def read(path: Path) -> Recording | None:
    """Read one file; None for one without labels."""
    with path.open(newline="") as file:
        head, *lines = csv.reader(file, delimiter=";")
    if "anomaly" not in head:
        return None
    table = dict(zip(head, zip(*lines, strict=True), strict=True))
    times = np.array(table["datetime"], "datetime64[ms]")
    columns = [c for c in head if c not in NOT_SIGNALS]
    return Recording(
        columns,
        (times - times[0]) / np.timedelta64(1, "s"),
        np.array([table[c] for c in columns], float).T.copy(),
        np.array(table["anomaly"], float) == 1.0,
    )


def disguised(recording: Recording, rng: np.random.Generator) -> Recording:
    """Return the same physics in a file that nobody recognises."""
    columns, _, rows, _ = recording
    d = len(columns)
    order = rng.permutation(d)
    scale = np.exp(rng.normal(0.0, 2.0, d)) * rng.choice([-1.0, 1.0], d)
    rows = rows[:, order] * scale + rng.normal(0.0, 10.0, d) * np.abs(scale)
    return recording._replace(columns=[f"c{i}" for i in range(d)], rows=rows)


def run(recordings: list[Recording], detector: Detector, seed: int | None) -> Figures:
    """Return what a detector does on the files as they are, or cut and disguised by a seed."""
    rng = np.random.default_rng(seed)
    alarms = []
    for r in recordings:
        seen = r if seed is None else disguised(r, rng)
        skip = 0 if seed is None else int(rng.integers(0, CUT_ROWS + 1))
        times_s = seen.times_s[skip:] - seen.times_s[skip]
        _, alarm = detector(seen.columns, HEAD_ROWS - skip, times_s, seen.rows[skip:])
        alarms.append(np.concatenate([np.zeros(skip, bool), alarm]))
    return measure(recordings, alarms)


def measure(recordings: list[Recording], alarms: list[Flags]) -> Figures:
    """Return the figures of these alarms, one array of all rows per file."""
    pooled, delays, faults, false, normal = np.zeros(4, np.int64), [], 0, 0, 0
    for r, whole in zip(recordings, alarms, strict=True):
        label, alarm, times_s = r.anomaly[HEAD_ROWS:], whole[HEAD_ROWS:], r.times_s[HEAD_ROWS:]
        pooled += metrics.confusion(label, alarm)
        normal += int((~label).sum())
        false += sum(not label[a:b].any() for a, b in metrics.runs(alarm))
        for a, b in metrics.runs(label):
            faults += 1
            on = np.flatnonzero(alarm[a:b])
            if on.size:
                delays.append(float(times_s[a + on[0]] - times_s[a]))
    delay = float(np.median(delays)) if delays else float("nan")
    return Figures(*metrics.rates(pooled), len(delays), faults, false, normal / 3600, delay)


def best_stopwatch(recordings: list[Recording]) -> tuple[int, int]:
    """Return from which row to before which an alarm in every file is best by F1: a cheat."""
    longest = max(len(r.anomaly) for r in recordings)
    here, normal = np.zeros(longest + 1, np.int64), np.zeros(longest + 1, np.int64)
    for r in recordings:
        n = len(r.anomaly)
        here[HEAD_ROWS + 1 : n + 1] += r.anomaly[HEAD_ROWS:]
        normal[HEAD_ROWS + 1 : n + 1] += ~r.anomaly[HEAD_ROWS:]
    hits, false = np.cumsum(here), np.cumsum(normal)
    best, where = -1.0, (HEAD_ROWS, longest)
    for first in range(HEAD_ROWS, longest, 5):
        for end in range(first + 5, longest + 1, 5):
            tp, fp = hits[end] - hits[first], false[end] - false[first]
            f1 = 2 * tp / (tp + fp + hits[-1])
            if f1 > best:
                best, where = f1, (first, end)
    return where


def section(options: Options, data: Path) -> Section:
    """Measure everything on SKAB."""
    recordings = load(data / "skab")
    watch = detectors.stopwatch(*best_stopwatch(recordings))
    candidates: dict[str, Detector] = {
        "**Farfix**": detectors.farfix,
        "always alarm": detectors.always,
        "random, half of the rows": detectors.chance(0.5),
        "stopwatch (set with the labels)": watch,
        "river HalfSpaceTrees": detectors.half_space_trees,
    }
    plain, cut, bars = [], [], []
    for name, detector in candidates.items():
        say(f"SKAB: {name}")
        plain.append([name, *_cells(run(recordings, detector, None))])
        seeds = range(1 if options.quick else options.seeds)
        each = [run(recordings, detector, seed) for seed in seeds]
        cut.append([name, *_spread(each)])
        bars.append((name.strip("*"), float(np.mean([f.f1 for f in each]))))
    plain += [
        [f"{n} (published)", number(f1, 2), number(far, 1), number(mar, 1), "-", "-", "-"]
        for n, f1, far, mar in BOARD
    ]
    bars.append(("best published (files as they are)", BOARD[0][1]))
    head = ["", "F1", "FAR %", "MAR %", "found", "false episodes", "median delay s"]
    hours = measure(recordings, [r.anomaly for r in recordings]).normal_h
    return Section(
        "SKAB: a water pump's test bed",
        f"{len(recordings)} of its 34 faulty files, {hours:.2f} normal hours scored. More than "
        "half of the scored rows are faulty, so F1 alone says little: see what always alarming and "
        "a mere stopwatch reach, and read it with FAR, MAR and false episodes.",
        [
            Table(head, plain, "Files as they are. Published: all 34 files, README of waico/SKAB."),
            Table(
                head, cut,
                f"Up to {CUT_ROWS} leading rows cut, sensors shuffled, renamed, rescaled: mean "
                f"(worst) of {len(seeds)} random choices.",
            ),
        ],
        [Panel("SKAB, cut and disguised: F1", bars, 1.0)],
    )  # fmt: skip


def _cells(f: Figures) -> Row:
    return [
        number(f.f1, 3), number(f.far_pct, 1), number(f.mar_pct, 1),
        f"{f.found:.0f} of {f.faults}", number(f.false_episodes), number(f.delay_s, 1),
    ]  # fmt: skip


def _spread(each: list[Figures]) -> Row:
    def both(of: Callable[[Figures], float], worst: Callable[[list[float]], float], k: int) -> str:
        values = [of(f) for f in each]
        return f"{number(float(np.mean(values)), k)} ({number(worst(values), k)})"

    return [
        both(lambda f: f.f1, min, 3),
        both(lambda f: f.far_pct, max, 1),
        both(lambda f: f.mar_pct, max, 1),
        both(lambda f: f.found, min, 1) + f" of {each[0].faults}",
        both(lambda f: f.false_episodes, max, 1),
        both(lambda f: f.delay_s, max, 1),
    ]
