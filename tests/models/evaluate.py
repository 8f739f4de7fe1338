"""How well the shipped detector and diagnosis do on the simulated machines, in process.

    python tests/models/evaluate.py --hours 24 --seeds 5

Commissioning is the first hour only, so most of the day cycle is new to the detector. Healthy
hours are full of baits: steps of the demand, modes switched early, restarts, stops of minutes, and,
for half of the hours, an economy mode that commissioning never saw. The machines move their own
set-points every few minutes within a band. Not there, because the simulator has none: ambient
swings beyond its 1.5 K day wave, set-points beyond the band, a third running mode.

Every figure stands beside a detector that always alarms and one that never does: neither finds
anything *newly*, and that is the figure that counts. A false case is one alarm episode without a
fault: each would open a case.
"""

# ruff: noqa: T201  # a program that prints its findings

import argparse
import copy
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

from contract.faults import UNKNOWN
from contract.machines import MachineType, library
from contract.telemetry import Quality, Reading
from firmware_sim.faults import CATALOGUE, LINK_FAULTS, Nature
from firmware_sim.physics import MACHINES
from firmware_sim.physics.machine import RUN, Machine
from models.diagnose import rank
from models.monitor import Assessment, Monitor, State

START_NS = 1_800_000_000_000_000_000
STEP_NS = 1_000_000_000
POLL = 5
QUIET_S = 60
"""A fault counts as found only if there was no alarm this long before it."""
LOOK_S = 1200
SETTLE_S = 120
"""The diagnosis is read again this long after the alarm."""
AFTER_S = 1200
REQUEST_NONE, REQUEST_STOP = 0, 1
"""Values of every type's mode_request beside the modes themselves."""


@dataclass
class Tally:
    """What one detector did on one machine type."""

    faults: int = 0
    found_min: dict[str, list[float]] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)
    first: dict[str, list[bool]] = field(default_factory=dict)
    first_later: dict[str, list[bool]] = field(default_factory=dict)
    mistaken: dict[str, list[str]] = field(default_factory=dict)
    clear_min: dict[str, list[float]] = field(default_factory=dict)
    hours: float = 0.0
    episodes: list[str] = field(default_factory=list)
    after: Counter[str] = field(default_factory=Counter)
    """False episodes by the bait that came last."""
    alarms: int = 0
    unjudged: int = 0
    readings: int = 0


class Run:
    """One simulated machine and the readings that its gateway would see."""

    def __init__(self, kind: type[Machine], machine: MachineType, seed: int) -> None:
        self.machine = machine
        self.sim = kind(f"{machine.name}-{seed}", seed)
        self.now_ns = START_NS + seed * 5 * 3600 * STEP_NS
        self.scales = {s.name: s.modbus.scale for s in machine.signals if s.modbus}

    def reading(self) -> Reading | None:
        """Step to the next poll; None if the machine does not answer."""
        for _ in range(POLL):
            self.now_ns += STEP_NS
            self.sim.step(1.0, self.now_ns)
        if not self.sim.answers:
            return None
        values: dict[str, float | None] = {}
        quality = {}
        for s in self.machine.signals:
            value = self.sim.values.get(s.name)
            quality[s.name] = Quality.GOOD
            if value is None:
                quality[s.name] = Quality.BAD
            else:
                if s.modbus and s.modbus.type != "FLOAT32":
                    value = round(value / s.modbus.scale) * s.modbus.scale
                if not s.range[0] <= value <= s.range[1]:
                    quality[s.name] = Quality.UNCERTAIN
            values[s.name] = value
        return Reading(self.now_ns, values, quality)


Judge = Callable[[Reading], Assessment]


def _judge(detector: str, machine: MachineType, saved: bytes) -> Judge:
    if detector == "farfix":
        return Monitor.restore(machine, saved).update
    state = State.ALARM if detector == "always" else State.HEALTHY
    return lambda r: Assessment(r.time_ns, state, None, [], [], 1.0)


def _watch(run: Run, judge: Judge, seconds: float) -> Iterator[Assessment]:
    end = run.now_ns + seconds * STEP_NS
    while run.now_ns < end:
        reading = run.reading()
        if reading is not None:
            yield judge(reading)


def _bait(run: Run, what: str) -> None:
    if what == "restart":
        run.sim.pulse("restart")
    elif what == "stop":
        run.sim.write("mode_request", REQUEST_STOP)
    elif what == "start":
        run.sim.write("mode_request", REQUEST_NONE)
    elif not any(e.fault == what and e.ended_ns is None for e in run.sim.episodes):
        run.sim.inject(what)


def healthy(run: Run, judge: Judge, hours: float, seed: int, tally: Tally, *, new: str) -> None:
    """Run without faults but with baits; count alarm episodes. ``new`` is what is new all along."""
    dice = random.Random(seed)
    alarm = False
    baits = [f for f, m in CATALOGUE[run.machine.name].items() if m.nature is Nature.BAIT]
    left = hours * 3600.0
    what = "start"
    while left > 0:
        stopped = what == "stop"
        span = min(left, dice.uniform(180, 1200) if stopped else dice.uniform(1800, 5400))
        for a in _watch(run, judge, span):
            tally.readings += 1
            tally.alarms += a.state is State.ALARM
            tally.unjudged += a.state is State.UNJUDGED
            if a.state is State.ALARM and not alarm:
                alarm = True
                named = rank(run.machine, a.deviations, a.checks)[0].fault
                lead = [(d.signal, d.direction.value, round(d.sigmas, 1)) for d in a.deviations[:2]]
                at = (run.now_ns - START_NS) / 3.6e12
                tally.after[new + what] += 1
                tally.episodes.append(
                    f"{run.sim.device} {at:.2f}h after {new}{what}: {named} {lead} {a.checks}"
                )
            elif a.state is State.HEALTHY:
                alarm = False
        left -= span
        what = "start" if stopped else dice.choice([*baits, "restart", "stop"])
        _bait(run, what)
    tally.hours += hours


def fault(run: Run, judge: Judge, code: str, tally: Tally) -> None:
    """Inject one fault, wait for the alarm, read the diagnosis, cure it, wait for the end."""
    before = [a.state is State.ALARM for a in _watch(run, judge, QUIET_S)]
    run.sim.inject(code)
    start_ns, found = run.now_ns, None
    fair = CATALOGUE[run.machine.name][code].diagnosable_as
    tally.faults += 1
    last_rank = UNKNOWN
    for a in _watch(run, judge, LOOK_S):
        if a.state is not State.ALARM or any(before):
            continue
        ranked = rank(run.machine, a.deviations, a.checks)
        if found is None:
            found = run.now_ns
            tally.found_min.setdefault(code, []).append((found - start_ns) / 6e10)
            tally.first.setdefault(code, []).append(ranked[0].fault in fair)
        last_rank = ranked[0].fault
        if run.now_ns - found >= SETTLE_S * STEP_NS:
            break
    if found is None:
        tally.missed[code] = tally.missed.get(code, 0) + 1
        return
    tally.first_later.setdefault(code, []).append(last_rank in fair)
    if last_rank not in fair:
        picture = [f"{d.signal} {d.direction} {d.sigmas:.0f}" for d in a.deviations]
        tally.mistaken.setdefault(code, []).append(f"{last_rank}: {picture}")
    if any(e.fault == code and e.ended_ns is None for e in run.sim.episodes):
        run.sim.repair(code)
    start_ns = run.now_ns
    for a in _watch(run, judge, AFTER_S):
        if a.state is State.HEALTHY:
            tally.clear_min.setdefault(code, []).append((run.now_ns - start_ns) / 6e10)
            return
    tally.clear_min.setdefault(code, []).append(float("inf"))


def _commissioned(
    kind: type[Machine], machine: MachineType, seed: int, *, economy: bool
) -> tuple[Run, bytes]:
    """Return a machine and the monitor that was commissioned on it, with or without ECO mode."""
    run, monitor = Run(kind, machine, seed), Monitor(machine)
    for _ in range(3 * 3600):
        if not economy:
            run.sim.write("mode_request", RUN)  # requests end by themselves; this one is renewed
        reading = run.reading()
        if reading is not None and monitor.update(reading).progress >= 1.0:
            break
    run.sim.write("mode_request", REQUEST_NONE)
    return run, monitor.save()


def evaluate(
    kind: type[Machine], machine: MachineType, hours: float, seeds: range
) -> dict[str, Tally]:
    """Return one tally per detector."""
    tallies = {"farfix": Tally(), "always": Tally(), "never": Tally()}
    for seed in seeds:
        start, saved = _commissioned(kind, machine, seed, economy=True)
        bare, unaware = _commissioned(kind, machine, seed, economy=False)
        for name, tally in tallies.items():
            for run, learned, new in ((start, saved, ""), (bare, unaware, "new mode, ")):
                watch = _judge(name, machine, learned)
                healthy(copy.deepcopy(run), watch, hours / 2, seed, tally, new=new)
            for code, model in CATALOGUE[machine.name].items():
                if model.nature is not Nature.BAIT and code not in LINK_FAULTS:
                    run, watch = copy.deepcopy(start), _judge(name, machine, saved)
                    warm = random.Random(f"{seed}{code}").uniform(120, 1800)
                    for _ in _watch(run, watch, warm):
                        pass
                    fault(run, watch, code, tally)
    return tallies


def show(machine: str, tallies: dict[str, Tally]) -> None:
    """Print one machine type's figures."""
    print(f"\n== {machine}")
    for name, t in tallies.items():
        found = sum(len(v) for v in t.found_min.values())
        first = sum(sum(v) for v in t.first.values())
        later = sum(sum(v) for v in t.first_later.values())
        cases = len(t.episodes) / t.hours * 24_000
        minutes = t.alarms * POLL / 60 / t.hours * 1000
        print(
            f"{name:8} newly found {found}/{t.faults}, named first {first} at once, {later} after "
            f"{SETTLE_S} s; false cases {len(t.episodes)} in {t.hours:.0f} h = {cases:.0f} per "
            f"1,000 days, {minutes:.0f} false min per 1,000 h; "
            f"unjudged {100 * t.unjudged / max(t.readings, 1):.1f} %"
        )
    t = tallies["farfix"]
    if t.after:
        print(f"  false cases after: {dict(t.after.most_common())}")
    for code in sorted({*t.found_min, *t.missed}):
        found_min, clear = t.found_min.get(code, []), t.clear_min.get(code, [])
        print(
            f"  {code:24} found {len(found_min)}/{len(found_min) + t.missed.get(code, 0)}"
            f" median {median(found_min or [0]):.1f} max {max(found_min or [0]):.1f} min;"
            f" named {sum(t.first.get(code, []))} -> {sum(t.first_later.get(code, []))};"
            f" clear median {median(clear or [0]):.1f} max {max(clear or [0]):.1f} min"
            f" {t.mistaken.get(code, '')}"
        )
    for episode in t.episodes[:12]:
        print("  false:", episode)


def main() -> None:
    """Evaluate every simulated machine type."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--type", default="")
    args = parser.parse_args()
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    for name, kind in MACHINES.items():
        if args.type in ("", name):
            show(name, evaluate(kind, library()[name], args.hours, seeds))


if __name__ == "__main__":
    main()
