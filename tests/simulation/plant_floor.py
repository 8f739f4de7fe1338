"""Machines that take updates, well or badly: the truth that a simulated rollout is judged by."""

import random
from dataclasses import dataclass, field

from cloud.core.rollout_states import Facts, Fetched, Report, Reported, Update, UpdatePhase

S = 10**9
OLD, NEW = "1.0.0", "1.1.0"
SILENT_S = 300

HABITS = {
    "good": 40,
    "success before its restart": 6,
    "fails": 4,
    "failure although replaced": 4,
    "failure, replaced at a restart long after": 2,
    "success without a change": 4,
    "installs and says nothing": 3,
    "takes for ever": 4,
    "takes too long": 3,
    "dies": 3,
    "dies with the release": 2,
    "refuses": 3,
    "unreached at first": 4,
    "never polls": 3,
    "reports to the wrong action": 3,
    "success, then failure": 3,
    "failure, then success": 3,
    "falls back by itself": 3,
    "in alarm with the release": 3,
    "silent with the release": 2,
    "cancels by itself": 2,
    "already there": 1,
}
CANCELS = {"obeys": 6, "refuses": 3, "ignores": 2}
REVERTS = {"good": 8, "says nothing": 2, "fails": 1, "lies": 1, "not reached": 1}


def pick(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


@dataclass
class Job:
    """What a machine's installer is at."""

    action: int
    target: str
    ends_ns: int
    back: bool


@dataclass
class Machine:
    """One machine; what it runs is the truth."""

    name: str
    rng: random.Random
    habit: str
    cancels: str
    reverts: str
    edge: bool
    """Gets commands that expire; else it polls as a DDI client does."""
    version: str = OLD
    history: list[tuple[int, str]] = field(default_factory=list)
    changes: list[tuple[int, str]] = field(default_factory=list)
    """Restarts to come, and what it will run then."""
    job: Job | None = None
    done: set[int] = field(default_factory=set)
    dead: bool = False
    offline_until_ns: int = 0
    commands: list[tuple[int, int, str, int]] = field(default_factory=list)
    """(arrives, action, version, expires) of commands under way to an edge agent."""
    reading: tuple[str, int] = ("", 0)
    heard_ns: int = 0
    attempts: int = 0
    busy_until_ns: int = 0
    story: set[str] = field(default_factory=set)

    def runs_at(self, at_ns: int) -> str:
        """Return what it ran at a moment."""
        ran = OLD
        for since_ns, version in self.history:
            if since_ns <= at_ns:
                ran = version
        return ran

    def live(self, update: Update, now_ns: int) -> list[Reported | Fetched]:
        """Let time pass; return what it says."""
        for change in [c for c in self.changes if c[0] <= now_ns]:
            self.changes.remove(change)
            self._run(change[1], now_ns)
        if self.dead or now_ns < self.offline_until_ns:
            return []
        if self.rng.random() < 0.004:
            self.offline_until_ns = now_ns + int(self.rng.uniform(100, 4000)) * S
            return []
        said: list[Reported | Fetched] = []
        if self.job is not None and now_ns >= self.job.ends_ns:
            said += self._finish(self.job, now_ns)
        said += self._commands(now_ns) if self.edge else self._poll(update, now_ns)
        return said

    def look(self, now_ns: int) -> Facts:
        """Return what telemetry tells of it."""
        loud = not self.dead and now_ns >= self.offline_until_ns
        if self.version == NEW and self.habit == "silent with the release":
            loud = False
        if loud and self.rng.random() < 0.9:
            delay_ns = int(self.rng.expovariate(1 / 20)) * S
            at_ns = max(self.reading[1], now_ns - delay_ns)
            self.reading, self.heard_ns = (self.runs_at(at_ns), at_ns), now_ns
        sick = self.version == NEW and self.habit == "in alarm with the release"
        if now_ns >= self.busy_until_ns and self.rng.random() < 0.002:
            self.busy_until_ns = now_ns + int(self.rng.uniform(500, 20_000)) * S
        return Facts(
            version=self.reading[0],
            version_ns=self.reading[1],
            alarm=sick or self.rng.random() < 0.003,
            silent=now_ns - self.heard_ns > SILENT_S * S,
            busy="case 7 is open" if now_ns < self.busy_until_ns else "",
        )

    def _run(self, version: str, now_ns: int) -> None:
        if version != self.version:
            self.version = version
            self.history.append((now_ns, version))
            if version == NEW and self.habit == "falls back by itself":
                self.changes.append((now_ns + int(self.rng.uniform(60, 900)) * S, OLD))

    def _commands(self, now_ns: int) -> list[Reported | Fetched]:
        said: list[Reported | Fetched] = []
        for command in [c for c in self.commands if c[0] <= now_ns]:
            self.commands.remove(command)
            _, action, version, expires_ns = command
            if now_ns >= expires_ns:
                self.story.add("command expired")
                said.append(self._say(action, Report.UNREACHED, now_ns))
            elif self.habit != "never polls":
                said += self._start(action, version, now_ns)
        return said

    def _poll(self, update: Update, now_ns: int) -> list[Reported | Fetched]:
        if self.habit == "never polls" or self.rng.random() < 0.3:
            return []
        phase, action = update.phase, update.action
        back = phase is UpdatePhase.REVERTING
        if phase is UpdatePhase.CANCELLING:
            return self._cancel(action, now_ns)
        open_ = phase in (UpdatePhase.OFFERED, UpdatePhase.INSTALLING) or back
        if not open_ or self.job is not None or action in self.done:
            return []
        return self._start(action, update.from_version if back else NEW, now_ns)

    def _cancel(self, action: int, now_ns: int) -> list[Reported | Fetched]:
        if self.cancels == "ignores" or (self.job is not None and self.job.action != action):
            return []
        if self.cancels == "refuses" and self.job is not None:
            return [self._say(action, Report.CANCEL_REFUSED, now_ns)]
        self.job = None
        self.done.add(action)
        return [self._say(action, Report.CANCELED, now_ns)]

    def _start(self, action: int, target: str, now_ns: int) -> list[Reported | Fetched]:
        back = target != NEW
        self.attempts += not back
        if not back and self.habit == "refuses":
            self.done.add(action)
            return [self._say(action, Report.REFUSED, now_ns)]
        if (not back and self.habit == "unreached at first" and self.attempts == 1) or (
            back and self.reverts == "not reached"
        ):
            self.done.add(action)
            return [self._say(action, Report.UNREACHED, now_ns)]
        lasts_s = self.rng.uniform(20, 600)
        if not back and self.habit in ("takes for ever", "takes too long"):
            lasts_s = 10**9 if self.habit == "takes for ever" else self.rng.uniform(2000, 6000)
        self.job = Job(action, target, now_ns + int(lasts_s) * S, back)
        if self.edge:
            return []
        said: list[Reported | Fetched] = [Fetched(self.name, action)]
        return [*said, self._say(action, Report.TAKEN, now_ns)] if self.rng.random() < 0.7 else said

    def _finish(self, job: Job, now_ns: int) -> list[Reported | Fetched]:
        self.job = None
        self.done.add(job.action)
        return self._go_back(job, now_ns) if job.back else self._install(job, now_ns)

    def _go_back(self, job: Job, now_ns: int) -> list[Reported | Fetched]:
        if self.reverts == "fails":
            return [self._say(job.action, Report.FAILURE, now_ns)]
        if self.reverts != "lies":
            self._run(job.target, now_ns)
        if self.reverts == "says nothing":
            return []
        return [self._say(job.action, Report.SUCCESS, now_ns)]

    def _install(self, job: Job, now_ns: int) -> list[Reported | Fetched]:
        habit, action = self.habit, job.action
        restart_ns = now_ns + int(self.rng.uniform(10, 200)) * S
        keeps = ("fails", "success without a change", "dies", "cancels by itself")
        later = {"success before its restart": restart_ns,
                 "failure, replaced at a restart long after": now_ns + 5000 * S}  # fmt: skip
        if habit in later:
            self.changes.append((later[habit], NEW))
        elif habit not in keeps:
            self._run(NEW, now_ns)
        if habit.startswith("dies"):
            self.dead = True
        told = {
            "fails": [Report.FAILURE],
            "failure although replaced": [Report.FAILURE],
            "failure, replaced at a restart long after": [Report.FAILURE],
            "installs and says nothing": [],
            "dies": [],
            "dies with the release": [],
            "success, then failure": [Report.SUCCESS, Report.FAILURE],
            "failure, then success": [Report.FAILURE, Report.SUCCESS],
            "cancels by itself": [Report.CANCELED],
        }.get(habit, [Report.SUCCESS])
        wrong = habit == "reports to the wrong action"
        number = action + self.rng.choice([-1, 1, 100_000]) if wrong else action
        return [self._say(number, report, now_ns) for report in told]

    def _say(self, action: int, report: Report, now_ns: int) -> Reported:
        return Reported(self.name, action, report, now_ns, f"{report.value} of {self.name}")


def machine(name: str, rng: random.Random) -> Machine:
    """Return a machine with habits by chance."""
    made = Machine(
        name, rng, pick(rng, HABITS), pick(rng, CANCELS), pick(rng, REVERTS), rng.random() < 0.4
    )
    if made.habit == "already there":
        made.version = NEW
        made.history.append((0, NEW))
    return made
