"""Start everything, wait until the machines are known, break them, and watch what comes of it."""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec import Struct

from cloud.adapters import broker
from cloud.adapters.clock import PlantClock
from contract import machines as machine_types
from contract.errors import FarfixError, Unreachable
from contract.firmware import Claims
from contract.tickets import Finding
from contract.timescale import Timescale
from farfix import release_kit
from farfix.api import Detail, Gateway
from farfix.children import Children, end_like_ctrl_c
from farfix.demo import accounting, report, stage
from farfix.demo import script as plot
from farfix.demo.dispatch import Dispatch
from farfix.demo.machines import Broken, Simulator
from farfix.demo.report import Report
from farfix.demo.screen import Screen
from farfix.demo.script import Injection, Nature
from farfix.demo.stage import Stage
from farfix.demo.technician import Technician
from farfix.screen import check_report, write_report
from farfix.witness import Witness
from firmware_sim import images

START_S = 20.0
"""Wall seconds that starting and ending take, taken off the minutes."""
READY_TIMEOUT_S = 180.0
COMMISSIONING_LIMIT = 2.0
"""Give up when commissioning takes so many times its time."""
LOOK_EVERY_S = 0.5
DELIVERY_LOOKS = 20
"""How often it is looked whether dispatch has the last tickets when time is up."""
MAX_SPEED = 240.0


class Options(Struct, frozen=True):
    """What the user chose."""

    minutes: float = 6.0
    machines: int = 9
    seed: int = 7
    headless: bool = True
    natures: list[Nature] | None = None
    """Kinds of fault wanted; left out, a mixture."""

    @property
    def folder(self) -> Path:
        """Scratch folder, fresh for each run."""
        return Path("var") / f"demo-{self.seed}"

    @property
    def speed(self) -> float:
        """How fast plant time must run for the script to fit."""
        fits = plot.PLANT_S / max(self.minutes * 60 - START_S, 30)
        return min(round(max(fits, 1.0), 1), MAX_SPEED)


def main(
    minutes: float, machines: int, seed: int, *, headless: bool, report_file: Path | None
) -> int:
    """Run the demo; return the exit code."""
    options = Options(minutes, machines, seed, headless)
    file = report_file or options.folder / "report.json"
    check_report(report_file)
    end_like_ctrl_c()
    try:
        with Screen(live=sys.stdout.isatty() and not headless) as screen:
            result = run(options, screen)
    except KeyboardInterrupt:
        print("Interrupted; everything is stopped.", file=sys.stderr)
        return 1
    except FarfixError as error:
        print(f"farfix demo: {error}", file=sys.stderr)
        return 1
    write_report(file, result)
    screen.say(f"Report: {file}")
    return 1 if result.problems else 0


def run(options: Options, screen: Screen) -> Report:
    """Run the whole script and return what came of it."""
    started_s = time.monotonic()
    origin_ns = PlantClock().now_ns()
    at = stage.prepare(
        options.folder.absolute(),
        plot.fleet(options.machines),
        Timescale(options.speed, origin_ns),
    )
    gateway, simulator = Gateway(at.base_url, at.api_token), Simulator(at.control_port)
    with (
        Dispatch(at.webhook_secret) as dispatch,
        broker.start(at.folder / "broker", stage.USERS) as its_broker,
        Witness(its_broker, "witness") as witness,
        Children(at.folder / "logs") as children,
    ):
        stage.write_configs(at, its_broker, dispatch.url, options.seed)
        show = Show(options, at, screen, gateway, simulator, dispatch, children)
        screen.say(
            f"Broker: {its_broker.kind}. Simulated time runs {options.speed:g} x faster than the "
            f"clock. Logs: {children.log('cloud').parent}"
        )
        show.start()
        show.commission()
        show.play()
        screen.freeze()
        if not options.headless:
            show.linger()
        children.note_rss("broker", its_broker.pid)
        telemetry = show.end(witness)
    gateway.close()
    result = show.report(telemetry, (time.monotonic() - started_s) / 60)
    screen.result(result)
    return result


@dataclass
class Show:
    """One run of the demo, scene by scene."""

    options: Options
    stage: Stage
    screen: Screen
    gateway: Gateway
    simulator: Simulator
    dispatch: Dispatch
    children: Children
    script: list[Injection] = field(default_factory=list)
    details: dict[str, Detail] = field(default_factory=dict)
    """Every case as last seen, by its id."""
    truth: list[Broken] = field(default_factory=list)
    """What the simulator knows of every fault."""

    def __post_init__(self) -> None:
        self.clock = PlantClock(self.stage.scale)

    def start(self) -> None:
        """Start every program and publish the new firmware."""
        children, files = self.children, self.stage.config
        children.start("sim", "firmware_sim", "--fleet", str(files["sim"]))
        children.await_ready("the simulator", self.simulator.ready, READY_TIMEOUT_S)
        children.start("cloud", "cloud", "--config", str(files["cloud"]))
        children.await_ready("the gateway", self.gateway.healthy, READY_TIMEOUT_S)
        self._publish_firmware()
        for site in self.stage.sites:
            name = f"edge-{site}"
            children.start(name, "edge", "--config", str(files[name]))
        machines = self.stage.machines
        catalogue = self.simulator.catalogue()
        self.script = plot.script(machines, catalogue, self.options.seed, self.options.natures)
        self.screen.say(
            f"{len(machines)} machines on {len(self.stage.sites)} sites; console: "
            f"{self.stage.base_url} (sign in {self.stage.sign_in})",
            "bold",
        )

    def _publish_firmware(self) -> None:
        kit = self.stage.releases
        for kind in sorted({machine.machine_type for machine in self.stage.machines}):
            if machine_types.library()[kind].firmware_block is not None:
                claims = Claims(machine_type=kind, version=plot.NEW_FIRMWARE)
                release_kit.release(kit, claims, images.build(kind, plot.NEW_FIRMWARE))
        release_kit.publish(kit)
        self.gateway.publish(kit.room)

    def commission(self) -> None:
        """Wait until the gateway knows how every machine runs when healthy."""
        limit_ns = self.clock.now_ns() + int(COMMISSIONING_LIMIT * plot.COMMISSIONING_S * 1e9)
        while True:
            self.children.check()
            fleet = self.gateway.fleet()
            self.screen.fleet(fleet, "Commissioning: learning how every machine runs when healthy")
            learning = [m.device for m in fleet.machines if m.status in ("learning", "waiting")]
            if not learning:
                self.screen.event(fleet.now_ns, "all machines are commissioned", "bold")
                return
            if fleet.now_ns > limit_ns:
                raise Unreachable(f"commissioning does not end for {', '.join(learning)}")
            time.sleep(LOOK_EVERY_S)

    def play(self) -> None:
        """Break machines by the script and watch until every outcome is there or time is up."""
        begin_ns = self.clock.now_ns()
        end_ns = begin_ns + int((plot.PLANT_S - plot.COMMISSIONING_S) * 1e9)
        waiting = list(self.script)
        while self.clock.now_ns() < end_ns:
            self.children.check()
            while waiting and self.clock.now_ns() >= begin_ns + waiting[0].after_s * 1e9:
                self._break(waiting.pop(0))
            self._look()
            now_ns = self.clock.now_ns()
            if not waiting and self._settled(now_ns):
                return
            time.sleep(LOOK_EVERY_S)
        # a ticket decided in the last moment still has its way to dispatch before it
        for _ in range(DELIVERY_LOOKS):
            if self._delivered():
                return
            time.sleep(LOOK_EVERY_S)

    def _break(self, injection: Injection) -> None:
        at_ns = self.simulator.inject(injection.device, injection.fault)
        what = "bait" if injection.nature is Nature.BAIT else "fault"
        self.screen.event(
            at_ns,
            f"{injection.device}: {what} {injection.fault} begins "
            f"(expected: {plot.EXPECTED[injection.nature]})",
            "cyan",
        )

    def _look(self) -> None:
        """Fetch the fleet and every case that has changed, and tell what is new."""
        fleet = self.gateway.fleet()
        self.screen.fleet(fleet, "Faults begin; the gateway does not know which, where or when")
        for case in self.gateway.cases():
            known = self.details.get(case.case_id)
            if known is not None and known.updated_ns == case.updated_ns:
                continue
            detail = self.gateway.case(case.case_id)
            for entry in detail.timeline[len(known.timeline) if known else 0 :]:
                self.screen.event(entry.at_ns, f"{case.device}: {entry.text}")
            self.details[case.case_id] = detail
        self.truth = self.simulator.faults()

    def _settled(self, now_ns: int) -> bool:
        details = list(self.details.values())
        return self._delivered() and report.settled(self.script, self.truth, details, now_ns)

    def _delivered(self) -> bool:
        # A ticket's key is its case; it counts when dispatch has it, not when it was decided.
        keys = {d.case_id for d in self.details.values() if d.phase == "dispatched"}
        return keys <= set(self.dispatch.tickets)

    def linger(self) -> None:
        """Keep everything running until Ctrl-C, so that people can look around; visits go on."""
        self.screen.result(self.report(accounting.nothing(), 0))
        self.screen.say(
            f"Everything keeps running: look around at {self.stage.base_url} (sign in "
            f"{self.stage.sign_in}). Ctrl-C ends it and counts the telemetry.",
            "bold",
        )
        system = Gateway(self.stage.base_url, self.gateway.issue_token("dispatch", "dispatch"))
        technician = Technician(system, self.clock.now_ns, self._repair)
        try:
            while True:
                self.children.check()
                for said in technician.go_on(self.dispatch.open()):
                    self.screen.say(said)
                time.sleep(1)
        except KeyboardInterrupt:
            self.screen.say("Ending ...")
        finally:
            system.close()

    def _repair(self, device: str) -> str:
        """Put right whatever is wrong with a machine; return what a technician would call it."""
        for broken in self.simulator.faults():
            if broken.device == device and broken.ended_ns is None:
                self.simulator.repair(device, broken.fault)
        kinds = {m.device: m.machine_type for m in self.stage.machines}
        known = {fault.code for fault in machine_types.library()[kinds[device]].faults}
        planned = [code for i in self.script if i.device == device for code in i.diagnosable_as]
        return next((code for code in planned if code in known), Finding.OTHER)

    def end(self, witness: Witness) -> report.Telemetry:
        """Stop the programs, the plant's first, and count where every reading went."""
        for name in [name for name in self.children.names() if name.startswith("edge")]:
            self.children.stop(name)
        held, batches = accounting.spooled(self.stage.spools)
        accounting.await_stored(self.stage.series, accounting.heard(witness) - held)
        scored = int(self.gateway.metric("farfix_readings_scored_total"))
        repeated = int(self.gateway.metric("farfix_batches_repeated_total"))
        for name in reversed(self.children.names()):
            self.children.stop(name)
        return accounting.count(
            accounting.heard(witness),
            accounting.stored(self.stage.series),
            held,
            scored=scored,
            missing=accounting.gaps(witness.batches, batches),
            repeated=repeated,
        )

    def report(self, telemetry: report.Telemetry, minutes: float) -> Report:
        """Put the simulator's truth beside the gateway's cases."""
        details = list(self.details.values())
        planned = {injection.device: injection for injection in self.script}
        baits = {i.device for i in self.script if i.nature is Nature.BAIT}
        false = report.false_cases(self.script, self.truth, details)
        result = Report(
            seed=self.options.seed,
            speed=self.options.speed,
            machines=self.options.machines,
            minutes=round(minutes, 2),
            faults=[
                report.fault_report(planned[b.device], b, details, self.dispatch.tickets)
                for b in self.truth
                if b.device not in baits
            ],
            baits=[report.bait_report(b, details) for b in self.truth if b.device in baits],
            false_cases=len(false),
            false_case_ids=false,
            false_recoveries=len(report.false_recoveries(self.truth, details)),
            telemetry=telemetry,
            deliveries=dict(self.dispatch.deliveries),
            problems=[],
            peak_rss_mb={n: round(mb, 1) for n, mb in self.children.peak_rss_mb.items()},
        )
        found = [*report.problems(result), *self.dispatch.problems()]
        return msgspec.structs.replace(result, problems=found)
