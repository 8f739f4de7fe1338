"""How a detector does on long runs with baits: faults newly found against false alarms.

    python tests/bench/longrun_eval.py --detector my.py:make [--machines 24] [--seed 0] [--jobs 2]
    python tests/bench/longrun_eval.py --cmd "python my_cli.py"

Detector contract (strictly online: score first, learn afterwards)::

    factory(columns: list[str], warmup: int) -> det
    det.step(t: float, x: ndarray (d,)) -> (score: float, alarm: 0 | 1)
    det.batch(t: ndarray (n,), x: ndarray (n, d)) -> (score (n,), alarm (n,))   # optional, used
                                                  # once per machine instead of n calls of step

``t`` is seconds since the first row, NaN is a missing value, the first ``warmup`` rows are healthy
and not judged. What ``batch`` says about a row must not depend on later rows; the first machine
is asked twice, once without its second half, and a detector that looks ahead is refused. ``--cmd``
is answered in lock-step: a CSV header, then each row is due a line ``score,alarm`` before the next
is sent; the environment variable DETECTOR_WARMUP holds ``warmup``.

Figures: a fault is *newly found* if an alarm row lies in it and none in the 30 rows before it.
The 15 minutes after a fault are its aftermath: an alarm there is neither right nor wrong. A false
episode is a run of alarm rows that does not begin in a fault and is not over with its aftermath.
False slices count what lies outside of faults and aftermaths, of any run, and count it again every
ten minutes that it goes on: one alarm for ever is not cheap. False minutes are all alarm rows
there. *Held* is the share of alarm rows from the first alarm to the fault's end. *Clear* is how
long an alarm that stood at the fault's end went on.
"""

# ruff: noqa: T201  # a program that prints its findings

import argparse
import contextlib
import importlib.util
import json
import os
import pickle
import select
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file: the repository

from tests.bench import longrun
from tests.bench.plants import KINDS

BEFORE_ROWS = 30
"""A fault under which an alarm stood already was not found by it."""
AFTERMATH_ROWS = 900
SLICE_ROWS = 600
"""An alarm that goes on is news to nobody for this long; then somebody looks again."""
BLAME_ROWS = 900
"""A false episode is laid at the door of the last bait within these rows before it."""
RANDOM_RATE = 1 / 3600
"""The random detector alarms once an hour on average."""
ANSWER_S = 60
SEVERITIES = tuple(longrun.SIGMAS)
Output = tuple[NDArray[np.float64], NDArray[np.int8]]


class Found(NamedTuple):
    """What became of one fault."""

    kind: str
    severity: str
    name: str
    newly: bool
    delay_rows: int
    held: float
    clear_rows: float | None
    """None if no alarm stood at its end, infinite if it stood to the end of the run."""


class Outcome(NamedTuple):
    """What one detector did on one machine."""

    faults: list[Found]
    episodes: list[tuple[int, str]]
    """Row and blamed bait of every false episode."""
    slices: int
    healthy_rows: int
    false_rows: int
    fault_rows: int
    missed_rows: int
    seconds: float
    rows: int


def judge(machine: longrun.Machine, alarm: NDArray[np.int8], seconds: float = 0.0) -> Outcome:
    """Return what these alarms are worth on this machine; rows of the warm-up do not count."""
    on = np.asarray(alarm) > 0
    on[: machine.warmup] = False
    inside, excused = np.zeros(on.size, bool), np.zeros(on.size, bool)
    for f in machine.faults:
        inside[f.first_row : f.last_row + 1] = True
        excused[f.first_row : f.last_row + 1 + AFTERMATH_ROWS] = True
    healthy = ~excused
    healthy[: machine.warmup] = False
    edges = np.diff(np.concatenate([[0], on.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist()
    false = {row: int(healthy[row:end].sum()) for row, end in zip(starts, ends, strict=True)}
    kind = machine.name.rsplit("-", 1)[0]
    return Outcome(
        [_found(kind, f, on) for f in machine.faults],
        [(row, _blame(machine, row)) for row, rows in false.items() if rows and not inside[row]],
        sum(-(-rows // SLICE_ROWS) for rows in false.values()),
        int(healthy.sum()),
        int((on & healthy).sum()),
        int(inside.sum()),
        int((inside & ~on).sum()),
        seconds,
        on.size,
    )


def _found(kind: str, fault: longrun.Fault, on: NDArray[np.bool_]) -> Found:
    first, end = fault.first_row, fault.last_row + 1
    hits = np.flatnonzero(on[first:end])
    newly = hits.size > 0 and not on[max(first - BEFORE_ROWS, 0) : first].any()
    delay = int(hits[0]) if newly else -1
    held = float(on[first + delay : end].mean()) if newly else 0.0
    clear = None
    if on[end - 1]:
        off = np.flatnonzero(~on[end:])
        clear = float(off[0]) if off.size else float("inf")
    return Found(kind, fault.severity, fault.name, newly, delay, held, clear)


def _blame(machine: longrun.Machine, row: int) -> str:
    near = [b for b in machine.baits if row - BLAME_ROWS <= b.row <= row]
    return max(near).name if near else "nothing"


def measure(machines: Sequence[longrun.Machine], outputs: Sequence[Output]) -> dict[str, Any]:
    """Return the figures of one detector from its (score, alarm) arrays, one per machine."""
    pairs = zip(machines, outputs, strict=True)
    return summary([judge(machine, alarm) for machine, (_, alarm) in pairs])


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the figures of one detector over all machines."""
    faults = [f for o in outcomes for f in o.faults]
    found = [f for f in faults if f.newly]
    clears = [f.clear_rows for f in faults if f.clear_rows is not None]
    hours = sum(o.healthy_rows for o in outcomes) / 3600
    rows = sum(o.rows for o in outcomes)
    blames = Counter(blame for o in outcomes for _, blame in o.episodes)
    return {
        "newly_found": {s: _share(f for f in faults if f.severity == s) for s in SEVERITIES},
        "by_kind": _split(faults, lambda f: f.kind),
        "by_fault": _split(faults, lambda f: f.name),
        "delay_median_s": float(np.median([f.delay_rows for f in found])) if found else None,
        "held_pct": 100 * float(np.mean([f.held for f in found])) if found else None,
        "healthy_hours": hours,
        "false_episodes": sum(len(o.episodes) for o in outcomes),
        "false_episodes_per_1000_h": _per(sum(len(o.episodes) for o in outcomes), hours / 1000),
        "false_slices_per_1000_h": _per(sum(o.slices for o in outcomes), hours / 1000),
        "false_minutes_per_1000_h": _per(sum(o.false_rows for o in outcomes) / 60, hours / 1000),
        "false_episodes_after": dict(blames.most_common()),
        "clear_median_min": float(np.median(clears)) / 60 if clears else None,
        "uncleared_15min_pct": _per(100 * sum(c > AFTERMATH_ROWS for c in clears), len(clears)),
        "far_pct": _per(100 * sum(o.false_rows for o in outcomes), hours * 3600),
        "mar_pct": _per(
            100 * sum(o.missed_rows for o in outcomes), sum(o.fault_rows for o in outcomes)
        ),
        "us_per_row": _per(1e6 * sum(o.seconds for o in outcomes), rows),
    }


def _share(faults: Iterable[Found]) -> list[int]:
    """Return [newly found, all]."""
    newly = [f.newly for f in faults]
    return [sum(newly), len(newly)]


def _split(faults: list[Found], key: Callable[[Found], str]) -> dict[str, dict[str, list[int]]]:
    return {
        name: {
            s: _share(f for f in faults if key(f) == name and f.severity == s) for s in SEVERITIES
        }
        for name in sorted({key(f) for f in faults})
    }


def _per(count: float, whole: float) -> float | None:
    return count / whole if whole else None


# ---- running a detector -------------------------------------------------------------------------


def called(spec: str, machine: longrun.Machine, *, check: bool = False) -> Output:
    """Run ``file.py:factory`` on a machine; ``check`` refuses a batch that looks ahead."""
    factory = _load(spec)
    times, values = machine.times_s - machine.times_s[0], machine.values
    detector = factory(list(machine.columns), machine.warmup)
    if hasattr(detector, "batch"):
        score, alarm = detector.batch(times.copy(), values.copy())
        if check:
            cut = times.size * 3 // 4
            again = factory(list(machine.columns), machine.warmup)
            past = again.batch(times[:cut].copy(), values[:cut].copy())
            if not np.array_equal(past[1], alarm[:cut]):
                raise SystemExit("batch() answers otherwise when it does not know the future")
        return np.asarray(score, float), np.asarray(alarm, np.int8)
    score, alarm = np.zeros(times.size), np.zeros(times.size, np.int8)
    step = detector.step
    for i, t in enumerate(times.tolist()):
        # a copy: from a view, a detector could walk to the rest of the array
        score[i], alarm[i] = step(t, values[i].copy())
    return score, alarm


def _load(spec: str) -> Callable[[list[str], int], Any]:
    where, name = spec.rsplit(":", 1)
    if not where.endswith(".py"):
        return getattr(importlib.import_module(where), name)  # type: ignore[no-any-return]
    module_spec = importlib.util.spec_from_file_location("detector_under_test", where)
    if module_spec is None or module_spec.loader is None:
        raise SystemExit(f"{where} cannot be loaded")
    sys.path.insert(0, str(Path(where).resolve().parent))
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return getattr(module, name)  # type: ignore[no-any-return]


def lockstep(command: str, machine: longrun.Machine) -> Output:
    """Run a program that answers row by row."""
    n = machine.times_s.size
    score, alarm = np.zeros(n), np.zeros(n, np.int8)
    env = {**os.environ, "DETECTOR_WARMUP": str(machine.warmup), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as process:
        _send(process, ",".join(["time", *machine.columns]))
        for i, t in enumerate((machine.times_s - machine.times_s[0]).tolist()):
            _send(process, ",".join([repr(t), *map(repr, machine.values[i].tolist())]))
            answer = _answer(process)
            try:
                score[i], alarm[i] = (float(part) for part in answer.split(b","))
            except ValueError:
                process.kill()
                raise SystemExit(f"row {i}: no 'score,alarm' but {answer!r}") from None
    return score, alarm


def _send(process: subprocess.Popen[bytes], line: str) -> None:
    assert process.stdin is not None, "it was asked for"
    # whoever does not listen any more is found out by having no answer
    with contextlib.suppress(BrokenPipeError):
        os.write(process.stdin.fileno(), line.encode() + b"\n")


def _answer(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None, "it was asked for"
    if not select.select([process.stdout], [], [], ANSWER_S)[0]:
        return b"nothing for a minute (does it flush?)"
    return process.stdout.readline()


def run(args: argparse.Namespace, number: int) -> dict[str, Outcome]:
    """Make one machine and return what the detector and its three measuring sticks did."""
    machine = _machine(args, number)
    n = machine.times_s.size
    start = time.perf_counter()
    if args.cmd:
        _, alarm = lockstep(args.cmd, machine)
    else:
        _, alarm = called(args.detector, machine, check=number == 0)
    seconds = time.perf_counter() - start
    chance = np.random.default_rng([args.seed, number]).random(n) < RANDOM_RATE
    return {
        "detector": judge(machine, alarm, seconds),
        "always": judge(machine, np.ones(n, np.int8)),
        "random": judge(machine, chance.astype(np.int8)),
        "never": judge(machine, np.zeros(n, np.int8)),
    }


def _machine(args: argparse.Namespace, number: int) -> longrun.Machine:
    kind = list(KINDS)[number % len(KINDS)]
    commission_h = args.commission_h or longrun.COMMISSION_H[kind]
    seed = 1000 * args.seed + number
    if not args.cache:
        return longrun.machine(kind, seed, commission_h, args.hours)
    args.cache.mkdir(parents=True, exist_ok=True)
    path = args.cache / f"{kind}-{seed}-{commission_h:g}-{args.hours:g}.pickle"
    if not path.exists():
        made = longrun.machine(kind, seed, commission_h, args.hours)
        path.write_bytes(pickle.dumps(made))
    return longrun.Machine(*pickle.loads(path.read_bytes()))  # noqa: S301  # written above


# ---- printing -----------------------------------------------------------------------------------


def show(figures: dict[str, dict[str, Any]]) -> None:
    """Print one line per detector, then where the first one finds, misses and cries wolf."""
    print(
        f"{'':10}{'newly found':^27} delay  held    false per 1,000 h    clear >15min"
        f"    FAR   MAR     us\n{'':10}{'easy':>9}{'medium':>9}{'hard':>9}     s     %"
        " episodes slices   min    min      %      %     %   /row"
    )
    for name, f in figures.items():
        found = "".join(
            f"{f['newly_found'][s][0]:>5}/{f['newly_found'][s][1]:<3}" for s in SEVERITIES
        )
        print(
            f"{name:10}{found} {_n(f['delay_median_s']):>5} {_n(f['held_pct']):>5}"
            f" {_n(f['false_episodes_per_1000_h']):>8} {_n(f['false_slices_per_1000_h']):>6}"
            f" {_n(f['false_minutes_per_1000_h']):>5}"
            f" {_n(f['clear_median_min'], 1):>6} {_n(f['uncleared_15min_pct']):>6}"
            f" {_n(f['far_pct'], 2):>6} {_n(f['mar_pct'], 1):>5} {_n(f['us_per_row'], 1):>6}"
        )
    own = figures["detector"]
    print(f"\n{own['false_episodes']} false episodes in {own['healthy_hours']:.0f} healthy hours; "
          f"within 15 min after: {own['false_episodes_after']}")  # fmt: skip
    for title in ("by_kind", "by_fault"):
        print(f"\nnewly found {title.replace('_', ' ')} (easy, medium, hard)")
        for name, split in own[title].items():
            print(f"  {name:16}" + "".join(f"{a:>5}/{b:<3}" for a, b in split.values()))


def _n(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def main() -> None:
    """Run the detector on the fleet and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--detector", help="file.py:factory or module:factory")
    group.add_argument("--cmd", help="lock-step command")
    parser.add_argument("--machines", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commission-h", type=float, help="default: by kind of machine")
    parser.add_argument("--hours", type=float, default=24.0, help="hours after commissioning")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--cache", type=Path, help="keep the machines in this folder")
    args = parser.parse_args()
    outcomes: list[dict[str, Outcome]] = []
    work = partial(run, args)
    with ProcessPoolExecutor(args.jobs) as pool:
        results = (
            map(work, range(args.machines))
            if args.jobs == 1
            else pool.map(work, range(args.machines))
        )
        for outcome in results:
            outcomes.append(outcome)
            own = outcome["detector"]
            print(
                f"{len(outcomes)}/{args.machines}: {sum(f.newly for f in own.faults)} of "
                f"{len(own.faults)} faults newly found, {len(own.episodes)} false episodes",
                file=sys.stderr, flush=True,
            )  # fmt: skip
    figures = {name: summary([o[name] for o in outcomes]) for name in outcomes[0]}
    show(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
