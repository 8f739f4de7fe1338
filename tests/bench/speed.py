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
from tests.bench.report import Options, Section, Table, counted, number, say

SIGNALS = 8
COLUMNS = [f"s{i}" for i in range(SIGNALS)]
FLEETS = (1, 100, 10_000)
BLOCK_ROWS = 100_000
MAX_TICKS = 20_000
"""A machine lives through less than two days in all repetitions: it is healthy running that is
timed, not what a plant does later that commissioning has not seen."""
SINGLE_ROWS = 5_000
SECOND_NS = 1_000_000_000
REFERENCES = {"level only": 300, "explained": 14_400}
"""Kind of reference: commissioning rows. Five minutes teach levels, four hours how signals hang
together."""
Counts = NDArray[np.int64]


class Case(NamedTuple):
    """Something to be timed."""

    name: str
    rows: int
    prepare: Callable[[int], Callable[[], object]]
    """Takes the number of the repetition; returns what is timed."""
    state_bytes: int | None = None


@njit(cache=True)
def _plant(steps: Array) -> Array:
    """Return the 8 signals of a plant whose load wanders by these steps, some of them lagging."""
    out = np.empty((len(steps), SIGNALS))
    load = warm = 0.0
    for t in range(len(steps)):
        load += steps[t] - load / 300
        warm += (load - warm) / 60
        for j in range(SIGNALS):
            driver = (load, load * load, warm, load - warm)[j % 4]
            out[t, j] = (1 + j % 3) * driver
    return out


def readings(kind: str, first: int, ticks: int, machines: int) -> Array:
    """Return (ticks, machines, 8): noise of their own around levels, or around one plant's course.

    What one call ends with, the next one goes on from: a plant does not jump.
    """
    noise = np.random.default_rng([first, ticks, machines]).standard_normal(
        (ticks, machines, SIGNALS)
    )
    if kind == "level only":
        return noise
    course = _plant(0.08 * np.random.default_rng(0).standard_normal(first + ticks))
    return course[first:, None] + 0.3 * noise


def commissioned(kind: str, machines: int) -> Fleet:
    """Return a fleet whose machines are copies of one that learned its reference."""
    warmup = REFERENCES[kind]
    one = Fleet(COLUMNS, 1, warmup)
    rows = readings(kind, 0, warmup, 1)[:, 0]
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


def rows_of(machines: int) -> int:
    """Return how many rows are timed at once."""
    return min(BLOCK_ROWS, MAX_TICKS * machines)


def block(kind: str, machines: int, repetition: int) -> tuple[Counts, Counts, Array]:
    """Return machine numbers, times and rows as a gateway gets them: all machines, tick by tick."""
    ticks = rows_of(machines) // machines
    first = REFERENCES[kind] + repetition * ticks
    rows = readings(kind, first, ticks, machines).reshape(-1, SIGNALS)
    times_ns = np.repeat(np.arange(first, first + ticks), machines) * SECOND_NS
    return np.tile(np.arange(machines), ticks), times_ns, rows


def fleet_cases(kind: str, machines: int) -> list[Case]:
    """Return the kernel alone and the whole call, on fleets of their own."""
    inner, whole = commissioned(kind, machines), commissioned(kind, machines)
    score, alarm = np.zeros(rows_of(machines)), np.zeros(rows_of(machines), bool)

    def kernel(repetition: int) -> Callable[[], object]:
        who, times_ns, rows = block(kind, machines, repetition)
        return lambda: inner._run(who, times_ns, rows, score, alarm)

    def update(repetition: int) -> Callable[[], object]:
        who, times_ns, rows = block(kind, machines, repetition)
        return lambda: whole.update(who, times_ns, rows)

    size, label, n = inner.machine_bytes(), f"{kind}, {counted(machines)}", rows_of(machines)
    return [
        Case(f"Farfix kernel, {label}", n, kernel, size),
        Case(f"Farfix update, {label}", n, update, size),
    ]


def single_case(kind: str) -> Case:
    """Return one machine asked row by row."""
    warmup = REFERENCES[kind]
    stream = Stream(COLUMNS, warmup)
    stream.steps(np.arange(float(warmup)).tolist(), readings(kind, 0, warmup, 1)[:, 0])

    def prepare(repetition: int) -> Callable[[], None]:
        first = warmup + repetition * SINGLE_ROWS
        rows = readings(kind, first, SINGLE_ROWS, 1)[:, 0]

        def run() -> None:
            for i, row in enumerate(rows):
                stream.step(float(first + i), row)

        return run

    return Case(f"Farfix row by row, {kind}", SINGLE_ROWS, prepare)


def river_case() -> Case:
    """Return river's HalfSpaceTrees of one machine, behind its scaler."""
    scaler, model = river_trees()

    def prepare(repetition: int) -> Callable[[], None]:
        rows = readings("explained", repetition * SINGLE_ROWS, SINGLE_ROWS, 1)[:, 0].tolist()
        named = [dict(zip(COLUMNS, row, strict=True)) for row in rows]

        def run() -> None:
            for x in named:
                scaler.learn_one(x)
                scaled = scaler.transform_one(x)
                model.score_one(scaled)
                model.learn_one(scaled)

        return run

    prepare(0)()
    return Case("river HalfSpaceTrees", SINGLE_ROWS, prepare, len(pickle.dumps((scaler, model))))


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
    who, _, rows = block("level only", machines, 0)
    matrices = np.random.default_rng(0).standard_normal((machines, SIGNALS, SIGNALS))
    out = np.zeros(len(rows))
    name = f"floor: 8 x 8 matrix times row, {counted(machines)}"
    return Case(name, len(rows), lambda _: lambda: _floor(matrices, who, rows, out))


def timed(cases: list[Case], repetitions: int) -> Array:
    """Return rows per second (repetition, case), all cases in turn in each repetition."""
    for case in cases:
        case.prepare(0)()  # compiles, and brings the state into the cache's usual condition
    speed = np.zeros((repetitions, len(cases)))
    for k in range(repetitions):
        say(f"speed: repetition {k + 1} of {repetitions}")
        for c, case in enumerate(cases):
            run = case.prepare(k + 1)
            start = time.thread_time()
            run()
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
