"""How fast: rows scored and learned per second of one core, beside river in the same run.

Every repetition runs all cases one after another, so that a busy machine slows them all alike;
figures are medians of CPU time of one thread, the ratio is the median of the ratios in each
repetition. The floor is what any detector with a reference of its own for each machine must do at
least: multiply each row by the machine's own matrix.
"""

import pickle
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.fleet import Fleet
from models.online import Stream
from tests.bench.detectors import river_trees
from tests.bench.metrics import Array
from tests.bench.report import Options, Section, Table, number, say

SIGNALS = 8
COLUMNS = [f"s{i}" for i in range(SIGNALS)]
FLEETS = (1, 100, 10_000)
BLOCK_ROWS = 100_000
SINGLE_ROWS = 5_000
RIVER_ROWS = 4_000
SECOND_NS = 1_000_000_000
REFERENCES = {"level only": 600, "explained": 14_400}
"""Kind of reference: commissioning rows. Ten minutes teach levels, four hours how signals hang
together."""
Counts = NDArray[np.int64]


class Case(NamedTuple):
    """Something to be timed."""

    name: str
    rows: int
    run: Callable[[int], object]
    """Takes the number of the repetition."""
    state_bytes: int | None = None


def signals(kind: str, ticks: int, machines: int, seed: int) -> Array:
    """Return (ticks, machines, 8) readings: noise around levels, or a plant driven by its load."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((ticks, machines, SIGNALS))
    if kind == "level only":
        return noise
    load, warm = np.zeros(machines), np.zeros(machines)
    out = np.empty_like(noise)
    for t in range(ticks):
        load += -load / 300 + rng.standard_normal(machines) * 0.08
        warm += (load - warm) / 60
        drivers = (load, load**2, warm, load - warm)
        for j in range(SIGNALS):
            out[t, :, j] = (1 + j % 3) * drivers[j % 4] + 0.3 * noise[t, :, j]
    return out


def commissioned(kind: str, machines: int) -> Fleet:
    """Return a fleet whose machines are copies of one that learned its reference."""
    warmup = REFERENCES[kind]
    one = Fleet(COLUMNS, 1, warmup)
    rows = signals(kind, warmup, 1, 0)[:, 0].copy()
    one.update(np.zeros(warmup, np.int64), np.arange(warmup) * SECOND_NS, rows)
    fleet = Fleet(COLUMNS, machines, warmup)
    for mine, learned in zip(
        (*fleet._reference, *fleet._live, *fleet._clocks),
        (*one._reference, *one._live, *one._clocks),
        strict=True,
    ):
        mine[:] = learned
    fleet._buffers = {}
    return fleet


def block(kind: str, machines: int) -> tuple[Counts, Counts, Array]:
    """Return machine numbers, ticks and rows of a block, as a gateway gets them: tick by tick."""
    ticks = max(BLOCK_ROWS // machines, 4)
    who = np.tile(np.arange(machines), ticks)
    when = np.repeat(np.arange(ticks), machines)
    return who, when, signals(kind, ticks, machines, 1).reshape(-1, SIGNALS)


def fleet_cases(kind: str, machines: int) -> list[Case]:
    """Return the kernel alone and the whole call, on fleets of their own."""
    who, when, rows = block(kind, machines)
    ticks, start = int(when[-1]) + 1, REFERENCES[kind]
    score, alarm = np.zeros(len(rows)), np.zeros(len(rows), bool)
    inner, whole = commissioned(kind, machines), commissioned(kind, machines)

    def times_ns(repetition: int) -> Counts:
        return (when + start + repetition * ticks) * SECOND_NS

    stamps: dict[int, Counts] = {}

    def at(repetition: int) -> Counts:
        return stamps.setdefault(repetition, times_ns(repetition))

    size, label = inner.machine_bytes(), f"{kind}, {machines:,} machine(s)"
    return [
        Case(f"Farfix kernel, {label}", len(rows),
             lambda k: inner._run(who, at(k), rows, score, alarm), size),
        Case(f"Farfix update, {label}", len(rows), lambda k: whole.update(who, at(k), rows), size),
    ]  # fmt: skip


def single_case(kind: str) -> Case:
    """Return one machine asked row by row."""
    warmup = REFERENCES[kind]
    stream = Stream(COLUMNS, warmup)
    stream.steps(np.arange(float(warmup)).tolist(), signals(kind, warmup, 1, 0)[:, 0])
    rows = signals(kind, SINGLE_ROWS, 1, 2)[:, 0]

    def run(repetition: int) -> None:
        start = float(warmup + repetition * SINGLE_ROWS)
        for i, row in enumerate(rows):
            stream.step(start + i, row)

    return Case(f"Farfix row by row, {kind}", SINGLE_ROWS, run)


def river_case() -> Case:
    """Return river's HalfSpaceTrees of one machine, behind its scaler."""
    scaler, model = river_trees()
    readings = signals("explained", RIVER_ROWS, 1, 3)[:, 0].tolist()
    rows = [dict(zip(COLUMNS, reading, strict=True)) for reading in readings]

    def run(repetition: int) -> None:
        for x in rows:
            scaler.learn_one(x)
            scaled = scaler.transform_one(x)
            model.score_one(scaled)
            model.learn_one(scaled)

    run(0)
    return Case("river HalfSpaceTrees", len(rows), run, len(pickle.dumps((scaler, model))))


@njit(cache=True)
def _floor(matrices: Array, who: Counts, rows: Array, out: Array) -> None:
    d = rows.shape[1]
    for i in range(len(rows)):
        best = 0.0
        for a in range(d):
            total = 0.0
            for b in range(d):
                total += matrices[who[i], a, b] * rows[i, b]
            best = max(best, abs(total))
        out[i] = best


def floor_case(machines: int) -> Case:
    """Return the least work: each row times its machine's own 8 x 8 matrix."""
    who, _, rows = block("level only", machines)
    matrices = np.random.default_rng(0).standard_normal((machines, SIGNALS, SIGNALS))
    out = np.zeros(len(rows))
    return Case(
        f"floor: 8 x 8 matrix times row, {machines:,} machine(s)", len(rows),
        lambda _: _floor(matrices, who, rows, out),
    )  # fmt: skip


def timed(cases: list[Case], repetitions: int) -> Array:
    """Return rows per second (repetition, case), all cases in turn in each repetition."""
    for case in cases:
        case.run(0)  # compiles, and brings the state into the cache's usual condition
    speed = np.zeros((repetitions, len(cases)))
    for k in range(repetitions):
        say(f"speed: repetition {k + 1} of {repetitions}")
        for c, case in enumerate(cases):
            start = time.thread_time()
            case.run(k + 1)
            speed[k, c] = case.rows / (time.thread_time() - start)
    return speed


def section(options: Options) -> Section:
    """Time everything."""
    river = river_case()
    cases = [river, *(single_case(kind) for kind in REFERENCES)]
    for kind in REFERENCES:
        say(f"speed: commissioning fleets, {kind}")
        for machines in FLEETS:
            cases += fleet_cases(kind, machines)
    cases += [floor_case(machines) for machines in FLEETS]
    speed = timed(cases, 3 if options.quick else 7)
    rows, bars = [], []
    for c, case in enumerate(cases):
        each = float(np.median(speed[:, c]))
        ratio = float(np.median(speed[:, c] / speed[:, 0]))
        rows.append([
            case.name, number(each), number(1e9 / each), number(ratio, 1),
            "-" if case.state_bytes is None else number(case.state_bytes),
        ])  # fmt: skip
        bars.append((case.name, each, ratio))
    return Section(
        "Speed",
        f"{SIGNALS} signals, scored and learned, CPU time of one thread, median of {len(speed)} "
        "repetitions with all cases interleaved. *Kernel* is the compiled loop alone, *update* the "
        "whole call of `Fleet.update` on a batch that holds all machines tick by tick. A *level "
        f"only* reference comes from {REFERENCES['level only']} commissioning rows of independent "
        f"signals, an *explained* one from {REFERENCES['explained']:,} rows of signals that follow "
        "a load. The floor is the least that any detector with a matrix for each machine must do.",
        [Table(
            ["", "rows/s", "ns/row", "x river", "bytes/machine"], rows,
            "Bytes are the state of one judged machine; of river's model, its pickle.",
        )],
        [],
        bars,
    )  # fmt: skip
