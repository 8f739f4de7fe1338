"""One drill, scene by scene: start, learn, pull plugs, heal, drain, count."""

import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from cloud.adapters.clock import PlantClock
from contract.errors import Unreachable
from farfix.chaos import cases, director, plan, tally
from farfix.chaos import stand as places
from farfix.chaos.director import Director
from farfix.chaos.plan import Network, Plan, Program, Strike
from farfix.chaos.programs import GROUP, MAIN, WORKER, Programs
from farfix.chaos.proxy import Proxy
from farfix.chaos.report import CaseReport, Report
from farfix.chaos.screen import Progress, Screen
from farfix.chaos.stand import Stand
from farfix.chaos.taken import Spool
from farfix.chaos.tally import Finding, Outcome, Tally
from farfix.chaos.watcher import Watcher, scored_counts
from farfix.demo import report as stories
from farfix.demo import script
from farfix.demo.dispatch import Dispatch
from farfix.demo.machines import Broken, Simulator
from farfix.demo.script import Catalogue, Injection, Nature

READY_TIMEOUT_S = 180.0
COMMISSIONING_LIMIT = 3.0
"""Give up when commissioning takes so many times its time, after the first start's compiling."""
COMPILING_S = 180.0
NOTICED_S = 60.0
STEP_S = 0.1
SHOW_EVERY_S = 0.5
STILL_S = 120.0
"""So long nothing may move at the end before what is missing counts as lost."""
COUNT_EVERY_S = 2.0
SIM, CLOUD, STORE = "sim", str(Program.CLOUD), str(Program.STORE)


@dataclass
class Drill:
    """A drill in progress."""

    samples: int
    """To be taken under faults."""
    stand: Stand
    screen: Screen
    programs: Programs
    proxy: Proxy
    dispatch: Dispatch
    watcher: Watcher
    spools: dict[str, Spool] = field(default_factory=dict)
    """What each agent took."""
    grown_s: dict[str, float] = field(default_factory=dict)
    """When each agent was last seen to have taken something."""
    script: list[Injection] = field(default_factory=list)
    truth: list[Broken] = field(default_factory=list)
    plan: Plan = field(default_factory=lambda: Plan([], []))
    director: Director | None = None
    under_faults: int = 0
    began_ns: int = 0
    """Plant time when the plan began."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """What became of each device's readings."""
    counted: bool = False
    """Whether the gateway counts what it scores."""

    def __post_init__(self) -> None:
        self.simulator = Simulator(self.stand.stage.control_port)
        self.started_s = time.monotonic()
        self.shown_s = 0.0

    def start(self) -> None:
        """Start every program; each agent's file is ours before it is the agent's."""
        at, files, programs = self.stand.stage, self.stand.stage.config, self.programs
        if self.stand.store_port:
            config = at.folder / "influxd" / "influx.conf"
            programs.start(STORE, "farfix.chaos.influxd", str(config))
            programs.await_ready("the store", self._store_answers, READY_TIMEOUT_S)
        programs.start(SIM, "firmware_sim", "--fleet", str(files[SIM]))
        programs.await_ready("the simulator", self.simulator.ready, READY_TIMEOUT_S)
        programs.start(CLOUD, "cloud", "--config", str(files[CLOUD]))
        programs.await_ready("the gateway", lambda: self.watcher.ready_s > 0, READY_TIMEOUT_S)
        for site in at.sites:
            self.spools[f"edge-{site}"] = Spool(self.stand.spool(site))
            programs.start(f"edge-{site}", "edge", "--config", str(files[f"edge-{site}"]))
        self.screen.say(
            f"{len(at.machines)} machines, {len(at.sites)} agents, store: {self.stand.store}, "
            f"simulated time {at.scale.speed:g} x; console: {at.base_url}",
            "bold",
        )

    def commission(self) -> None:
        """Wait in peace until the gateway knows how every machine runs when healthy."""
        limit_s = COMMISSIONING_LIMIT * script.COMMISSIONING_S / self.stand.stage.scale.speed
        deadline_s = time.monotonic() + COMPILING_S + limit_s
        while True:
            self.programs.check()
            self.watcher.check()
            self._show("learning healthy running", self._taken(), 0)
            machines = self.watcher.machines
            learning = [m.device for m in machines if m.status in ("learning", "waiting")]
            if machines and not learning:
                return
            if time.monotonic() > deadline_s:
                raise Unreachable(f"commissioning does not end for {', '.join(learning)}")
            time.sleep(STEP_S)

    def break_machines(self, seed: int) -> None:
        """Give two machines a real fault, and wait in peace until both have their case."""
        natures = [Nature.ON_SITE, Nature.REMOTE]
        self.script = script.script(self.stand.stage.machines, self._catalogue(), seed, natures)
        for injection in self.script:
            self.simulator.inject(injection.device, injection.fault)
            self.screen.say(f"{injection.device}: {injection.fault} begins", "cyan")
        broken = {injection.device for injection in self.script}
        deadline_s = time.monotonic() + NOTICED_S
        while not broken <= {d.device for d in self.watcher.history.details.values()}:
            self.programs.check()
            self.watcher.check()
            self._show("waiting for cases", self._taken(), 0)
            if time.monotonic() > deadline_s:
                return  # whoever is still not noticed at the end is told then
            time.sleep(STEP_S)

    def play(self, kill: list[Program], network: list[Network], seed: int) -> None:
        """Pull plugs until enough samples are taken and everything planned has been done."""
        parts = {program: self._parts(program) for program in kill}
        self.plan = plan.make(self.samples, parts, self.proxy.links, network, seed)
        self.director = Director(self.plan, self.programs, self.proxy, self._works, self.screen.say)
        before, began_s = self._taken(), time.monotonic()
        self.began_ns = PlantClock(self.stand.stage.scale).now_ns()
        while self.under_faults < self.samples or not self.director.done:
            self.under_faults = self._taken() - before
            self.director.step(self.under_faults)
            self.watcher.check()
            rate = self.under_faults / max(time.monotonic() - began_s, 1e-9)
            self._show("pulling plugs", self.under_faults, rate)
            time.sleep(STEP_S)

    def drain(self) -> None:
        """Heal everything, take no more samples, and wait until all of them have arrived."""
        self.proxy.heal()
        self.truth = self.simulator.faults()
        self.programs.stop(SIM)
        moved_s, before = time.monotonic(), (0, 0, 0)
        while time.monotonic() - moved_s < STILL_S:
            self.programs.check()
            self.watcher.check()
            waiting = self._waiting()
            if waiting == 0:
                self._count()
            total = self._total()
            now = (waiting, total.stored, total.scored)
            if now != before:
                moved_s, before = time.monotonic(), now
            if total.taken and total.taken <= min(total.stored, total.scored):
                break
            self._show("draining", self._taken(), 0, total.stored or None)
            time.sleep(COUNT_EVERY_S)
        self._count()
        self.watcher.await_look()

    def report(self, seed: int) -> Report:
        """Say what came of it."""
        details = list(self.watcher.history.details.values())
        planned = Counter(f.kind for f in self.plan.strikes)
        planned += Counter(f.kind for f in self.plan.troubles)
        done, speed = self.director, self.stand.stage.scale.speed
        injected = {injection.device: injection for injection in self.script}
        tickets = self.dispatch.tickets
        return Report(
            seed=seed,
            samples=self.samples,
            under_faults=self.under_faults,
            speed=speed,
            store=self.stand.store,
            minutes=round((time.monotonic() - self.started_s) / 60, 2),
            planned=dict(planned),
            fired=dict(done.fired) if done else {},
            sigkills=done.kills if done else 0,
            links={link: dict(self.proxy.counts(link)) for link in self.proxy.links},
            total=self._total(),
            tallies={device: outcome.tally for device, outcome in self.outcomes.items()},
            findings=self._findings(),
            duplicates_known=self.counted,
            reordered=len(self.watcher.backwards),
            looks=self.watcher.looks,
            unanswered=self.watcher.unanswered,
            faults=[
                stories.fault_report(injected[b.device], b, details, tickets) for b in self.truth
            ],
            cases=[
                CaseReport(
                    case_id=d.case_id,
                    device=d.device,
                    opened_s=round((d.opened_ns - self.began_ns) / speed / 1e9, 1),
                    phase=d.phase,
                    ticket_key=d.ticket_key,
                    entries=len(d.timeline),
                )
                for d in details
            ],
            events=done.events if done else [],
            problems=self._problems(),
            peak_rss_mb={n: round(mb, 1) for n, mb in self.programs.peak_rss_mb.items()},
        )

    def _problems(self) -> list[str]:
        details = list(self.watcher.history.details.values())
        speed = self.stand.stage.scale.speed
        found = [finding.text(self.began_ns, speed) for finding in self._findings()]
        found += self.watcher.refused
        for one in self.watcher.backwards:
            from_s, to_s = ((at - self.began_ns) / speed / 1e9 for at in (one.from_ns, one.to_ns))
            found.append(f"{one.device}: newest reading back from {from_s:.1f} to {to_s:.1f} s")
        found += self.watcher.history.problems
        found += cases.judge(self.script, self.truth, details, self.dispatch.tickets)
        found += self.dispatch.problems() + self.programs.problems
        if self.director is not None:
            found += self.director.problems
            fired = self.director.fired
            found += [f"{kind} never fired" for kind in director.unfired(self.plan, fired)]
        return found

    def _total(self) -> Tally:
        return sum((outcome.tally for outcome in self.outcomes.values()), Tally())

    def _findings(self) -> list[Finding]:
        return [finding for outcome in self.outcomes.values() for finding in outcome.findings]

    def _count(self) -> None:
        """Compare what was taken with what is stored, device by device."""
        judged = scored_counts(self.watcher.machines)
        self.counted = bool(judged) and None not in judged.values()
        spool_of = {device: spool for spool in self.spools.values() for device in spool.devices()}
        store = places.open_store(self.stand)
        try:
            for machine in self.stand.stage.machines:
                device, spool = machine.device, spool_of[machine.device]
                readings = spool.taken(device)
                self.outcomes[device] = tally.compare(
                    device,
                    readings,
                    spool.held(device),
                    places.stored(store, machine),
                    judged.get(device),
                )
        finally:
            store.close()

    def _catalogue(self) -> Catalogue:
        """Return the faults that show in readings and end without new firmware."""
        return {
            kind: {
                fault: known
                for fault, known in faults.items()
                if "no_data" not in known.diagnosable_as
                and not any("firmware" in cure for cure in known.cured_by)
            }
            for kind, faults in self.simulator.catalogue().items()
        }

    def _parts(self, program: Program) -> list[str]:
        match program:
            case Program.EDGE:
                return [f"edge-{site}" for site in self.stand.stage.sites]
            case Program.CLOUD:
                return [MAIN, WORKER, GROUP] if self.programs.workers(CLOUD) else [MAIN]
            case Program.BROKER | Program.STORE:
                return [program]

    def _works(self, strike: Strike, since_s: float) -> bool:
        match strike.program:
            case Program.CLOUD:
                return self.watcher.ready_s > since_s
            case Program.STORE:
                return self._store_answers()
            case Program.EDGE:
                return self.grown_s.get(strike.part, 0.0) > since_s
            case Program.BROKER:
                return self.programs.broker.running()

    def _taken(self) -> int:
        """Count what was taken so far, and note which agents have taken more."""
        total = 0
        for agent, spool in self.spools.items():
            before = spool.counted
            total += spool.count()
            if spool.counted > before:
                self.grown_s[agent] = time.monotonic()
        return total

    def _waiting(self) -> int:
        return sum(spool.waiting() for spool in self.spools.values())

    def _store_answers(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.stand.store_port}/ping"
            return httpx.get(url, timeout=1, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def _show(self, phase: str, samples: int, rate: float, stored: int | None = None) -> None:
        now_s = time.monotonic()
        if now_s < self.shown_s + SHOW_EVERY_S:
            return
        self.shown_s = now_s
        left_s = max(0.0, (self.samples - samples) / rate) if rate else None
        of = self.samples if rate else None
        progress = Progress(phase, samples, of, self._waiting(), stored, left_s)
        self.screen.progress(progress, now_s)
