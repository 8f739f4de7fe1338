"""Whole rollouts on machines that lie, answer twice, die or take for ever, from one seed.

python tests/simulation/rollouts.py --seeds 2000     # figures, and what was broken
python tests/simulation/rollouts.py --tell 17        # one story
"""

import argparse
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from cloud.core import rollout as core
from cloud.core.rollout_states import (
    ACTIONS_PER_ROLLOUT,
    ENDED,
    ENDS,
    Approved,
    Canceled,
    Candidate,
    Compared,
    Disagreement,
    Event,
    Gate,
    Install,
    Limits,
    Order,
    Paused,
    Phase,
    Policy,
    Quarantine,
    Ramp,
    Record,
    Resumed,
    Revert,
    Rollout,
    Stage,
    StopAsked,
    Ticked,
    Update,
    UpdatePhase,
    Window,
)
from cloud.core.windows import is_open
from contract.errors import Refused
from contract.firmware import Claims
from tests.simulation.plant_floor import NEW, OLD, Machine, S, machine

T0_NS = 1_790_000_000 * S
DAYS_MAX = 12
P = UpdatePhase
LEFT = {
    P.UPDATED: {P.REVERTING, P.UNCLEAR},
    P.FAILED: {P.UNCLEAR},
    P.CANCELED: {P.UNCLEAR},
    P.REVERTED: {P.UNCLEAR},
}
"""Ends that may be left, and where to."""


@dataclass
class Figures:
    """What became of many rollouts."""

    rollouts: Counter[str] = field(default_factory=Counter)
    updates: Counter[str] = field(default_factory=Counter)
    sometimes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class World:
    """One rollout, its machines, and people who interfere."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.seed, self.figures = seed, Figures()
        self.worse = rng.random() < 0.25
        count = rng.choice([1, 3, 8, 12, 20, 30])
        self.machines = {f"m{i}": machine(f"m{i}", rng) for i in range(count)}
        if rng.random() < 0.5:
            for one in self.machines.values():
                one.habit = (
                    "good" if one.habit == "already there" or rng.random() < 0.8 else one.habit
                )
                if one.habit == "good":
                    one.version, one.history = OLD, []
        number = rng.randrange(1, 21_000)
        candidates = [
            Candidate(device=n, site=f"s{i % 4}", labels=[], hardware=1 + i % 3, version=OLD)
            for i, n in enumerate(self.machines)
        ]
        risky = rng.random() < 0.3
        claims = Claims(machine_type="pump", version=NEW, high_risk=risky)
        proposed = Phase.PROPOSED if rng.random() < 0.2 else None
        self.now_ns = T0_NS + rng.randrange(86_400) * S
        self.rollout, self.updates, _ = core.create(
            number, _order(rng), "Ada", claims, candidates, self.now_ns, phase=proposed
        )
        self.highest = self.listening_ns = 0
        self.told: list[str] = []
        self.post: list[tuple[int, Event]] = []

    def run(self) -> Figures:
        """Let it all happen."""
        while self.rollout.phase not in ENDED:
            self.now_ns += self.rng.randrange(10, 90) * S
            if self.now_ns > T0_NS + DAYS_MAX * 86_400 * S:
                self._problem(f"no end within {DAYS_MAX} days")
                break
            if self.rng.random() < 0.004:
                self.figures.sometimes["gateway down"] += 1
                self.now_ns += self.rng.randrange(60, 4000) * S
                self.listening_ns = self.now_ns
                for one in self.machines.values():
                    one.reading, one.heard_ns = ("", 0), 0
            self._machines()
            self._people()
            self._compare()
            for due_ns, event in list(self.post):
                if due_ns <= self.now_ns:
                    self.post.remove((due_ns, event))
                    self._step(event)
            facts = {n: m.look(self.now_ns) for n, m in self.machines.items()}
            heard = {n: f for n, f in facts.items() if self.rng.random() < 0.99}
            self._step(Ticked(heard, self.listening_ns))
        self._judge()
        return self.figures

    def _machines(self) -> None:
        for one in self.machines.values():
            for event in one.live(self.updates[one.name], self.now_ns):
                copies = 2 if self.rng.random() < 0.1 else 1
                for _ in range(copies):
                    late_s = 0 if self.rng.random() < 0.7 else int(self.rng.expovariate(1 / 120))
                    self.post.append((self.now_ns + late_s * S, event))
                self.figures.sometimes["message doubled"] += copies - 1

    def _people(self) -> None:
        rng, phase = self.rng, self.rollout.phase
        waits = phase in (Phase.PROPOSED, Phase.AWAITING_APPROVAL)
        if waits and rng.random() < 0.05:
            self._step(Approved(rng.choice(["Ada", "Grace", "Alan"])))
        if phase is Phase.PAUSED and rng.random() < 0.03:
            self._step(Resumed("Grace"))
        if rng.random() < 0.003:
            events: list[Event] = [
                Paused("Grace"), Paused("Grace"), Paused("Ada", "lunch"), Resumed("Alan"),
                Approved("Ada"), Canceled("Ada", "not today"), StopAsked("Alan", "smells burnt"),
            ]  # fmt: skip
            self._step(rng.choice(events))

    def _compare(self) -> None:
        gate = self.rollout.order.policy.gate
        for update in list(self.updates.values()):
            look = len(update.looks)
            if update.phase is not P.WATCHING or look >= len(gate.looks):
                continue
            soak_s = self.rollout.order.policy.stages[update.stage].soak_s
            if self.now_ns >= update.watched_ns + int(gate.looks[look] * soak_s * S):
                low = 0.02 if self.worse else 1.0
                ps = [self.rng.uniform(1e-6, low), self.rng.uniform(1e-6, 1.0)]
                self._step(Compared(update.device, look, ps))

    def _step(self, event: Event) -> None:
        before, old = self.rollout, self.updates
        try:
            moved, changed, effects = core.step(before, old, event, self.now_ns)
        except Refused:
            self.figures.sometimes["author tried to approve"] += 1
            return
        self.rollout = core.decode_rollout(core.encode_rollout(moved))
        stored = {d: core.decode_update(core.encode_update(u)) for d, u in changed.items()}
        if self.rollout != moved or stored != changed:
            self._problem("what was stored is not what was there")
        self.updates = {**old, **stored}
        for effect in effects:
            self._do(effect, before)
        disagreed = {e.device for e in effects if isinstance(e, Disagreement)}
        for device, update in stored.items():
            self._look_at(old[device], update, disagreed)
        if moved.phase is not before.phase:
            self._tell(f"rollout: {before.phase} -> {moved.phase} on {type(event).__name__}")
        if not isinstance(event, Ticked) and moved == before and not changed and not effects:
            self.figures.sometimes[f"{type(event).__name__} changed nothing"] += 1

    def _do(self, effect: object, before: Rollout) -> None:
        if isinstance(effect, Record):
            self.figures.sometimes[f"record: {effect.what}"] += 1
            self._tell(f"{effect.device or 'rollout'}: {effect.what}: {effect.text}")
        if isinstance(effect, Quarantine):
            self.figures.sometimes["quarantine"] += 1
        if not isinstance(effect, Install | Revert):
            return
        first = before.number * ACTIONS_PER_ROLLOUT
        if not max(self.highest, first) < effect.action < min(first + ACTIONS_PER_ROLLOUT, 2**31):
            self._problem(f"action {effect.action} after {self.highest}")
        self.highest = effect.action
        one = self.machines[effect.device]
        version = effect.version if isinstance(effect, Revert) else NEW
        if one.edge:
            at_ns = self.now_ns + self.rng.randrange(1, 60) * S
            one.commands.append((at_ns, effect.action, version, effect.expires_ns))
        if isinstance(effect, Install):
            window = before.order.policy.window
            if before.phase is not Phase.RUNNING or not is_open(window, self.now_ns):
                self._problem(f"began {effect.device} while {before.phase} or outside the window")
            if self.updates[effect.device].stage > before.stage:
                self._problem(f"began {effect.device} before its stage")

    def _look_at(self, old: Update, new: Update, disagreed: set[str]) -> None:
        if new.phase is old.phase:
            return
        one = self.machines[new.device]
        self._tell(f"{new.device} ({one.habit}): {old.phase} -> {new.phase}; runs {one.version}")
        if old.phase in ENDS and new.phase not in LEFT.get(old.phase, set()):
            self._problem(f"{new.device} left its end {old.phase} for {new.phase}")
        if (new.phase is P.UNCLEAR) != (new.device in disagreed):
            self._problem(f"{new.device} is {new.phase}, and a case was opened or not against that")
        self._compare_with_truth(one, new)

    def _compare_with_truth(self, one: Machine, new: Update) -> None:
        at_ns = new.version_ns
        if new.phase is P.UPDATED and one.runs_at(one.reading[1]) != NEW:
            self._problem(f"{new.device} is updated but runs {one.runs_at(one.reading[1])}")
        if new.phase is P.UPDATED and self.now_ns - one.heard_ns > 600 * S and not new.harm:
            self._problem(f"{new.device} is updated but has not been heard")
        if new.phase is P.WATCHING and one.runs_at(at_ns) != NEW:
            self._problem(f"{new.device} is watched but runs {one.version}")
        if new.phase is P.REVERTED and one.runs_at(at_ns) != OLD:
            self._problem(f"{new.device} is reverted but runs {one.version}")
        gone = new.phase in (P.FAILED, P.CANCELED, P.SKIPPED) and new.attempts
        if gone and new.reported_ns and one.runs_at(new.reported_ns) == NEW:
            self._problem(f"{new.device} is {new.phase} but ran the release when it said so")
        if gone and one.runs_at(self.now_ns) == NEW and not one.dead:
            known = ("failure, replaced at a restart long after", "already there")
            if one.runs_at(one.reading[1]) == NEW and one.habit not in known:
                self._problem(f"{new.device} is {new.phase} but runs the release")
            self.figures.sometimes["has just become new"] += 1

    def _judge(self) -> None:
        figures, rollout = self.figures, self.rollout
        figures.rollouts[rollout.phase.value] += 1
        if rollout.stop is not None:
            figures.sometimes[f"stop: {rollout.stop.kind.value}"] += 1
        for device, update in self.updates.items():
            one = self.machines[device]
            figures.updates[update.phase.value] += 1
            if update.phase not in ENDS:
                self._problem(f"{device} is left {update.phase}")
            if update.phase in (P.UPDATED, P.REVERTED, P.FAILED, P.CANCELED):
                wanted = NEW if update.phase is P.UPDATED else OLD
                if one.version != wanted:
                    figures.sometimes[f"{update.phase.value}, and changed later"] += 1
            if update.attempts:
                figures.sometimes[f"habit: {one.habit}"] += 1
                figures.sometimes[f"{one.habit}: {update.phase.value}"] += 1
            for story in one.story:
                figures.sometimes[story] += 1
        stage = max((u.stage for u in self.updates.values() if u.action), default=0)
        if stage > rollout.stage:
            self._problem(f"stage {stage} was reached in stage {rollout.stage}")

    def _problem(self, text: str) -> None:
        self.figures.problems.append(f"seed {self.seed}: {text}")
        self._tell(f"PROBLEM {text}")

    def _tell(self, text: str) -> None:
        self.told.append(f"{(self.now_ns - T0_NS) / S:9.0f} s  {text}")


def _order(rng: random.Random) -> Order:
    soak_s = rng.choice([0.0, 900.0, 3600.0])
    limits = Limits(
        attempts_max=rng.randint(1, 3),
        retry_s=rng.choice([0.0, 600.0]),
        offer_s=rng.choice([3600.0, 14_400.0]),
        install_s=1800.0,
        readback_s=600.0,
        failed_percent=rng.choice([20.0, 60.0, 100.0]),
        timed_out_percent=rng.choice([40.0, 100.0]),
    )
    window = None
    if rng.random() < 0.3:
        window = Window(start="20:00", hours=12, timezone=rng.choice(["UTC", "Europe/Berlin"]))
    policy = Policy(
        stages=[Stage(count=2, soak_s=soak_s), Stage(percent=40, soak_s=soak_s),
                Stage(percent=100, soak_s=soak_s)],
        ramp=Ramp(base_per_minute=rng.choice([0.2, 2, 20]), every=5, max_per_minute=50),
        window=window, limits=limits, gate=Gate(settle_s=rng.choice([60.0, 300.0])),
        revert=rng.random() < 0.8,
    )  # fmt: skip
    return Order(machine_type="pump", version=NEW, policy=policy)


def run(seed: int) -> World:
    """Return one world after its rollout."""
    world = World(seed)
    world.run()
    return world


def run_many(seeds: Iterable[int]) -> Figures:
    """Add up many rollouts."""
    total = Figures()
    for seed in seeds:
        figures = run(seed).figures
        total.rollouts += figures.rollouts
        total.updates += figures.updates
        total.sometimes += figures.sometimes
        total.problems += figures.problems
    return total


def main() -> None:
    """Run seeds by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--tell", type=int)
    asked = parser.parse_args()
    if asked.tell is not None:
        print("\n".join(run(asked.tell).told))  # noqa: T201 - the story is the point
        return
    total = run_many(range(asked.seeds))
    for name in ("rollouts", "updates", "sometimes"):
        print(name, dict(sorted(getattr(total, name).items())))  # noqa: T201 - so are figures
    print("\n".join(total.problems[:40]) or "nothing was broken")  # noqa: T201


if __name__ == "__main__":
    main()
