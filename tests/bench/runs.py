"""Long synthetic runs with baits: what `longrun_eval` judges, for everybody side by side."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.bench import detectors, longrun, longrun_eval
from tests.bench.longrun_eval import Outcome
from tests.bench.plants import KINDS
from tests.bench.report import Options, Panel, Row, Section, Table, number, say

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


def _cells(figures: dict[str, Any]) -> Row:
    found = [f"{a} of {b}" for a, b in figures["newly_found"].values()]
    return [
        *found,
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
        figures = longrun_eval.summary(outcomes)
        less = f", {len(outcomes)} machine(s)" if len(outcomes) < count else ""
        if less:
            own = longrun_eval.summary(done["**Farfix**"][: len(outcomes)])
            rows.append(["**Farfix**" + less, *_cells(own)])
        rows.append([name + less, *_cells(figures)])
        newly = [sum(pair) for pair in zip(*figures["newly_found"].values(), strict=True)]
        if newly[1]:
            bars.append((name.strip("*") + less, 100 * newly[0] / newly[1]))
    hours = longrun_eval.summary(done["**Farfix**"])["healthy_hours"]
    head = [
        "", "easy", "medium", "hard", "false episodes", "false minutes", "held %", "delay s",
        "clear min", "> 15 min %",
    ]  # fmt: skip
    return Section(
        "Long runs: four kinds of simulated machines at 1 Hz",
        f"{count} machines, {HOURS:.0f} hours each after commissioning, {hours:.0f} healthy hours; "
        "set-point changes, modes never seen, restarts, a clock jump and missing rows are no "
        "faults. A fault is *newly found* if an alarm lies in it and none in the 30 rows before; "
        "false episodes and minutes are per 1,000 healthy hours; *held* is how much of the rest of "
        "the fault the alarm stood; *clear* how long it went on afterwards. Data: "
        "tests/bench/longrun.py, judge: tests/bench/longrun_eval.py.",
        [Table(head, rows)],
        [Panel("Long runs: faults newly found, %", bars)],
    )
