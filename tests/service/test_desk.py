"""The desk over a real store: what is decided is saved, and comes back after a restart."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from cloud.adapters.clock import PlantClock
from cloud.adapters.mqtt import Link
from cloud.adapters.series_sqlite import SqliteSeries
from cloud.adapters.store import Store
from cloud.config import Config
from cloud.core import playbook
from cloud.core.asset import AssetRow
from cloud.core.states import Mode, Phase
from cloud.service.desk import Desk
from cloud.service.learning import Learning
from cloud.service.lives import Lives
from cloud.service.outbox import DeviceCommand
from cloud.service.parts import Parts
from cloud.service.windows import Windows
from contract import machines
from contract.commands import Answer, AnswerStatus
from contract.errors import Refused
from contract.faults import NO_DATA, Deviation
from contract.machines import CheckKind
from contract.tickets import ClosingReport, EscalationReason, Label, Ticket
from contract.timescale import Timescale
from contract.topics import Channel, Topic
from models.checks import CheckResult
from models.monitor import Assessment, State

DEVICE = "pump-1"
NOTHING_SEEN = Windows(
    live=lambda _: None,
    states=dict,
    boards=list,
    notices=lambda _: [],
    unready=list,
    updating=lambda _: "",
    troubles=list,
)
BEGIN_NS = 1_795_330_800 * 10**9


class Clock(PlantClock):
    """Plant time that tests move, so that a machine that stalls changes nothing."""

    def __init__(self, ns: int) -> None:
        super().__init__()
        self.ns = ns

    def now_ns(self) -> int:
        self.ns += 10**6  # no two looks see the same instant
        return self.ns


@contextmanager
def parts(folder: Path, mode: Mode | None = Mode.AUTO, **config: object) -> Iterator[Parts]:
    stopped = folder / "clock"
    clock = Clock(int(stopped.read_text()) if stopped.exists() else BEGIN_NS)
    known = machines.library()
    asset = AssetRow(device=DEVICE, site="north", machine_type="centrifugal_pump", serial="S1")
    made = Parts(
        config=Config.model_validate({"mode_override": mode, **config}),
        timescale=Timescale(),
        clock=clock,
        store=Store(f"sqlite:///{folder / 'cases.db'}"),
        series=SqliteSeries(folder / "telemetry.db", 30, clock.now_ns),
        link=Link("mqtt://127.0.0.1:1", "", "", "test"),
        assets={DEVICE: asset},
        machines=known,
    )
    yield made
    stopped.write_text(str(clock.ns))
    for part in (made.store, made.series):
        part.close()


def desk_of(made: Parts, learning: Learning | None = None) -> Desk:
    books = playbook.shipped(made.machines)
    lives = Lives(made, books.policy.on_site_lead_h)
    return Desk(made, books, learning or Learning(made, lives), lives, NOTHING_SEEN)


def learning_of(made: Parts) -> Learning:
    return Learning(made, Lives(made, {}))


def picture(fault: str) -> list[Deviation]:
    """Return what the fault table says that one sees."""
    spec = machines.library()["centrifugal_pump"].fault(fault)
    assert spec is not None
    return [Deviation(s.signal, s.direction, 4.5 * s.weight, 6.0, 2.0) for s in spec.symptoms]


def alarm(desk: Desk, fault: str = "cavitation") -> None:
    assessment = Assessment(desk.now_ns(), State.ALARM, 2.0, picture(fault), [], 1.0)
    desk.alarm(DEVICE, assessment)
    desk.evidence(DEVICE, assessment)


def shown(desk: Desk, *, healthy: bool) -> None:
    """Show the desk a reading, healthy or not."""
    state, score = (State.HEALTHY, 0.3) if healthy else (State.ALARM, 2.0)
    seen = [] if healthy else picture("cavitation")
    desk.evidence(DEVICE, Assessment(desk.now_ns(), state, score, seen, [], 1.0))


def pass_minutes(desk: Desk, minutes: float, *, healthy: bool | None = None) -> None:
    """Let plant time pass, with evidence every ten plant seconds where there is any."""
    clock = desk._parts.clock
    assert isinstance(clock, Clock)
    for _ in range(round(minutes * 6)):
        if healthy is not None:
            shown(desk, healthy=healthy)
        desk.tick([])
        clock.ns += 10 * 10**9


def phase(made: Parts) -> str:
    return made.store.cases()[0].phase


def commands(made: Parts) -> list[DeviceCommand]:
    rows = made.store.outbox(made.store.cases()[0].case_id)
    return [msgspec.json.decode(r.payload, type=DeviceCommand) for r in rows if r.kind == "command"]


def answer(desk: Desk, made: Parts, status: AnswerStatus) -> None:
    last = commands(made)[-1].command
    reply = Answer(id=last.id, status=status, at_ns=desk.now_ns(), reason="as the test says")
    desk.answered(Topic("north", DEVICE, Channel.ANSWER), reply)


def ticket(made: Parts) -> Ticket:
    rows = made.store.outbox(made.store.cases()[0].case_id)
    (row,) = [r for r in rows if r.kind == "ticket"]
    return msgspec.json.decode(row.payload, type=Ticket)


def test_a_fault_is_observed_repaired_verified_and_credited(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        alarm(desk)
        pass_minutes(desk, 4, healthy=False)
        (sent,) = commands(made)
        assert (sent.device, sent.command.name, sent.command.argument) == (
            DEVICE, "set_suction_valve", 100,
        )  # fmt: skip
        answer(desk, made, AnswerStatus.DONE)
        pass_minutes(desk, 2, healthy=False)
        pass_minutes(desk, 4, healthy=True)
        assert phase(made) == Phase.RECOVERED
        kinds = [row.kind for row in made.store.outbox(made.store.cases()[0].case_id)]
        assert "ticket" not in kinds
        assert "label" in kinds


def test_a_restart_in_the_middle_goes_on_where_the_case_stood(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        alarm(desk)
        pass_minutes(desk, 4, healthy=False)
    with parts(tmp_path) as made:  # whatever was only in memory is gone, as after kill -9
        desk = desk_of(made)
        assert phase(made) == Phase.FIXING
        answer(desk, made, AnswerStatus.DONE)
        pass_minutes(desk, 2, healthy=False)
    with parts(tmp_path) as made:
        desk = desk_of(made)
        pass_minutes(desk, 5, healthy=True)
        assert phase(made) == Phase.RECOVERED
        assert len(commands(made)) == 1


def test_a_remedy_that_does_not_help_ends_in_one_ticket_that_tells_it(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        alarm(desk)
        pass_minutes(desk, 4, healthy=False)
        answer(desk, made, AnswerStatus.DONE)
        pass_minutes(desk, 19, healthy=False)  # two to settle, fifteen to verify
        found = ticket(made)
        assert found.reason is EscalationReason.VERIFICATION_FAILED
        assert [t.remedy for t in found.tried] == ["open_suction_valve"]
        assert found.asset.serial == "S1"
        assert found.parts
        asyncio.run(desk.report(found.key, ClosingReport(finding="cavitation")))
        assert phase(made) == Phase.CLOSED


def test_nothing_is_sent_in_the_shipped_mode_until_a_person_agrees(tmp_path: Path) -> None:
    with parts(tmp_path, mode=None) as made:
        desk = desk_of(made)
        alarm(desk)
        pass_minutes(desk, 5, healthy=False)
        assert (phase(made), commands(made)) == (Phase.AWAITING_APPROVAL, [])
        case_id = made.store.cases()[0].case_id
        asyncio.run(desk.decide(case_id, "approve", "operator", "looks right"))
        pass_minutes(desk, 0.5, healthy=False)
        assert len(commands(made)) == 1
        with pytest.raises(Refused, match="does not apply now"):
            asyncio.run(desk.decide(case_id, "approve", "operator", "again"))
        (line,) = made.store.updates.audit()
        text = f"Case {case_id}: agrees to the next remedy."
        assert (line.by, line.device, line.text) == ("operator", DEVICE, text)


def test_a_dismissed_alarm_rests_until_it_has_cleared(tmp_path: Path) -> None:
    with parts(tmp_path, mode=None) as made:
        desk = desk_of(made)
        alarm(desk)
        asyncio.run(desk.decide(made.store.cases()[0].case_id, "dismiss", "operator", "known"))
        alarm(desk)
        assert len(made.store.cases()) == 1
        shown(desk, healthy=True)
        alarm(desk)
        assert len(made.store.cases()) == 2


def test_a_silent_machine_gets_a_case_and_clears_it_by_speaking(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        desk.tick([DEVICE])
        assert made.store.cases()[0].phase == Phase.OBSERVING
        pass_minutes(desk, 4, healthy=True)
        assert phase(made) == Phase.SELF_CLEARED


def test_a_safety_fault_goes_to_dispatch_at_once(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        alarm(desk, fault="discharge_overpressure")
        assert ticket(made).reason is EscalationReason.UNSAFE
        assert commands(made) == []


def test_a_device_that_repeats_itself_is_a_machine_without_data(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        check = CheckResult(CheckKind.STALE, "", "the same numbers have come again")
        desk.alarm(DEVICE, Assessment(desk.now_ns(), State.ALARM, None, [], [check], 1.0))
        case_id = made.store.cases()[0].case_id
        asyncio.run(desk.decide(case_id, "escalate", "operator", "look at it"))
        assert ticket(made).fault == NO_DATA
        assert "The machine repeats old numbers" in ticket(made).title
        asyncio.run(desk.report(case_id, ClosingReport(finding="other")))
        (label,) = [r for r in made.store.outbox(case_id) if r.kind == "label"]
        kept = msgspec.json.decode(label.payload, type=Label)
        assert [c.kind for c in kept.checks] == ["stale"]


@pytest.mark.parametrize(
    "failing", ["UPDATE ON cases", "INSERT ON timeline", "INSERT ON outbox", "INSERT ON audit"]
)
def test_a_decision_and_its_line_in_the_audit_log_are_saved_together_or_not_at_all(
    tmp_path: Path, failing: str
) -> None:
    with parts(tmp_path, mode=None) as made:
        desk = desk_of(made)
        alarm(desk)
        case_id = made.store.cases()[0].case_id
        before = kept(made, case_id)
        fault = f"CREATE TRIGGER fault BEFORE {failing} BEGIN SELECT RAISE(ABORT, 'full'); END"
        with made.store.engine.begin() as connection:
            connection.execute(sa.text(fault))
        with pytest.raises(Refused, match="full"):
            asyncio.run(desk.decide(case_id, "escalate", "operator", "now"))
        assert kept(made, case_id) == before
        with made.store.engine.begin() as connection:
            connection.execute(sa.text("DROP TRIGGER fault"))
        asyncio.run(desk.decide(case_id, "escalate", "operator", "now"))
        assert phase(made) == Phase.DISPATCHED
        assert [line.by for line in made.store.updates.audit()] == ["operator"]


def kept(made: Parts, case_id: str) -> list[object]:
    store = made.store
    return [
        store.case(case_id),
        store.timeline(case_id),
        store.outbox(case_id),
        store.updates.audit(),
    ]
