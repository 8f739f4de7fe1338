"""What there is to see, read from stores and live state; the API and the console both show this.

Everything here reads and may block for a moment: call it from a thread.
"""

import msgspec
from msgspec.structs import asdict

from cloud.adapters.store import CaseRow
from cloud.core import visits
from cloud.core.asset import AssetRow
from cloud.core.states import Case, Phase
from cloud.core.wording import foreseen
from cloud.web import case_views, ticket_views, words
from cloud.web.ports import Desk, Live
from cloud.web.schemas import (
    CaseBrief,
    CaseDetail,
    Fleet,
    FleetMachine,
    FleetSummary,
    ForecastView,
    Machine,
    NoticeView,
    QuarantineEntry,
    SignalView,
    Status,
    Telemetry,
)
from cloud.web.ticket_schemas import TicketBrief, TicketDetail
from contract import codec
from contract.faults import NO_DATA
from contract.machines import MachineType, Signal
from contract.tickets import Forecast, Ticket
from models.monitor import State

PAGE = 500
MAX_POINTS = 2000
PAYLOAD_SHOWN_BYTES = 400
_STATES = {
    State.ALARM: Status.ALARM,
    State.COMMISSIONING: Status.LEARNING,
    State.UNJUDGED: Status.UNJUDGED,
    State.HEALTHY: Status.HEALTHY,
}
_URGENCY = {status: rank for rank, status in enumerate(Status)}


class _Ended(msgspec.Struct, frozen=True):
    """The two fields of a stored case that the totals need."""

    phase: Phase
    credited: bool = False


class Views:
    """Reads for people and programs."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._ended_after: frozenset[str] | None = None
        self._ended = (0, 0)

    def fleet(self) -> Fleet:
        """Return all machines, the most urgent first, and the numbers above them."""
        rows = {row.device: row for row in self._desk.store.open_cases()}
        machines = [
            self._fleet_machine(asset, rows.get(asset.device))
            for asset in self._desk.store.assets()
        ]
        machines.sort(key=lambda m: (_URGENCY[m.status], m.device))
        return Fleet(
            now_ns=self._desk.now_ns(),
            speed=self._desk.timescale.speed,
            summary=self._summary(machines, frozenset(row.case_id for row in rows.values())),
            machines=machines,
        )

    def machine(self, device: str) -> Machine | None:
        """Return one machine with its signals and its latest cases."""
        store = self._desk.store
        asset = store.asset(device)
        if asset is None:
            return None
        live, machine_type = self._desk.live(device), self._type(asset)
        row = store.open_case(device)
        values = live.values if live else {}
        seen = case_views.decode(row).deviations if row else []
        expected = {d.signal: d.expected for d in seen}
        signals = machine_type.signals if machine_type else []
        return Machine(
            **dict(self._fleet_machine(asset, row)),
            forecast=_forecast(self._desk.forecast(device)),
            notices=[NoticeView(**asdict(n)) for n in self._desk.notices(device)],
            signals=[_signal(s, values.get(s.name), expected.get(s.name)) for s in signals],
            cases=self.cases(device=device, limit=50),
        )

    def telemetry(
        self, device: str, signals: list[str], from_ns: int, to_ns: int, max_points: int
    ) -> Telemetry | None:
        """Return signals and score over time; no names means all signals of the machine type."""
        asset = self._desk.store.asset(device)
        machine_type = self._type(asset) if asset else None
        if asset is None or machine_type is None:
            return None
        names = signals or [signal.name for signal in machine_type.signals]
        span = (from_ns, to_ns, min(max_points, MAX_POINTS))
        points = self._desk.series.read(machine_type.name, device, [*names, "score"], *span)
        return Telemetry(
            device=device,
            from_ns=from_ns,
            to_ns=to_ns,
            times_ns=points.times_ns,
            signals={name: points.columns[name] for name in names},
            score=points.columns["score"],
        )

    def cases(
        self, device: str | None = None, phase: str | None = None, limit: int = 100
    ) -> list[CaseBrief]:
        """Return cases, the latest first."""
        rows = self._desk.store.cases(device=device, phase=phase, limit=limit)
        return [case_views.brief(row) for row in rows]

    def case(self, case_id: str) -> CaseDetail | None:
        """Return the whole story of a case."""
        store = self._desk.store
        row = store.case(case_id)
        if row is None:
            return None
        asset = store.asset(row.device)
        title = asset.title if asset and asset.title else row.device
        found = case_views.decode(row)
        machine_type = self._desk.machines.get(found.machine_type)
        key = found.visit.key if found.visit else case_id
        return case_views.detail(
            row,
            store.timeline(case_id),
            machine_type,
            machine_title=title,
            ticket_key=key if store.ticket(key) is not None else None,
            now_ns=self._desk.now_ns(),
        )

    def tickets(self) -> list[TicketBrief]:
        """Return tickets, the latest first, at most 200."""
        rows, now_ns = self._desk.store.tickets(200), self._desk.now_ns()
        ids = {row.key: visits.case_of(row.key) for row in rows}
        cases = self._desk.store.cases_of(list(ids.values()))
        return [ticket_views.brief(row, cases.get(ids[row.key]), now_ns) for row in rows]

    def ticket(self, key: str) -> TicketDetail | None:
        """Return one ticket as the technician needs it."""
        store = self._desk.store
        row = store.ticket(key)
        if row is None:
            return None
        asset = codec.decode(row.body, Ticket).asset
        machine_type = self._desk.machines.get(asset.machine_type)
        return ticket_views.detail(store, row, machine_type, self._desk.now_ns())

    def quarantine(self) -> list[QuarantineEntry]:
        """Return refused messages, the latest first, at most 200."""
        return [
            QuarantineEntry(
                at_ns=row.at_ns,
                topic=row.topic,
                reason=row.reason,
                payload=_printable(row.payload[:PAYLOAD_SHOWN_BYTES]),
            )
            for row in self._desk.store.quarantined(200)
        ]

    def _type(self, asset: AssetRow) -> MachineType | None:
        return self._desk.machines.get(asset.machine_type)

    def _fleet_machine(self, asset: AssetRow, row: CaseRow | None) -> FleetMachine:
        live = self._desk.live(asset.device)
        machine_type = self._type(asset)
        case = case_views.decode(row) if row else None
        status, text = _status(live, case)
        return FleetMachine(
            device=asset.device,
            title=asset.title or asset.device,
            site=asset.site,
            machine_type=asset.machine_type,
            machine_type_title=machine_type.title if machine_type else asset.machine_type,
            tier=asset.tier,
            serial=asset.serial,
            address=asset.address,
            labels=asset.labels,
            status=status,
            status_text=text,
            online=live.online if live else False,
            last_ns=live.last_ns if live else None,
            score=live.score if live else None,
            progress=min(max(live.progress, 0.0), 1.0) if live else 0.0,
            scored=live.scored if live else 0,
            mode=live.mode if live else "",
            firmware=live.firmware if live else "",
            case=case_views.brief(row) if row else None,
        )

    def _summary(self, machines: list[FleetMachine], open_ids: frozenset[str]) -> FleetSummary:
        def count(*statuses: Status) -> int:
            return sum(machine.status in statuses for machine in machines)

        phases = [machine.case.phase for machine in machines if machine.case]
        approval = phases.count(Phase.AWAITING_APPROVAL)
        tickets = phases.count(Phase.DISPATCHED)
        fixed, cleared = self._ended_totals(open_ids)
        return FleetSummary(
            machines=len(machines),
            healthy=count(Status.HEALTHY),
            being_fixed=len(phases) - approval - tickets,
            awaiting_approval=approval,
            tickets=tickets,
            silent=count(Status.SILENT),
            learning=count(Status.LEARNING),
            fixed_remotely=fixed,
            self_cleared=cleared,
        )

    def _ended_totals(self, open_ids: frozenset[str]) -> tuple[int, int]:
        """Return how many cases were fixed remotely and how many cleared by themselves.

        They can have changed only when the set of open cases has.
        """
        if open_ids != self._ended_after:
            fixed = sum(end.credited for end in self._all_ended(Phase.RECOVERED))
            self._ended = (fixed, len(self._all_ended(Phase.SELF_CLEARED)))
            self._ended_after = open_ids
        return self._ended

    def _all_ended(self, phase: Phase) -> list[_Ended]:
        found: list[_Ended] = []
        before_ns: int | None = None
        while True:
            rows = self._desk.store.cases(phase=phase, limit=PAGE, before_ns=before_ns)
            found += [msgspec.json.decode(row.data, type=_Ended) for row in rows]
            if len(rows) < PAGE:
                return found
            before_ns = rows[-1].opened_ns


def _status(live: Live | None, case: Case | None) -> tuple[Status, str]:
    if case is not None:
        text = words.PHASE[case.phase]
        if case.phase is Phase.AWAITING_APPROVAL:
            return Status.APPROVAL, text
        if case.phase is Phase.DISPATCHED:
            return Status.TICKET, words.STATUS[Status.TICKET]
        if case.fault == NO_DATA:
            return Status.SILENT, words.STATUS[Status.SILENT]
        return Status.FIXING, words.SHORT.get(case.phase, text)
    if live is None or (live.online and live.state is None):
        status = Status.WAITING
    elif not live.online or live.state is None:
        status = Status.SILENT
    else:
        status = _STATES[live.state]
    return status, words.STATUS[status]


def _printable(payload: bytes) -> str:
    """Return bytes as text, with everything that is none escaped."""
    text = payload.decode(errors="backslashreplace")
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def _forecast(found: Forecast | None) -> ForecastView | None:
    return ForecastView(text=foreseen(found), **asdict(found)) if found else None


def _signal(signal: Signal, value: float | None, expected: float | None) -> SignalView:
    place = signal.modbus
    where = f"{place.register} {place.address}, {place.type}, {place.byte_order}" if place else ""
    if place and place.scale != 1.0:
        where += f", x {place.scale:g}"
    return SignalView(
        name=signal.name,
        title=signal.title,
        unit=signal.unit,
        role=signal.role,
        minimum=signal.range[0],
        maximum=signal.range[1],
        value=value,
        expected=expected,
        register_text=where,
        modes=signal.modes,
    )
