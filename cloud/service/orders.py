"""What a case asks for, as rows of the outbox."""

import msgspec

from cloud.adapters.store import OutboxRow, TimelineRow
from cloud.core import customers, ledger, telling, ticket
from cloud.core.events import Announce, OpenTicket, SaveLabel, SendCommand
from cloud.core.states import Case
from cloud.core.telling import EventType
from cloud.service.lives import Lives
from cloud.service.outbox import Announcement, DeviceCommand
from cloud.service.parts import Parts
from cloud.service.windows import Windows
from cloud.web import metrics
from contract.commands import Command
from contract.faults import Fault
from contract.machines import CommandKind
from contract.tickets import Asset, Ticket, TicketNews

DETAIL_MAX = 2000
"""Characters of what has just happened, for other systems."""

Asked = SendCommand | OpenTicket | SaveLabel | Announce


class Orders:
    """Turns effects into rows; reads the machine's nameplate and forecast for tickets."""

    def __init__(self, parts: Parts, lives: Lives, windows: Windows) -> None:
        self._parts, self._lives, self._windows = parts, lives, windows
        self._prices = ledger.Prices(**parts.config.prices.model_dump())

    def rows(
        self,
        steps: tuple[Case | None, Case],
        asked: list[Asked],
        notes: list[TimelineRow],
        version: int,
        now_ns: int,
    ) -> list[OutboxRow]:
        """Return what is to be done about a case.

        Args:
            steps: the case before, None if it is new, and after.
            asked: effects of the step, without notes.
            notes: what the step wrote into the timeline.
            version: of the case's row; makes the keys of what follows from the step.
            now_ns: plant time.
        """
        case = steps[1]
        found = self._followed(steps, notes, version, now_ns)
        for effect in asked:
            kind, payload = self._payload(case, effect)
            found.append(_row(effect.key, case, kind, payload, now_ns))
        if not case.open and self._cured_by_firmware(case):
            key = f"{case.case_id}/propose/{version}"
            found.append(_row(key, case, "propose", _said(case, notes), now_ns))
        return found

    def _followed(
        self, steps: tuple[Case | None, Case], notes: list[TimelineRow], version: int, now_ns: int
    ) -> list[OutboxRow]:
        """Return what others are told of a step, and what it is worth."""
        case, asset = steps[1], self._parts.assets[steps[1].device]
        found = []
        said = " ".join(note.text for note in notes)
        for i, kind in enumerate(telling.events(*steps)):
            key = f"{case.case_id}/tell/{version}.{i}"
            event = self._telling(kind, key, case, said, now_ns)
            found.append(_row(key, case, "tell", event, now_ns))
        worth = ledger.entries(*steps, asset.tier, self._prices)
        if worth:
            found.append(_row(f"{case.case_id}/ledger/{version}", case, "ledger", worth, now_ns))
        for moment in customers.moments(*steps) if asset.customer else []:
            key = f"{case.case_id}/customer/{version}.{moment.value}"
            word = customers.Word(
                key=key,
                case_id=case.case_id,
                device=case.device,
                moment=moment,
                at_ns=now_ns,
                title=case.title,
                expected_ns=case.visit.expected_ns if case.visit else None,
            )
            found.append(_row(key, case, "customer", word, now_ns))
        return found

    def _telling(
        self, kind: EventType, key: str, case: Case, said: str, now_ns: int
    ) -> telling.Telling:
        """Write one event for other systems."""
        state, visit = telling.ABOUT_TICKETS.get(kind), case.visit
        if state is None or visit is None:
            subject, data = case.case_id, msgspec.json.encode(_fault(case))
        else:
            news = TicketNews(
                ticket=self._ticket(case),
                state=state,
                visit=visit.state,
                detail=said[:DETAIL_MAX],
                url=f"{self._parts.config.base_url}/cases/{case.case_id}",
                report=case.report,
            )
            subject, data = visit.key, msgspec.json.encode(news)
        return telling.Telling(
            id=key,
            type=kind,
            subject=subject,
            device=case.device,
            at_ns=now_ns,
            data=msgspec.Raw(data),
        )

    def _ticket(self, case: Case) -> Ticket:
        """Return the case's latest ticket: as it was written, or write it."""
        key = case.visit.key if case.visit else ""
        row = self._parts.store.ticket(key)
        if row is not None:
            return msgspec.json.decode(row.body, type=Ticket)
        for waiting in self._parts.store.outbox(case.case_id):
            if waiting.key == f"{key}/ticket":
                return msgspec.json.decode(waiting.payload, type=Ticket)
        machine = self._parts.machines[case.machine_type]
        forecast = self._lives.forecast(case.device)
        return ticket.build(case, machine, self._asset(case.device), forecast)

    def _payload(self, case: Case, effect: Asked) -> tuple[str, msgspec.Struct]:
        match effect:
            case SendCommand():
                command = Command(
                    id=effect.command_id,
                    name=effect.command,
                    argument=effect.argument,
                    issued_ns=effect.issued_ns,
                    expires_ns=effect.expires_ns,
                )
                return "command", DeviceCommand(case.device, command, case.attempt.step.fault)
            case OpenTicket():
                metrics.opened_tickets.labels(effect.reason.value).inc()
                return "ticket", self._ticket(case)
            case SaveLabel():
                return "label", effect.label
            case Announce():
                return "announce", Announcement(case.device, _fault(case) if case.open else None)

    def _cured_by_firmware(self, case: Case) -> bool:
        if not case.credited or not case.attempts:
            return False
        spec = self._parts.machines[case.machine_type].command(case.attempt.step.command)
        return spec is not None and spec.kind is CommandKind.UPDATE_FIRMWARE

    def _asset(self, device: str) -> Asset:
        row, live = self._parts.assets[device], self._windows.live(device)
        machine = self._parts.machines[row.machine_type]
        return Asset(
            device=device,
            machine_type=row.machine_type,
            title=row.title or machine.title,
            site=row.site,
            serial=row.serial,
            address=row.address,
            firmware=live.firmware if live else "",
        )


def _said(case: Case, notes: list[TimelineRow]) -> str:
    """Tell the peers' people what cured the machine, with the evidence."""
    told = " ".join(note.text for note in notes)
    return f"{case.device} had '{case.title}' (case {case.case_id}). {told}"


def _row(key: str, case: Case, kind: str, payload: object, now_ns: int) -> OutboxRow:
    return OutboxRow(
        key=key,
        case_id=case.case_id,
        kind=kind,
        payload=msgspec.json.encode(payload),
        due_ns=now_ns,
    )


def _fault(case: Case) -> Fault:
    return Fault(
        case=case.case_id,
        fault=case.fault,
        title=case.title,
        severity=case.severity,
        phase=case.phase.value,
        since_ns=case.opened_ns,
        hypotheses=case.hypotheses,
    )
