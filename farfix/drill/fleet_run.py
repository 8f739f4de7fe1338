"""One simulated rollout: a simulated fleet, the real rules, the real comparison."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from msgspec import Struct

from cloud.adapters.board import Board
from cloud.core import rollout as rules
from cloud.core.rollout_states import (
    ACTIVE,
    ENDED,
    Candidate,
    Compared,
    Event,
    Facts,
    Install,
    Order,
    Outcome,
    Report,
    Reported,
    Revert,
    Rollout,
    Ticked,
    Update,
    UpdatePhase,
)
from cloud.service.health import Comparison
from contract.firmware import Claims
from farfix.drill.world import PUMP, STEP_NS, STEP_S, Harm, World
from models.monitor import STATES, State

OLD, NEW = "1.0.0", "1.1.0"
BEFORE_STEPS = 60
"""The gateway has seen the fleet for two hours when a rollout begins."""
LONGEST_STEPS = 3 * 720
SILENT_NS = 300 * 1_000_000_000
"""As `cloud.config` has it."""
_BEGIN_NS = 1_800_000_000 * 1_000_000_000 // STEP_NS * STEP_NS
_ALARM = STATES.index(State.ALARM)


class End(Struct, frozen=True, kw_only=True):
    """How one rollout ended."""

    seed: int
    phase: str
    stop: str
    """What stopped it; empty: nothing did."""
    reached: int
    """Machines that had the release."""
    harmed: int
    """Those of them that it harmed, in truth."""
    prone: int
    """Machines that it would harm."""
    minutes: float
    """From the first offer to the stop, or to the end."""
    left: int
    """Machines that still run the release after a stop ..."""
    untold: int
    """... and of which the gateway does not say so: they are no case for people."""
    judged_unhealthy: int
    """Machines that were taken back one by one, because they were plainly in alarm or silent."""


class _Task(Struct):
    """What an installer is about."""

    action: int
    release: bool
    taken: bool = False
    refused: bool = False
    """It said that it is too late to call it back."""


def run(devices: int, harm: Harm, seed: int) -> End:
    """Roll a release out to a fleet drawn from the seed."""
    with TemporaryDirectory() as folder:
        return _Run(devices, harm, seed, Path(folder)).all()


class _Run:
    def __init__(self, devices: int, harm: Harm, seed: int, folder: Path) -> None:
        self.seed, self.world = seed, World(devices, harm, seed)
        names = self.world.names
        self.index = {name: i for i, name in enumerate(names)}
        self.board = Board.create(folder / "board", names, len(PUMP.signals))
        self.comparison = Comparison(PUMP, names)
        self.now_ns = _BEGIN_NS
        self.heard_ns = np.zeros(devices, np.int64)
        self.alarm = np.zeros(devices, np.bool_)
        self.tasks: dict[str, _Task] = {}
        for _ in range(BEFORE_STEPS):
            self.observe()
        self.rollout, self.updates = self.create()
        self.begun_ns, self.reached, self.harmed = 0, 0, 0

    def create(self) -> tuple[Rollout, dict[str, Update]]:
        world = self.world
        candidates = [
            Candidate(
                device=name,
                site=f"site-{world.site[i]}",
                labels=[],
                hardware=int(world.hardware[i]),
                version=OLD,
            )
            for name, i in self.index.items()
        ]
        order = Order(machine_type=PUMP.name, version=NEW)
        claims = Claims(machine_type=PUMP.name, version=NEW)
        # The number is what stages are drawn by.
        made = rules.create(self.seed % 20_000 + 1, order, "drill", claims, candidates, self.now_ns)
        return made[0], dict(made[1])

    def all(self) -> End:
        """Run until it has ended."""
        for _ in range(LONGEST_STEPS):
            if self.rollout.phase in ENDED:
                break
            self.observe()
            self.install()
            self.apply(Ticked(self.facts()))
            for compared in self.due():
                self.apply(compared)
        return self.end()

    def observe(self) -> None:
        """Let time pass in the world, and look at it."""
        self.now_ns += STEP_NS
        self.world.step()
        heard = self.world.show(self.board, self.now_ns)
        self.heard_ns[heard] = self.now_ns
        self.alarm[heard] = self.world.state[heard] == _ALARM
        self.comparison.sample(self.now_ns, [self.board])

    def facts(self) -> dict[str, Facts]:
        """Return what is known of the machines that the rollout is about now."""
        stage = self.rollout.stage
        return {
            device: self.fact(self.index[device])
            for device, update in self.updates.items()
            if update.phase in ACTIVE
            or (update.phase is UpdatePhase.WAITING and update.stage == stage)
        }

    def fact(self, i: int) -> Facts:
        alarm, heard_ns = bool(self.alarm[i]), int(self.heard_ns[i])
        return Facts(
            version=NEW if self.world.release[i] else OLD,
            version_ns=heard_ns,
            alarm=alarm,
            silent=self.now_ns - heard_ns > SILENT_NS,
            busy="a case is open" if alarm else "",
        )

    def due(self) -> list[Compared]:
        return self.comparison.due(self.rollout, self.updates, self.now_ns)

    def apply(self, event: Event) -> None:
        """Move the rollout, and hand what it asks for to the machines."""
        before = self.rollout.stop
        outcome: Outcome = rules.step(self.rollout, self.updates, event, self.now_ns)
        self.rollout = outcome[0]
        self.updates.update(outcome[1])
        for effect in outcome[2]:
            if isinstance(effect, Install | Revert):
                self.begun_ns = self.begun_ns or self.now_ns
                release = isinstance(effect, Install)
                self.tasks[effect.device] = _Task(effect.action, release)
        if self.rollout.stop is not None and before is None:
            self.count()

    def count(self) -> None:
        """Count, at the stop, whom the release has reached and harmed."""
        self.reached = sum(u.begun or u.watched_ns > 0 for u in self.updates.values())
        self.harmed = int(self.world.ever_harmed.sum())

    def install(self) -> None:
        """Let every installer do what two minutes are enough for, and say so."""
        for device, task in list(self.tasks.items()):
            i = self.index[device]
            if self.world.step_number < self.world.off_until[i]:
                continue  # out of reach: it goes on afterwards
            called_back = self.updates[device].phase is UpdatePhase.CANCELLING
            if not task.taken and called_back:
                del self.tasks[device]
                self.say(device, task, Report.CANCELED)
            elif not task.taken:
                task.taken = True
                self.say(device, task, Report.TAKEN)
            else:
                if called_back and not task.refused:
                    task.refused = True
                    self.say(device, task, Report.CANCEL_REFUSED)
                self.world.boot(i, release=task.release)
                del self.tasks[device]
                self.say(device, task, Report.SUCCESS)

    def say(self, device: str, task: _Task, report: Report) -> None:
        self.apply(Reported(device, task.action, report, self.now_ns))

    def end(self) -> End:
        stop = self.rollout.stop
        if stop is None:
            self.count()
        release = self.world.release
        left = [u for d, u in self.updates.items() if release[self.index[d]] and stop is not None]
        end_ns = self.rollout.entered_ns if stop is None else stop.at_ns
        return End(
            seed=self.seed,
            phase=self.rollout.phase.value,
            stop="" if stop is None else stop.kind.value,
            reached=self.reached,
            harmed=self.harmed,
            prone=int(self.world.prone.sum()),
            minutes=(end_ns - self.begun_ns) / STEP_NS * STEP_S / 60,
            left=len(left),
            untold=sum(u.phase is not UpdatePhase.UNCLEAR for u in left),
            judged_unhealthy=_unhealthy(self.updates),
        )


def _unhealthy(updates: Mapping[str, Update]) -> int:
    return sum(bool(update.harm) for update in updates.values())
