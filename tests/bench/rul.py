"""Remaining useful life: C-MAPSS run-to-failure histories (NASA), learned life after life.

Every life is predicted cycle by cycle with what was learned from the lives before it, and only then
learned (prequential). The *near zone* is where the true remaining life is below the cap of 125
cycles. *Static* is the published task: one estimate at the last known cycle of each test unit,
all others learned. Where `test_*` and `RUL_*` are missing, a fifth of the training units is cut off
after a random part of their lives instead: the same arithmetic, but not the published units.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.prognosis import Estimate, Prognosis
from tests.bench.metrics import Array, Flags
from tests.bench.report import Options, Panel, Section, Table, number, say

CAP = 125.0
BEARING_CAP_S = 3600.0
"""A bearing of FEMTO lives one to eight hours."""
COLUMNS = [f"setting{i}" for i in range(1, 4)] + [f"s{i}" for i in range(1, 22)]
STAGES = ((5, 10), (10, 20), (20, 50), (50, 80))
"""Lives learned before; 80 are left where a fifth of 100 is cut off."""
HOW = "`train_FD001.txt` (and `test_`, `RUL_`) of NASA's C-MAPSS turbofan set in `DIR/cmapss`"
Lives = dict[int, Array]
BOARD = {
    "FD001": [("MTSTAN", 10.97, 175), ("MS-DCNN", 11.44, 196), ("FFVE (2024)", 12.31, 280),
              ("deep LSTM", 16.14, 338), ("CNN", 18.45, 1299)],
    "FD002": [("FFVE (2024)", 12.55, 772)],
    "FD003": [("MTSTAN", 10.90, 188), ("MS-DCNN", 11.67, 242), ("FFVE (2024)", 12.43, 302)],
    "FD004": [("FFVE (2024)", 14.08, 1149)],
}  # fmt: skip
"""RMSE and score: table in Benchmark.md of LLerDagu/RUL-FFVE, on the official test units."""


class Told(NamedTuple):
    """One unit's estimates; NaN where there was none."""

    expected: Array
    low: Array
    high: Array
    truth: Array


class Play(NamedTuple):
    """One order of failures."""

    lives: list[Told]
    finals: list[Told]
    cycles_per_s: float


def load(folder: Path, name: str) -> tuple[Lives, Lives | None, Array]:
    """Return training lives, and test units with their remaining lives if they are there."""
    train = _units(folder / f"train_{name}.txt")
    if not (folder / f"test_{name}.txt").exists() or not (folder / f"RUL_{name}.txt").exists():
        return train, None, np.zeros(0)
    return train, _units(folder / f"test_{name}.txt"), np.loadtxt(folder / f"RUL_{name}.txt")


def _units(path: Path) -> Lives:
    table = np.loadtxt(path)
    return {int(u): table[table[:, 0] == u, 2:] for u in np.unique(table[:, 0])}


def cut_off(units: Lives, seed: int) -> tuple[Lives, Lives, Array]:
    """Return whole lives, a fifth of the units cut off, and the cycles that those had left."""
    rng = np.random.default_rng(seed)
    chosen = sorted(rng.permutation(sorted(units))[: len(units) // 5].tolist())
    test, left = {}, []
    for unit in chosen:
        n = len(units[unit])
        last = max(int(n * rng.uniform(0.2, 1.0)), 1)
        test[unit] = units[unit][:last]
        left.append(n - last)
    return {u: rows for u, rows in units.items() if u not in test}, test, np.array(left, float)


def play(train: Lives, test: Lives, left: Array, seed: int) -> Play:
    """Let the units fail one after another, then ask for the test units."""
    model, lives, finals = Prognosis(COLUMNS, CAP), [], []
    order = np.random.default_rng(seed).permutation(sorted(train))
    start, cycles = time.thread_time(), 0
    for unit in order.tolist():
        lives.append(_follow(model, f"train {unit}", train[unit], 0.0))
        model.failed(f"train {unit}")
        cycles += len(train[unit])
    seconds = time.thread_time() - start
    for unit, rest in zip(sorted(test), left.tolist(), strict=True):
        finals.append(_follow(model, f"test {unit}", test[unit], rest))
        model.retired(f"test {unit}")
    return Play(lives, finals, cycles / seconds)


def _follow(model: Prognosis, unit: str, rows: Array, left: float) -> Told:
    nothing = Estimate(float("nan"), float("nan"), float("nan"))
    model.start(unit)
    said = [model.step(unit, float(i + 1), row) or nothing for i, row in enumerate(rows)]
    expected, low, high = np.array(said, np.float64).T
    truth = np.arange(len(rows) - 1.0, -1.0, -1.0) + left
    return Told(expected, low, high, truth)


def phm_score(error: Array) -> float:
    """Return the PHM08 score of estimate minus truth: late estimates cost more."""
    return float(np.sum(np.exp(np.where(error < 0, -error / 13.0, error / 10.0)) - 1.0))


def rmse(error: Array) -> float:
    """Return the root of the mean square of what is not NaN."""
    return float(np.sqrt(np.nanmean(np.square(error)))) if np.isfinite(error).any() else np.nan


def baseline(p: Play, of: Callable[[Array, float], Array]) -> Play:
    """Return the same play with estimates made from age and the mean life seen so far only."""
    seen: list[int] = []

    def again(told: Told) -> Told:
        mean = float(np.mean(seen)) if seen else np.nan
        age = np.arange(1.0, len(told.truth) + 1)
        return told._replace(expected=np.clip(of(age, mean), 0, CAP))

    lives = []
    for told in p.lives:
        lives.append(again(told))
        seen.append(len(told.truth))
    return p._replace(lives=lives, finals=[again(f) for f in p.finals])


def near(told: Told) -> Flags:
    """Return the rows whose true remaining life is below the cap."""
    return told.truth < CAP


def stage(p: Play, first: int, last: int) -> float:
    """Return the near-zone RMSE over lives predicted with so many learned, each life once."""
    each = [rmse((t.expected - t.truth)[near(t)]) for t in p.lives[first:last]]
    return rmse(np.array(each))


def coverage(p: Play) -> tuple[float, float, float]:
    """Return how much of the near zone of lives after the tenth has an interval that holds.

    Returns:
        Share of rows with an estimate whose interval holds the truth, the median width of their
        intervals in cycles, and the share of all rows that have an estimate.
    """
    lives = p.lives[STAGES[1][0] :]
    told = Told(*(np.concatenate([getattr(t, f)[near(t)] for t in lives]) for f in Told._fields))
    known = np.isfinite(told.expected)
    inside = (told.low <= told.truth) & (told.truth <= told.high)
    width = np.minimum(told.high, CAP) - told.low
    return (
        float(inside[known].mean()) if known.any() else np.nan,
        float(np.median(width[known])) if known.any() else np.nan,
        float(known.mean()),
    )


def _line(name: str, plays: list[Play]) -> tuple[list[str], float]:
    """Return a table row, and the static RMSE: means over the orders."""
    errors = [np.array([f.expected[-1] - min(f.truth[-1], CAP) for f in p.finals]) for p in plays]
    static = float(np.mean([rmse(e) for e in errors]))
    score = float(np.mean([phm_score(e[np.isfinite(e)]) / np.isfinite(e).sum() for e in errors]))
    stages = [float(np.mean([stage(p, a, b) for p in plays])) for a, b in STAGES]
    held, width, known = np.mean([coverage(p) for p in plays], axis=0).tolist()
    return [
        name, number(static, 2), number(100 * score), *(number(s, 1) for s in stages),
        number(100 * held), number(width), number(100 * known),
    ], static  # fmt: skip


def _set(name: str, options: Options, folder: Path) -> tuple[Table, Panel, float]:
    train, test, left = load(folder, name)
    plays = []
    for seed in range(1 if options.quick else options.seeds):
        say(f"C-MAPSS {name}: order {seed}")
        whole, cut, rest = (train, test, left) if test is not None else cut_off(train, seed)
        plays.append(play(whole, cut, rest, seed))
    own, own_rmse = _line("**Farfix**", plays)
    rows, bars = [own], [("Farfix", own_rmse)]
    for label, rule in (
        ("mean life minus age", lambda age, mean: mean - age),
        ("always half of the cap", lambda age, mean: np.full(len(age), CAP / 2)),
    ):
        line, error = _line(label, [baseline(p, rule) for p in plays])
        rows.append([*line[:7], "-", "-", "-"])
        bars.append((label, error))
    for paper, error, score in BOARD.get(name, []):
        rows.append([f"{paper} (published)", number(error, 2), number(score), *["-"] * 7])
    official = "the official test units" if test is not None else "training units cut off"
    head = [
        name, "RMSE", "score", *(f"after {a}-{b}" for a, b in STAGES), "interval holds %",
        "median width", "estimates %",
    ]  # fmt: skip
    note = (
        f"RMSE and score (per 100 units) of one estimate for each of {official}, true life capped "
        f"at {CAP:.0f}; *after* so many failures: RMSE in the near zone, below {CAP:.0f} cycles of "
        f"life. Mean of {len(plays)} random orders of failures. The interval should hold 80 %."
    )
    if BOARD.get(name):
        if test is None:
            note += " Published figures are for other units and comparable in size only."
        other = ", other units" if test is None else ""
        bars.append((f"best published ({BOARD[name][0][0]}{other})", BOARD[name][0][1]))
    speed = float(np.median([p.cycles_per_s for p in plays]))
    return Table(head, rows, note), Panel(f"C-MAPSS {name}: RMSE", bars, 0.0), speed


def bearings(folder: Path) -> Table:
    """Predict each bearing after the failures of all others, and judge its last hour."""
    lives = {p.stem[-10:]: np.loadtxt(p, delimiter=",", skiprows=1) for p in folder.glob("*.csv")}
    rows = []
    for held in sorted(lives):
        say(f"FEMTO: {held}")
        model = Prognosis([f"x{i}" for i in range(lives[held].shape[1] - 1)], BEARING_CAP_S)
        for name in sorted(lives.keys() - {held}):
            for row in lives[name]:
                model.step(name, float(row[0]), row[1:])
            model.failed(name)
        told = [model.step(held, float(row[0]), row[1:]) for row in lives[held]]
        expected = np.array([np.nan if e is None else e.expected for e in told])
        left = lives[held][-1, 0] - lives[held][:, 0]
        late = left < BEARING_CAP_S
        known, error = np.isfinite(expected[late]), rmse((expected - left)[late])
        rows.append([held, f"{len(told):,}", number(100 * known.mean()), number(error / 60, 1)])
    return Table(
        ["FEMTO bearing", "recordings", "estimates %", "RMSE min"], rows,
        f"Last {BEARING_CAP_S / 60:.0f} minutes of each bearing, learned from the others. Three "
        "operating conditions with two bearings each are few to learn from: where the errors of "
        "lives held out show no skill, nothing is told.",
    )  # fmt: skip


def section(options: Options, data: Path) -> Section:
    """Measure remaining useful life on every set that is there."""
    folder = data / "cmapss"
    names = sorted(p.stem.removeprefix("train_") for p in folder.glob("train_*.txt"))
    sets = [_set(name, options, folder) for name in names]
    speeds = ", ".join(f"{n} {s[2]:,.0f}" for n, s in zip(names, sets, strict=True))
    more = [bearings(data / "femto")] if any((data / "femto").glob("*.csv")) else []
    return Section(
        "C-MAPSS: remaining useful life of turbofans",
        "One pass, pooled over all units of the type; nothing is told before five failures were "
        f"seen. Cycles per second of one core, learning included: {speeds}.",
        [*(s[0] for s in sets), *more],
        [s[1] for s in sets],
    )
