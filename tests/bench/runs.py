"""Long synthetic runs with baits: what `longrun_eval` judges, for everybody side by side."""

import time
from collections.abc import Iterator

import numpy as np

from tests.bench import detectors, longrun, longrun_eval
from tests.bench.longrun_eval import Outcome
from tests.bench.plants import KINDS
from tests.bench.report import Options, Panel, Row, Section, Table, counted, number, say

HOURS = 24.0
"""After commissioning."""
SLOW_MACHINES = 4
"""River's trees take ten seconds a machine: they get one of each kind."""


def machines(count: int, seed: int) -> Iterator[longrun.Machine]:
    """Make machines one after another, the kinds in turn: the same as longrun_eval makes."""
    for number_ in range(count):
        kind = list(KINDS)[number_ % len(KINDS)]
        hours = longrun.COMMISSION_H[kind]
        yield longrun.machine(kind, 1000 * seed + number_, hours, HOURS)


def run(count: int, slow: int, seed: int) -> dict[str, list[Outcome]]:
    """Return what every detector did on each machine."""
    names = {
        "**Farfix**": detectors.farfix,
        "always alarm": detectors.always,
        "random, once an hour": detectors.chance(longrun_eval.RANDOM_RATE, seed),
        "never": detectors.chance(0.0, seed),
        "river HalfSpaceTrees": detectors.half_space_trees,
    }
    done: dict[str, list[Outcome]] = {name: [] for name in names}
    for k, machine in enumerate(machines(count, seed)):
        say(f"long runs: machine {k + 1} of {count} ({machine.name})")
        times_s = machine.times_s - machine.times_s[0]
        for name, detector in names.items():
            if name.startswith("river") and k >= slow:
                continue
            start = time.thread_time()
            _, alarm = detector(machine.columns, machine.warmup, times_s, machine.values)
            seconds = time.thread_time() - start
            done[name].append(longrun_eval.judge(machine, alarm.astype(np.int8), seconds))
    return done


def held_new(outcomes: list[Outcome]) -> float:
    """Return how much of the faults an alarm stood that newly found them, from there to the end.

    Dice find long faults too, if only for a second; always alarming finds nothing new.
    """
    faults = [f for o in outcomes for f in o.faults]
    return float(np.mean([f.held if f.newly else 0.0 for f in faults])) if faults else float("nan")


def _cells(outcomes: list[Outcome]) -> Row:
    figures = longrun_eval.summary(outcomes)
    found = [f"{a} of {b}" for a, b in figures["newly_found"].values()]
    return [
        *found,
        number(100 * held_new(outcomes)),
        number(figures["false_episodes_per_1000_h"]),
        number(figures["false_minutes_per_1000_h"]),
        number(figures["held_pct"]),
        number(figures["delay_median_s"]),
        number(figures["clear_median_min"], 1),
        number(figures["uncleared_15min_pct"]),
    ]


def section(options: Options) -> Section:
    """Measure everything on the long runs."""
    count = min(options.machines, SLOW_MACHINES) if options.quick else options.machines
    slow = min(1 if options.quick else SLOW_MACHINES, count)
    done = run(count, slow, 0)
    rows, bars = [], []
    for name, outcomes in done.items():
        less = f", {counted(len(outcomes))}" if len(outcomes) < count else ""
        if less:
            rows.append(["**Farfix**" + less, *_cells(done["**Farfix**"][: len(outcomes)])])
        rows.append([name + less, *_cells(outcomes)])
        bars.append((name.strip("*") + less, 100 * held_new(outcomes)))
    hours = longrun_eval.summary(done["**Farfix**"])["healthy_hours"]
    head = [
        "", "easy", "medium", "hard", "found and held %", "false episodes", "false minutes",
        "held %", "delay s", "clear min", "> 15 min %",
    ]  # fmt: skip
    return Section(
        "Long runs: four kinds of simulated machines at 1 Hz",
        f"{count} machines, {HOURS:.0f} hours each after commissioning, {hours:.0f} healthy hours; "
        "set-point changes, modes never seen, restarts, a clock jump and missing rows are no "
        "faults. A fault is *newly found* if an alarm lies in it and none in the 30 rows before; "
        "false episodes and minutes are per 1,000 healthy hours; *held* is how much of the rest of "
        "the fault the alarm stood, *found and held* that over all faults, 0 for those not newly "
        "found (dice find any long fault, for a second); *clear* is how long an alarm went on "
        "after it. Data: tests/bench/longrun.py, judge: tests/bench/longrun_eval.py.",
        [Table(head, rows)],
        [Panel("Long runs: faults newly found and held, %", bars, 100.0)],
    )
