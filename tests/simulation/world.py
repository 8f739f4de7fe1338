"""One seed, one world: a machine that breaks, a bad network, an edge and a gateway that restart.

The production state machine runs inside unchanged; everything around it is played from a seed. Run
many seeds, or replay one with its story:

    python tests/simulation/world.py 5000
    python tests/simulation/world.py --network nearly_dead 5000
    python tests/simulation/world.py --seed 647
"""

import argparse
import heapq
import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from cloud.core import case as life
from cloud.core import fleet, returns, telling, visits
from cloud.core.limits import Fleet, Limits
from cloud.core.states import Case, Mode, Phase, Plan, Reply, Step, Timing
from contract.commands import AnswerStatus
from contract.faults import NO_DATA, Hypothesis, Severity
from contract.tickets import ClosingReport, EscalationReason, VisitState, VisitUpdate

NS = 10**9
HOUR_S = 3600.0
HORIZON_S = 9 * HOUR_S
POLL_S = 15.0
QUIET_S = 4500.0
"""A fault that comes back does so within this time."""
REST_S = 600.0
DWELL_S = Timing().dwell_s
SILENT_AFTER_S = 300.0
MONITOR_LAG_S = (20.0, 60.0)
REMEDIES = ("restart", "recalibrate", "derate", "update_firmware")
BY_PEOPLE = (EscalationReason.CUSTOMER_REQUEST, EscalationReason.UNSAFE)


@dataclass(frozen=True)
class Network:
    """How bad the way between edge and gateway is."""

    loss: float
    duplicate: float
    late_s: float
    dead_worlds: float
    """Share of worlds in which the link dies for a while."""


NETWORKS = {
    "normal": Network(loss=0.15, duplicate=0.1, late_s=90.0, dead_worlds=0.2),
    "nearly_dead": Network(loss=0.85, duplicate=0.05, late_s=300.0, dead_worlds=0.6),
}


@dataclass
class Figures:
    """What happened in one world, or in many together."""

    sometimes: Counter[str] = field(default_factory=Counter)
    """What the world did, so that a green run proves that it was a bad one."""
    ends: Counter[str] = field(default_factory=Counter)
    needless: Counter[str] = field(default_factory=Counter)
    """Tickets for a machine that was healthy at that moment, by reason."""
    just_healed: int = 0
    """Those among them that no monitor could know of yet."""
    problems: list[str] = field(default_factory=list)
    """Broken invariants."""

    def add(self, other: "Figures") -> None:
        self.sometimes += other.sometimes
        self.ends += other.ends
        self.needless += other.needless
        self.just_healed += other.just_healed
        self.problems += other.problems


class Machine:
    """The truth: sick or healthy, since when and because of what."""

    def __init__(self, rng: random.Random) -> None:
        self.history: list[tuple[float, bool, str]] = [(0.0, False, "")]
        self.cures = {r for r in REMEDIES if rng.random() < 0.4}
        self.masks = {r for r in REMEDIES if rng.random() < 0.1}
        self.lag_s = rng.uniform(*MONITOR_LAG_S)

    def turn(self, at_s: float, *, sick: bool, cause: str) -> None:
        if self.sick(at_s) != sick:
            self.history.append((at_s, sick, cause))

    def at(self, at_s: float) -> tuple[float, bool, str]:
        return next(entry for entry in reversed(self.history) if entry[0] <= at_s or not entry[0])

    def sick(self, at_s: float) -> bool:
        return self.at(at_s)[1]

    def looks_sick(self, at_s: float) -> bool:
        """What a monitor with its lag says: a change shows only after a while."""
        return self.sick(at_s - self.lag_s)


class World:
    """Everything around the core. Times are seconds since the world began."""

    def __init__(self, seed: int, network: Network, *, forget_ids: bool, tell: bool) -> None:
        self.rng = random.Random(seed)
        self.seed, self.network, self.forget_ids, self.tell = seed, network, forget_ids, tell
        self.now = 0.0
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.figures = Figures()
        self.machine = Machine(self.rng)
        self.limits = Limits(attempts_per_day=self.rng.choice((2, 6, 6)))
        self.link_dead: tuple[float, float] = (0.0, 0.0)
        self.edge_down_until = self.gateway_down_until = 0.0
        self.edge_offset_s = self.rng.choice((0.0, 0.0, 0.0, 2.0, -2.0, -40.0))
        self.ids: dict[str, AnswerStatus] = {}
        self.executed: dict[str, list[float]] = {}
        self.cases: list[Case] = []
        self.outbox: dict[str, life.SendCommand] = {}
        self.dispatch = Dispatch(self)
        self.told: dict[str, list[str]] = {}
        self.heard_s = 0.0
        self.crowded: dict[str, tuple[float, float]] = {}
        self.mode = self.rng.choices(list(Mode), (2, 2, 6))[0]
        self.deadline_s = self.rng.choice((0.5, 2.0, 4.0, 4.0)) * HOUR_S

    # The stage.

    def at(self, delay_s: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (self.now + delay_s, next(self.order), what))

    def say(self, text: str) -> None:
        if self.tell:
            print(f"{self.now:8.0f} s  {text}")  # noqa: T201 - the story is the point

    def count(self, what: str) -> None:
        self.figures.sometimes[what] += 1

    def wrong(self, what: str) -> None:
        self.say(f"WRONG: {what}")
        self.figures.problems.append(f"seed {self.seed}: {what}")

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def run(self) -> Figures:
        self._prepare()
        while self.queue:
            self.now, _, what = heapq.heappop(self.queue)
            if self.now > HORIZON_S or self._over():
                break
            what()
        self._judge()
        return self.figures

    def _prepare(self) -> None:
        rng = self.rng
        self.at(rng.uniform(300, 900), self.fall_ill)
        self.at(0, self.measure)
        self.at(0, self.tick)
        for _ in range(rng.randint(0, 4)):
            self.at(rng.uniform(300, 3 * HOUR_S), self.reboot_edge)
        for _ in range(rng.randint(0, 3)):
            self.at(rng.uniform(300, 3 * HOUR_S), self.restart_gateway)
        if self.chance(self.network.dead_worlds):
            self.at(rng.uniform(0, 2 * HOUR_S), self.kill_link)
        if self.chance(0.08):
            self.crowded["storm"] = self._window(3000)
        if self.chance(0.08):
            self.crowded["site"] = self._window(2000)
        for p, action in (
            (0.03, life.EscalationAsked("owner", "no time")),
            (0.04, life.Dismissed("owner", "was a test")),
        ):
            if self.chance(p):
                self.at(rng.uniform(900, 2 * HOUR_S), partial(self.decide, action))
        if self.dispatch.chance(0.08):
            self.at(self.dispatch.rng.uniform(400, HOUR_S), self.pause)

    def _window(self, longest_s: float) -> tuple[float, float]:
        begin = self.rng.uniform(600, 2000)
        return begin, begin + self.rng.uniform(300, longest_s)

    def _over(self) -> bool:
        """Nothing can happen any more: no case is open, and no fault is on its way back."""
        if not self.cases or any(case.open for case in self.cases):
            return False
        return self.now > self.machine.history[-1][0] + QUIET_S

    # The machine.

    def fall_ill(self) -> None:
        self.machine.turn(self.now, sick=True, cause="fault")
        self.say("the machine falls ill")
        if self.chance(0.3):
            self.at(self.rng.choice((60, 200, 900)) * self.rng.uniform(0.5, 1.5), self.heal)

    def heal(self, cause: str = "itself") -> None:
        if not self.machine.sick(self.now):
            return
        self.machine.turn(self.now, sick=False, cause=cause)
        self.say(f"the machine is healthy again: {cause}")
        if cause == "itself":
            self.count("healed by itself")
        if cause != "visit" and self.chance(0.25):
            self.count("fault came back")
            self.at(self.rng.uniform(100, 4000), self.fall_ill)

    def mask(self) -> None:
        if self.machine.sick(self.now):
            self.count("remedy only hid the fault")
            self.machine.turn(self.now, sick=False, cause="mask")
            self.at(self.rng.uniform(30, 200), self.fall_ill)

    # The network.

    def carry(self, what: Callable[[], None], *, queued: bool = False) -> None:
        """Lose, delay, reorder or repeat a message; a broker's queue outlives a dead link."""
        begin, end = self.link_dead
        wait_s = 0.0
        if begin <= self.now < end:
            if not queued or self.chance(0.3):
                self.count("message lost to a dead link")
                return
            wait_s = end - self.now
        if self.chance(self.network.loss):
            self.count("message lost")
            return
        copies = 1 + self.chance(self.network.duplicate)
        self.figures.sometimes["message doubled"] += copies - 1
        for _ in range(copies):
            late = self.chance(0.2)
            delay_s = self.rng.uniform(1, self.network.late_s) if late else self.rng.random()
            self.figures.sometimes["message late"] += late
            if queued and self.chance(0.05):
                self.count("message very late")
                delay_s = self.rng.uniform(300, 1000)
            self.at(wait_s + delay_s, what)

    def kill_link(self) -> None:
        forever = self.chance(0.4)
        self.link_dead = (self.now, HORIZON_S if forever else self.now + self.rng.uniform(60, 4000))
        self.count("link died")
        self.say(f"the link dies until {self.link_dead[1]:.0f} s")

    # The edge.

    def edge_ns(self) -> int:
        return int((self.now + self.edge_offset_s + 100) * NS)

    def measure(self) -> None:
        self.at(POLL_S, self.measure)
        if self.now < self.edge_down_until:
            return
        healthy = not self.machine.looks_sick(self.now)
        if not healthy and self.chance(0.003):
            self.count("flicker of health")
            healthy = True
        event = life.Evidence(self.edge_ns(), healthy)
        self.carry(lambda: self.hear(event))

    def reboot_edge(self) -> None:
        self.edge_down_until = self.now + self.rng.uniform(10, 120)
        self.count("edge rebooted")
        if self.forget_ids:
            self.ids.clear()

    def receive(self, command: life.SendCommand) -> None:
        if self.now < self.edge_down_until:
            self.count("command met a rebooting edge")
            self.at(self.edge_down_until - self.now + 1, lambda: self.receive(command))
            return
        known = self.ids.get(command.command_id)
        if known is not None:
            self.count("command repeated, not executed again")
            self.reply(command, known)
        elif self.edge_ns() > command.expires_ns:
            self.count("command came too late")
            self.reply(command, AnswerStatus.EXPIRED)
        else:
            self.execute(command)

    def execute(self, command: life.SendCommand) -> None:
        begin, end = self.link_dead
        weights = (70, 8, 10, 12 if begin <= self.now < end else 6)
        status = self.rng.choices(
            (
                AnswerStatus.DONE,
                AnswerStatus.FAILED,
                AnswerStatus.REFUSED,
                AnswerStatus.UNREACHABLE,
            ),
            weights,
        )[0]
        self.ids[command.command_id] = status
        took_s = self.rng.uniform(0.5, 20)
        if status is AnswerStatus.DONE or (status is AnswerStatus.FAILED and self.chance(0.5)):
            if status is AnswerStatus.FAILED:
                self.count("command failed but acted")
            self.at(took_s, lambda: self.act(command))
        self.at(took_s, lambda: self.reply(command, status))
        if self.chance(0.1):
            self.at(took_s + self.rng.uniform(0, 30), self.reboot_edge)

    def act(self, command: life.SendCommand) -> None:
        self.executed.setdefault(command.command_id, []).append(self.now)
        self.say(f"the edge executes {command.remedy} ({command.command_id})")
        if self.cases[-1].phase is Phase.DISPATCHED:
            self.count("command acted after dispatch")
        shows_s = self.rng.uniform(0, 40)
        if command.remedy in self.machine.cures:
            self.at(shows_s, lambda: self.heal(command.command_id))
        elif command.remedy in self.machine.masks:
            self.at(shows_s, self.mask)

    def reply(self, command: life.SendCommand, status: AnswerStatus) -> None:
        event = life.CommandFinished(command.command_id, status, self.edge_ns())
        self.carry(lambda: self.feed(event), queued=True)

    # The gateway.

    def gateway_ns(self) -> int:
        return int((self.now + 100) * NS)

    def restart_gateway(self) -> None:
        self.gateway_down_until = self.now + self.rng.uniform(5, 300)
        self.cases = [life.decode_case(life.encode_case(case)) for case in self.cases]
        self.count("gateway restarted")
        for key in list(self.outbox):
            self.at(self.gateway_down_until - self.now, partial(self.perform, key))

    def tick(self) -> None:
        self.at(POLL_S, self.tick)
        if self.now < self.gateway_down_until:
            return
        open_ = self.cases and self.cases[-1].open
        if not open_ and self.now - self.heard_s > SILENT_AFTER_S:
            self.open(NO_DATA)
        elif open_:
            self.feed(life.Tick(self.view()))

    def view(self) -> Fleet:
        case = self.cases[-1]
        crowd = {name for name, (begin, end) in self.crowded.items() if begin <= self.now < end}
        seen = fleet.view(case, self.cases, 10, self.limits, self.gateway_ns())
        return Fleet(
            machines_of_type=10,
            sick_of_type=8 if "storm" in crowd else 1,
            in_flight_at_site=3 if "site" in crowd else 0,
            tried=seen.tried,
            limits=self.limits,
        )

    def hear(self, event: life.Evidence) -> None:
        if self.now < self.gateway_down_until:
            self.count("evidence met a gateway that was down")
            return
        self.heard_s = self.now
        last = self.cases[-1] if self.cases else None
        if last is not None and last.open:
            if event.measured_ns <= max(last.opened_ns, last.seen.last_ns):
                self.count("old evidence")
            self.feed(event)
        elif not event.healthy and (last is None or event.measured_ns > self.rest_until_ns(last)):
            self.open("some_fault")

    def rest_until_ns(self, last: Case) -> int:
        """After a visit the gateway gives the monitor time to see what the technician did."""
        rest_s = REST_S if last.phase is Phase.CLOSED else 0.0
        return max(last.seen.last_ns, (last.ended_ns or 0) + int(rest_s * NS))

    def open(self, fault: str) -> None:
        if self.now > HORIZON_S - 5 * HOUR_S:
            return  # too late in this world's day to see its end
        now_ns, rng = self.gateway_ns(), self.rng
        names = rng.sample(REMEDIES, rng.randint(0, 3)) if fault != NO_DATA else []
        reason = EscalationReason.NOT_REMOTABLE
        timing = Timing()
        plan = Plan(
            playbook="simulated",
            mode=self.mode,
            steps=[_step(name, fault) for name in names],
            timing=timing,
            observe_s=timing.silent_observe_s if fault == NO_DATA else timing.observe_s,
            respond_by_ns=now_ns + int(self.deadline_s * NS),
            due_ns=now_ns + int((self.deadline_s + HOUR_S) * NS),
            escalate_at_ns=now_ns + int(self.deadline_s * NS),
            no_remote=None
            if names
            else EscalationReason.DEVICE_UNREACHABLE
            if fault == NO_DATA
            else reason,
        )
        found = life.Diagnosis(
            fault=fault,
            title="Something is wrong",
            severity=Severity.MEDIUM,
            safety=self.chance(0.03),
            hypotheses=[Hypothesis(fault, 1.0, [])],
            deviations=[],
        )
        before = returns.of(self.cases, "pump-1", found, self.limits, now_ns)
        if before is not None:
            self.count("case reopened")
            self.cases.remove(before)
            case, effects = life.reopen(before, found, plan, now_ns)
        else:
            self.count(f"case opened: {fault}")
            case, effects = life.open_case(
                case_id=f"case-{len(self.cases) + 1}",
                device="pump-1",
                site="north",
                machine_type="pump",
                diagnosis=found,
                plan=plan,
                now_ns=now_ns,
            )
        self.cases.append(case)
        self.tell_others(before, case)
        self.do(effects)

    def feed(self, event: life.Event) -> None:
        if not self.cases:
            return
        if self.now < self.gateway_down_until:
            self.at(self.gateway_down_until - self.now, lambda: self.feed(event))
            return
        before = self.cases[-1]
        after, effects = life.step(before, event, self.gateway_ns())
        if isinstance(event, life.CommandFinished) and after == before:
            self.count("answer that changed nothing")
        if before.phase in life.TERMINAL and (effects or after != before):
            self.wrong(f"{type(event).__name__} changed a case that was {before.phase}")
        if before.phase is Phase.VERIFYING and isinstance(event, life.CommandFinished):
            self.figures.sometimes["answer after its expiry"] += after != before
        self.cases[-1] = after
        self.tell_others(before, after)
        self.do(effects)
        if after.phase is not before.phase:
            self.arrive(after)

    def tell_others(self, before: Case | None, after: Case) -> None:
        for event in telling.events(before, after):
            if event in telling.ABOUT_TICKETS and after.visit is not None:
                self.told.setdefault(after.visit.key, []).append(event.name)
                self.dispatch.take(event, after.visit.key)

    def do(self, effects: tuple[life.Effect, ...]) -> None:
        """Save the effects with the case and perform them, at least once."""
        for effect in effects:
            match effect:
                case life.Note(text=text):
                    self.say(f"[{self.cases[-1].phase}] {text}")
                    for mark in ("Holds back", "Leaves out", "asks again in"):
                        self.figures.sometimes[mark.lower()] += mark in text
                case life.SendCommand(key=key):
                    self.outbox[key] = effect
                    self.at(self.rng.uniform(0.1, 3), partial(self.perform, key))
                case life.OpenTicket(reason=reason):
                    self.ticket(reason)
                case _:
                    pass

    def perform(self, key: str) -> None:
        if self.now < self.gateway_down_until or key not in self.outbox:
            return  # the restart performs what is left
        command = self.outbox[key]
        self.carry(lambda: self.receive(command), queued=True)
        if self.chance(0.05):
            self.count("effect performed twice")
            self.at(self.rng.uniform(1, 60), lambda: self.perform(key))
        else:
            del self.outbox[key]

    def ticket(self, reason: EscalationReason) -> None:
        self.count(f"ticket: {reason.value}")
        if not self.machine.sick(self.now) and self.cases[-1].fault != NO_DATA:
            known_s = self.now - self.machine.at(self.now)[0] - self.machine.lag_s
            self.figures.needless[reason.value] += 1
            self.figures.just_healed += known_s < POLL_S
            self.say("...although the machine is healthy")

    def visit_word(self, key: str, update: VisitUpdate) -> bool:
        """Take dispatch's word; false: it is told that nobody is needed any more."""
        case = next(c for c in self.cases if c.case_id == key.partition("~")[0])
        if visits.refusal(case, key, update):
            self.count("word refused")
            return False
        if case.open:
            before = case.visit
            self.feed(life.VisitUpdated(update))
            if self.cases[-1].visit == before:
                self.count("word that changed nothing")
        return True

    # People.

    def arrive(self, case: Case) -> None:
        if case.phase is Phase.AWAITING_APPROVAL:
            action = self.rng.choices(
                (
                    life.Approved("owner"),
                    life.Rejected("owner", "not now"),
                    life.Rejected("owner", "never", whole=True),
                    None,
                ),
                (80, 10, 3, 7),
            )[0]
            if action is not None:
                delay_s = self.rng.expovariate(1 / 600)
                self.at(delay_s, partial(self.decide, action))
        if case.phase in (Phase.RECOVERED, Phase.SELF_CLEARED, Phase.WITHDRAWN):
            self.check_recovery(case)

    def pause(self) -> None:
        if self.cases and self.cases[-1].open and self.now >= self.gateway_down_until:
            self.count("clock stopped")
            until_ns = self.gateway_ns() + int(self.dispatch.rng.uniform(300, 4000) * NS)
            self.feed(life.PauseAsked("owner", "not now", until_ns))
            if self.dispatch.chance(0.5):
                self.at(600, partial(self.decide, life.ResumeAsked("owner")))

    def decide(self, action: life.Event) -> None:
        if self.cases and self.cases[-1].open:
            self.say(f"a person: {type(action).__name__}")
            self.feed(action)

    # The verdict.

    def check_recovery(self, case: Case) -> None:
        """Compare with the truth at the last measurement that was believed."""
        measured_s = case.seen.last_ns / NS - 100 - self.edge_offset_s
        truly_since, sick, cause = self.machine.at(measured_s - self.machine.lag_s)
        if sick:
            self.wrong(f"{case.case_id} is called {case.phase}, but the machine is sick")
            return
        by_remedy = cause in self.executed
        if case.credited:
            shown_s = truly_since + self.machine.lag_s
            early_s = self.executed[case.attempt.command_id][0] - shown_s
            if early_s > DWELL_S + POLL_S:
                self.wrong(f"{case.case_id} credits a remedy that came after the recovery")
            self.count("credited" if by_remedy else "credited by coincidence")
        elif case.phase is Phase.RECOVERED:
            self.count("recovered, nobody credited" + (" though cured" if by_remedy else ""))
        elif case.phase is Phase.SELF_CLEARED and by_remedy and cause.startswith(case.case_id):
            self.count("self-cleared though cured")

    def _judge(self) -> None:
        for name, times in self.executed.items():
            if len(times) > 1:
                self.wrong(f"{name} was executed {len(times)} times")
        for case in self.cases:
            self.figures.ends[case.phase.value] += 1
            if case.phase in life.REMOTE:
                self.wrong(f"{case.case_id} never ended: {case.phase}")
            self._judge_tickets(case)
            for attempt in case.attempts:
                self.count(f"reply: {attempt.reply.value}")
                if attempt.reply is Reply.WAITING and case.phase in life.REMOTE:
                    self.wrong(f"{attempt.command_id} waits for ever")

    def _judge_tickets(self, case: Case) -> None:
        keys = [key for key in self.told if key.partition("~")[0] == case.case_id]
        if len(keys) != case.tickets:
            self.wrong(f"{case.case_id} has {case.tickets} tickets, of which {keys} were told")
        for key in keys:
            first, *others = self.told[key]
            ends = [name for name in others if name != "TICKET_UPDATED"]
            open_ = case.open and case.visit is not None and case.visit.key == key
            told = first == "TICKET_OPENED" and len(ends) <= 1 and (not ends or others[-1] in ends)
            if not told or (not ends and not open_):
                self.wrong(f"ticket {key} was told as {self.told[key]}")


class Dispatch:
    """Sends technicians, and says so: late, twice, out of order, or not at all."""

    def __init__(self, world: World) -> None:
        self.world, self.rng = world, random.Random(-world.seed - 1)
        self.over: set[str] = set()
        self.gone: set[str] = set()

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def take(self, event: telling.EventType, key: str) -> None:
        """Take an event about a ticket."""
        if event is telling.EventType.TICKET_OPENED:
            self.world.figures.sometimes["another visit ordered"] += "~" in key
            self.word(key, VisitState.ACCEPTED, 60)
            self.word(key, VisitState.SCHEDULED, 120)
            if self.chance(0.25):
                self.world.at(self.rng.uniform(60, 2000), self.world.heal)
            leaves_s = self.rng.uniform(0.3, 1.5) * HOUR_S
            cancels = self.chance(0.1)
            self.world.at(leaves_s, partial(self.cancel if cancels else self.leave, key))
        elif event is telling.EventType.TICKET_WITHDRAWN:
            self.world.count("visit withdrawn")
            if key in self.gone:
                self.world.count("withdrawn while the word of leaving was under way")
            self.world.at(self.rng.uniform(1, 60), lambda: self.over.add(key))

    def word(self, key: str, state: VisitState, after_s: float) -> None:
        """Say something: it arrives late or twice, and so out of order."""
        at_ns = self.world.gateway_ns() + int(after_s * NS)
        update = VisitUpdate(id=f"{key}-{state.value}", state=state, at_ns=at_ns)
        for _ in range(1 + self.chance(0.2)):
            delay_s = self.rng.uniform(1, 2400 if self.chance(0.2) else 30)
            self.world.at(after_s + delay_s, partial(self.said, key, update))

    def said(self, key: str, update: VisitUpdate) -> None:
        down_s = self.world.gateway_down_until - self.world.now
        if down_s > 0:
            self.world.at(down_s, partial(self.said, key, update))
        elif not self.world.visit_word(key, update) and update.state is VisitState.ON_THE_WAY:
            self.world.count("technician recalled")
            self.over.add(key)

    def cancel(self, key: str) -> None:
        if key in self.over:
            return
        self.world.count("visit cancelled")
        self.word(key, VisitState.CANCELLED, 0)
        action = self.rng.choices(
            (life.EscalationAsked("owner", "again"), life.Dismissed("owner", "leave it"), None),
            (7, 1, 2),
        )[0]
        if action is not None:
            delay_s = 2500 + self.rng.expovariate(1 / 1200)
            self.world.at(delay_s, partial(self.world.decide, action))

    def leave(self, key: str) -> None:
        if key in self.over:
            return
        self.gone.add(key)
        self.word(key, VisitState.ON_THE_WAY, 0)
        self.world.at(self.rng.uniform(300, 1800), partial(self.arrive, key))

    def arrive(self, key: str) -> None:
        world = self.world
        if key in self.over:
            return
        case = world.cases[-1]
        if case.phase is not Phase.DISPATCHED or case.visit is None or case.visit.key != key:
            return
        world.heal("visit")
        self.word(key, VisitState.ON_SITE, 0)
        self.word(key, VisitState.DONE, 30)
        report = ClosingReport(finding="other", technician="Kim")
        world.at(60, partial(world.feed, life.ReportReceived(report)))


def _step(name: str, fault: str) -> Step:
    return Step(
        remedy=name,
        title=name.replace("_", " ").capitalize(),
        command=name,
        argument=None,
        settle_s=60.0,
        verify_s=300.0,
        fault=fault,
        high_risk=name == "update_firmware",
    )


def run(
    seed: int,
    network: Network = NETWORKS["normal"],
    *,
    forget_ids: bool = False,
    tell: bool = False,
) -> Figures:
    """Play one seed."""
    return World(seed, network, forget_ids=forget_ids, tell=tell).run()


def run_many(seeds: range, network: Network, *, forget_ids: bool = False) -> Figures:
    """Play many seeds and add up."""
    total = Figures()
    for seed in seeds:
        total.add(run(seed, network, forget_ids=forget_ids))
    return total


def main() -> int:
    """Print the figures of many seeds, or the story of one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("seeds", type=int, nargs="?", default=300)
    parser.add_argument("--seed", type=int, help="replay this one and tell its story")
    parser.add_argument("--network", choices=NETWORKS, default="normal")
    parser.add_argument("--forget-ids", action="store_true", help="break the edge's memory")
    args = parser.parse_args()
    network = NETWORKS[args.network]
    begun = time.monotonic()
    if args.seed is not None:
        figures = run(args.seed, network, forget_ids=args.forget_ids, tell=True)
    else:
        figures = run_many(range(args.seeds), network, forget_ids=args.forget_ids)
    by_people = sum(figures.needless[reason.value] for reason in BY_PEOPLE)
    say = print
    say(f"network {args.network}, {time.monotonic() - begun:.1f} s")
    say(f"ends: {dict(figures.ends)}")
    say(
        f"tickets for a healthy machine: {figures.needless.total()}, of them {by_people} asked for "
        f"by people or safety, {figures.just_healed} healed too recently to be seen: "
        f"{dict(figures.needless)}"
    )
    for name, number in sorted(figures.sometimes.items()):
        say(f"  {number:8} {name}")
    say(f"broken invariants: {len(figures.problems)} {figures.problems[:5]}")
    return 1 if figures.problems else 0


if __name__ == "__main__":
    sys.exit(main())
