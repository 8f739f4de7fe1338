"""A lively world for the web's tests: real stores, real cases moved by the real rules."""

import math
import random
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cloud.adapters.series import Row, Series
from cloud.adapters.series_sqlite import SqliteSeries
from cloud.adapters.store import CaseRow, OutboxRow, Store, TimelineRow
from cloud.core import alerts, levels, playbook, ticket, visits, wishes
from cloud.core import case as rules
from cloud.core.asset import AssetRow
from cloud.core.events import (
    Alerted,
    AlertEnded,
    Approved,
    CommandFinished,
    Dismissed,
    Effect,
    EscalationAsked,
    Event,
    Evidence,
    Note,
    OpenTicket,
    PauseAsked,
    Rejected,
    ReportReceived,
    ResumeAsked,
    SaveLabel,
    Tick,
    TryAsked,
    VisitUpdated,
)
from cloud.core.states import Case, Mode, Phase, Step
from cloud.service.hand import checked
from cloud.web.ports import Action, Alert, HandOrder, Live, Notice
from contract import codec, machines
from contract.commands import Answer, AnswerStatus
from contract.errors import Refused
from contract.faults import NO_DATA, Hypothesis
from contract.machines import MachineType
from contract.tickets import Asset, ClosingReport, Forecast, VisitUpdate
from contract.timescale import Timescale
from models.monitor import State
from tests.frames import frames
from tests.web.fixture_signals import deviations, hypotheses, value_of

S = 10**9
DAY = 86400 * S
START_NS = 1_795_330_800 * S
"""Sun 22 Nov 2026, in plant time; telemetry begins two hours before."""
HISTORY_S = 7200
AHEAD = 6
"""So many times the history of healthy machines is repeated after the start: at ten times the
clock's speed it lasts for 72 min of tests."""
HOSTILE = '<script>window.hacked=1</script><img src=x onerror="window.hacked=1">'


class WorldDesk:
    """A desk over real stores, for tests: decisions run through the case's rules at once."""

    def __init__(self, folder: Path, speed: float = 1.0) -> None:
        self._began = time.monotonic_ns()
        self._speed = speed
        self.timescale = Timescale(speed, START_NS)
        self.machines: Mapping[str, MachineType] = machines.library()
        self.store = Store(f"sqlite:///{folder / 'cases.db'}")
        self.series: Series = SqliteSeries(folder / "series.db", 30.0, self.now_ns)
        self.lives: dict[str, Live] = {}
        self.problems: list[str] = []
        self.worries: list[str] = []
        self.forecasts: dict[str, Forecast] = {}
        self.warnings: dict[str, list[Notice]] = {}
        self.sent: dict[str, Answer] = {}
        self.playbooks = playbook.shipped(self.machines)

    def close(self) -> None:
        self.series.close()
        self.store.close()

    def now_ns(self) -> int:
        return START_NS + int((time.monotonic_ns() - self._began) * self._speed)

    def live(self, device: str) -> Live | None:
        live = self.lives.get(device)
        if live is None or not live.online:
            return live
        return msgspec.structs.replace(live, last_ns=self.now_ns() - 2 * S)

    def forecast(self, device: str) -> Forecast | None:
        return self.forecasts.get(device)

    def notices(self, device: str) -> list[Notice]:
        return self.warnings.get(device, [])

    def unready(self) -> list[str]:
        return self.problems

    def troubles(self) -> list[str]:
        return self.worries

    async def decide(self, case_id: str, action: Action, by: str, why: str) -> None:
        events: dict[Action, Event] = {
            "approve": Approved(by=by),
            "reject": Rejected(by=by, why=why),
            "escalate": EscalationAsked(by=by, why=why),
            "dismiss": Dismissed(by=by, why=why),
        }
        if not self.move(case_id, events[action], self.now_ns()):
            raise Refused("there is nothing to decide in this phase")
        self.move(case_id, Tick(), self.now_ns())

    async def report(self, case_id: str, report: ClosingReport) -> None:
        if not self.move(case_id, ReportReceived(report), self.now_ns()):
            raise Refused("no ticket of this case is open")

    def remedies(self, case_id: str) -> list[Step]:
        case = self.case(case_id)
        return wishes.offered(case, self.machines[case.machine_type])

    async def attempt(self, case_id: str, remedy: str, by: str) -> None:
        offered = {step.remedy: step for step in self.remedies(case_id)}
        if remedy not in offered:
            raise Refused(f"{remedy} cannot be tried now")
        self._decided(case_id, TryAsked(by=by, step=offered[remedy]))

    async def pause(self, case_id: str, by: str, why: str, until_ns: int) -> None:
        plan, now_ns = self.case(case_id).plan, self.now_ns()
        until_ns = levels.pause_until(plan, why, now_ns, until_ns)
        self._decided(case_id, PauseAsked(by=by, why=why, until_ns=until_ns))

    async def resume(self, case_id: str, by: str) -> None:
        self._decided(case_id, ResumeAsked(by=by))

    def _decided(self, case_id: str, event: Event) -> None:
        if not self.move(case_id, event, self.now_ns()):
            raise Refused("this does not apply now")

    async def command(self, order: HandOrder, by: str) -> None:
        asset = self.store.asset(order.device)
        if asset is None:
            raise Refused(f"there is no machine {order.device}")
        checked(self.machines[asset.machine_type], order.name, order.argument)
        if self.store.open_case(order.device) is not None:
            raise Refused(f"{order.device} has an open case")
        self.sent[order.id] = Answer(
            id=order.id, status=AnswerStatus.DONE, at_ns=self.now_ns(), reason=f"as {by} said"
        )

    def answer(self, order_id: str) -> Answer | None:
        return self.sent.get(order_id)

    async def alerted(self, alert: Alert) -> str:
        asset, now_ns = self.store.asset(alert.device), self.now_ns()
        if asset is None:
            raise Refused(f"there is no machine {alert.device}")
        row = self.store.open_case(alert.device)
        if row is not None:
            event: Event = Alerted(alert.id, alert.title, alert.at_ns)
            if alert.ended and self.case(row.case_id).alert == alert.id:
                event = AlertEnded(alert.at_ns)
            self.move(row.case_id, event, now_ns)
            return row.case_id
        if alert.ended:
            return ""
        machine, said = (
            self.machines[asset.machine_type],
            (alert.title, alert.detail, alert.severity),
        )
        found = alerts.diagnosis(machine, self.playbooks.policy, said, alert.fault)
        plan = playbook.plan(machine, "B", found, self.playbooks, now_ns)
        outcome = rules.open_case(
            case_id=f"{alert.device}-{now_ns // 10**6:x}",
            device=alert.device,
            site=asset.site,
            machine_type=asset.machine_type,
            diagnosis=found,
            plan=alerts.described(plan, found),
            now_ns=now_ns,
            alert=alert.id,
            alert_ns=alert.at_ns,
        )
        self._save(*outcome, now_ns, None)
        return outcome[0].case_id

    async def visited(self, key: str, update: VisitUpdate) -> None:
        row = self.store.case(key.partition("~")[0])
        if row is None or visits.number(key) > (case := rules.decode_case(row.data)).tickets:
            raise Refused(f"there is no ticket {key}")
        why = visits.refusal(case, key, update)
        if why:
            raise Refused(why)
        self.move(row.case_id, VisitUpdated(update), self.now_ns())

    def add_machine(self, device: str, machine_type: str, title: str, site: str) -> None:
        self.store.put_assets(
            [
                AssetRow(
                    device=device,
                    site=site,
                    machine_type=machine_type,
                    title=title,
                    serial=f"SN-{zlib.crc32(device.encode()) % 9000 + 1000}",
                    address="Hall 3, row B",
                )
            ]
        )

    def open(self, device: str, fault: str, at_ns: int, mode: Mode | None = None) -> str:
        """Open a case for a fault of the device's type, with the symptoms it is known for."""
        asset = self.store.asset(device)
        assert asset is not None, f"add {device} first"
        machine = self.machines[asset.machine_type]
        seen = deviations(machine, fault)
        ranked = (
            [Hypothesis(NO_DATA, 1.0, ["Nothing was heard for 6 min."])]
            if fault == NO_DATA
            else hypotheses(machine, seen, fault)
        )
        found = playbook.diagnosis(machine, ranked, seen, [], self.playbooks.policy)
        plan = playbook.plan(machine, "B", found, self.playbooks, at_ns, mode_override=mode)
        case_id = f"{device}-{at_ns // S}"
        outcome = rules.open_case(
            case_id=case_id,
            device=device,
            site=asset.site,
            machine_type=asset.machine_type,
            diagnosis=found,
            plan=plan,
            now_ns=at_ns,
        )
        self._save(*outcome, at_ns, None)
        return case_id

    def case(self, case_id: str) -> Case:
        row = self.store.case(case_id)
        assert row is not None, f"no case {case_id}"
        return rules.decode_case(row.data)

    def observed(self, case_id: str) -> None:
        """Let the time pass in which the fault might have cleared by itself; it did not."""
        case = self.case(case_id)
        at_ns = case.opened_ns + int((case.plan.observe_s + 30) * S)
        self.sick(case_id, at_ns - S, 1.9)
        self.move(case_id, Tick(), at_ns)

    def sick(self, case_id: str, at_ns: int, score: float) -> None:
        """Show the case what it was opened for."""
        seen = self.case(case_id).deviations
        event = Evidence(at_ns, healthy=False, score=score, deviations=seen)
        self.move(case_id, event, at_ns)

    def move(self, case_id: str, event: Event, at_ns: int) -> bool:
        """Apply an event; false if it changed nothing."""
        row = self.store.case(case_id)
        if row is None:
            raise Refused(f"there is no case {case_id}")
        before = rules.decode_case(row.data)
        after, effects = rules.step(before, event, at_ns)
        if after == before:
            return False
        self._save(after, effects, at_ns, row.version)
        return True

    def _save(
        self, case: Case, effects: tuple[Effect, ...], at_ns: int, version: int | None
    ) -> None:
        row = CaseRow(
            case_id=case.case_id,
            device=case.device,
            phase=case.phase,
            open=case.open,
            opened_ns=case.opened_ns,
            updated_ns=at_ns,
            version=(version or 0) + 1,
            data=rules.encode_case(case),
        )
        notes = [
            TimelineRow(
                case_id=case.case_id,
                at_ns=at_ns,
                kind=note.kind,
                text=note.text,
                data=msgspec.json.encode(note.picture) if note.picture else b"",
            )
            for note in effects
            if isinstance(note, Note)
        ]
        outbox = [
            OutboxRow(key=e.key, case_id=case.case_id, kind="ticket", payload=b"{}", due_ns=at_ns)
            for e in effects
            if isinstance(e, OpenTicket)
        ]
        self.store.save(row, version, notes, outbox)
        for effect in effects:
            if isinstance(effect, OpenTicket):
                self._put_ticket(case)
                self.store.done(effect.key, at_ns)
            elif isinstance(effect, SaveLabel):
                self.store.memory.put_label(effect.label, {})

    def _put_ticket(self, case: Case) -> None:
        row = self.store.asset(case.device)
        assert row is not None
        asset = Asset(
            device=row.device,
            machine_type=row.machine_type,
            title=row.title,
            site=row.site,
            serial=row.serial,
            address=row.address,
        )
        made = ticket.build(case, self.machines[row.machine_type], asset)
        self.store.put_ticket(made.key, codec.encode(made), made.opened_ns)

    # Telemetry

    def record(self, device: str, fault: str = "", from_s: float = 0, to_s: float = 0) -> None:
        """Write two hours of telemetry; a fault shows between two moments, s from the start."""
        asset = self.store.asset(device)
        assert asset is not None
        machine = self.machines[asset.machine_type]
        shifts = {d.signal: 1 if d.direction == "above" else -1 for d in deviations(machine, fault)}
        noise = random.Random(device)
        rows = []
        for second in range(-HISTORY_S, 0, 20):
            grown = min(max((second - from_s) / 240, 0), 1) if from_s <= second < to_s else 0.0
            at_ns = START_NS + second * S
            tags = {"device": device, "site": asset.site}
            fields: dict[str, float | None] = {
                s.name: value_of(s, second, shifts.get(s.name, 0) * grown, noise)
                for s in machine.signals
            }
            score = 0.25 + 0.08 * math.sin(second / 300) + noise.gauss(0, 0.03) + 1.6 * grown
            scored = {"quality": 0.0, "score": score, "alarm": float(score >= 1)}
            rows.append(Row(machine.name, tags, fields | scored, at_ns))
        assert not self.series.write(frames(rows)), "every row is taken"
        for again in range(1, AHEAD + 1 if not fault else 1):  # its time runs on while tests wait
            shift_ns = again * HISTORY_S * S
            later = [Row(r.measurement, r.tags, r.fields, r.time_ns + shift_ns) for r in rows]
            assert not self.series.write(frames(later)), "every row is taken"
        score_now = rows[-1].fields["score"]
        self.lives[device] = Live(
            device=device,
            online=True,
            last_ns=START_NS - 2 * S,
            values=fields,
            state=State.ALARM if (score_now or 0) >= 1 else State.HEALTHY,
            score=score_now,
            progress=1.0,
            firmware="1.4.0",
            mode="run",
        )


def build(folder: Path, speed: float = 1.0) -> WorldDesk:
    """Return a fleet in which something of everything is going on."""
    desk = WorldDesk(folder, speed)
    for device, kind, title, site in FLEET:
        desk.add_machine(device, kind, title, site)
    for device in ("pump-1", "pump-5", "pump-7", "compressor-2", "chiller-2"):
        desk.record(device)
    _verifying(desk)
    _approval(desk)
    _dispatched(desk)
    _ended(desk)
    _quiet(desk)
    desk.forecasts["pump-5"] = Forecast(
        told_ns=START_NS,
        expected_ns=START_NS + 20 * DAY,
        earliest_ns=START_NS + 12 * DAY,
        latest_ns=START_NS + 31 * DAY,
        book_before_ns=START_NS + 11 * DAY,
    )
    said = "Motor current: 2.3 A above its 6 peers under the same conditions."
    desk.warnings["pump-5"] = [Notice("motor_current_a", said, START_NS - 2 * DAY)]
    for i in range(3):
        desk.store.quarantine(
            "farfix/v1/12/north/pump-1/telemetry",
            HOSTILE.encode() + b"\xff\x00",
            f"not a TelemetryBatch: {HOSTILE}",
            START_NS - i * 60 * S,
        )
    return desk


FLEET = [
    ("pump-1", "centrifugal_pump", "Circulation pump 1", "north"),
    ("pump-2", "centrifugal_pump", "Circulation pump 2", "north"),
    ("pump-3", "centrifugal_pump", "Booster pump", "north"),
    ("pump-4", "centrifugal_pump", "Feed pump east", "south"),
    ("pump-5", "centrifugal_pump", "Feed pump west", "south"),
    ("pump-6", "centrifugal_pump", "Transfer pump", "south"),
    ("pump-7", "centrifugal_pump", f"Pump {HOSTILE}", "south"),
    ("compressor-1", "air_compressor", "Compressor, workshop", "north"),
    ("compressor-2", "air_compressor", "Compressor, packing line", "south"),
    ("chiller-1", "chiller", "Chiller, cold store", "north"),
    ("chiller-2", "chiller", "Chiller, office block", "south"),
    ("rig-1", "water_pump_rig", "Test rig", "lab"),
]


def _verifying(desk: WorldDesk) -> None:
    desk.record("pump-2", "cavitation", from_s=-1900, to_s=-240)
    case = desk.open("pump-2", "cavitation", START_NS - 1800 * S, Mode.AUTO)
    desk.observed(case)
    first = desk.case(case).attempt.command_id
    for second in (-1500, -700):
        desk.sick(case, START_NS + second * S, 1.8)
    desk.move(
        case,
        CommandFinished(first, AnswerStatus.DONE, START_NS - 600 * S, f"log: {HOSTILE}"),
        START_NS - 595 * S,
    )
    desk.sick(case, START_NS - 500 * S, 1.6)
    for i in range(5):
        at_ns = START_NS - (200 - 15 * i) * S
        desk.move(case, Evidence(at_ns, healthy=True, score=0.5 - 0.05 * i), at_ns)


def _approval(desk: WorldDesk) -> None:
    desk.record("pump-3", "firmware_bug", from_s=-900, to_s=1)
    case = desk.open("pump-3", "firmware_bug", START_NS - 700 * S, Mode.SUGGEST)
    desk.observed(case)


def _dispatched(desk: WorldDesk) -> None:
    desk.record("compressor-1", "clogged_intake_filter", from_s=-3000, to_s=1)
    case = desk.open("compressor-1", "clogged_intake_filter", START_NS - 2700 * S, Mode.AUTO)
    desk.observed(case)
    assert desk.case(case).phase is Phase.DISPATCHED


def _ended(desk: WorldDesk) -> None:
    desk.record("chiller-1", "setpoint_drift", from_s=-5000, to_s=-4300)
    case = desk.open("chiller-1", "setpoint_drift", START_NS - 4900 * S, Mode.AUTO)
    desk.observed(case)
    attempt = desk.case(case).attempt
    sick_ns = START_NS - 4650 * S
    desk.sick(case, sick_ns, 1.7)
    done_ns = START_NS - 4600 * S
    desk.move(case, CommandFinished(attempt.command_id, AnswerStatus.DONE, done_ns), done_ns)
    settled_ns = done_ns + int(attempt.step.settle_s * S)
    for i in range(40):
        at_ns = settled_ns + i * 15 * S
        desk.move(case, Evidence(at_ns, healthy=True, score=0.3 + 0.05 * (i % 3)), at_ns)
    assert desk.case(case).phase is Phase.RECOVERED
    case = desk.open("pump-5", "air_ingress", START_NS - 5400 * S, Mode.AUTO)
    for i in range(40):
        at_ns = START_NS - 5390 * S + i * 10 * S
        desk.move(case, Evidence(measured_ns=at_ns, healthy=True), at_ns)
    assert desk.case(case).phase is Phase.SELF_CLEARED


def _quiet(desk: WorldDesk) -> None:
    desk.record("pump-4")
    desk.open("pump-4", NO_DATA, START_NS - 240 * S)
    desk.lives["pump-4"] = Live(device="pump-4", online=False, last_ns=START_NS - 600 * S)
    desk.lives["pump-6"] = Live(
        device="pump-6",
        online=True,
        last_ns=START_NS - 3 * S,
        state=State.COMMISSIONING,
        progress=0.62,
        mode="run",
    )
    desk.lives["compressor-2"] = Live(
        device="compressor-2",
        online=True,
        last_ns=START_NS - 3 * S,
        state=State.UNJUDGED,
        progress=1.0,
        mode="unloaded",
    )
