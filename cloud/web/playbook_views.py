"""Playbooks as people read them, with what each remedy has shown so far.

Everything here reads and may block for a moment: call it from a thread.
"""

from collections import defaultdict

from msgspec import Struct

from cloud.core.playbook import Playbook
from cloud.core.states import MAY_HAVE_ACTED, Mode, Proof
from cloud.web import case_views
from cloud.web.ports import Desk
from contract.faults import UNKNOWN, Severity
from contract.machines import FaultSpec, MachineType

CASES_MAX = 1000
"""So many of the newest cases are looked at for what remedies have shown."""


class Record(Struct, frozen=True):
    """What one remedy has shown on one type of machine."""

    tried: int = 0
    """How often it acted, or may have acted."""
    verified: int = 0
    """How often fresh telemetry proved the recovery."""
    returned: int = 0
    """How often the fault came back all the same."""


class RemedyLine(Struct, frozen=True, kw_only=True):
    """One remedy of a fault, in its order."""

    name: str
    title: str
    high_risk: bool
    mode: Mode
    record: Record


class FaultLine(Struct, frozen=True, kw_only=True):
    """What is done about one fault."""

    code: str
    title: str
    severity: Severity | None
    safety: bool
    remedies: list[RemedyLine]
    parts: list[str]
    skills: list[str]


class Book(Struct, frozen=True, kw_only=True):
    """What is done about the faults of one machine type."""

    machine_type: str
    title: str
    mode: Mode
    faults: list[FaultLine]
    """Those with remedies first."""


class PlaybookViews:
    """Reads about playbooks."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def books(self) -> list[Book]:
        """Return the playbook of every machine type, by title."""
        found, shown = self._desk.playbooks, self._records()
        books = [
            _book(machine, found.by_machine_type.get(name), shown)
            for name, machine in self._desk.machines.items()
        ]
        return sorted(books, key=lambda book: book.title)

    def _records(self) -> dict[tuple[str, str, str], Record]:
        """Return what remedies have shown, by machine type, fault and remedy."""
        counted: defaultdict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        for row in self._desk.store.cases(limit=CASES_MAX):
            case = case_views.decode(row)
            for attempt in [*case.earlier, *case.attempts]:
                entry = counted[case.machine_type, attempt.step.fault, attempt.step.remedy]
                entry[0] += attempt.reply in MAY_HAVE_ACTED
                entry[1] += attempt.proof is Proof.RECOVERED
            for attempt in case.earlier:
                entry = counted[case.machine_type, attempt.step.fault, attempt.step.remedy]
                entry[2] += attempt.proof is Proof.RECOVERED
        return {key: Record(*numbers) for key, numbers in counted.items()}


def _book(
    machine: MachineType, book: Playbook | None, shown: dict[tuple[str, str, str], Record]
) -> Book:
    book = book or Playbook(machine_type=machine.name)
    entries = {entry.fault: entry for entry in book.faults}

    def lines(fault: str, names: list[str], mode: Mode | None) -> list[RemedyLine]:
        return [_line(machine, fault, name, mode or book.mode, shown) for name in names]

    faults = [
        _fault(spec, lines(spec.code, entry.remedies, entry.mode) if entry else [])
        for spec in machine.faults
        for entry in [entries.get(spec.code)]
    ]
    if book.default is not None:
        default = lines(UNKNOWN, book.default.remedies, book.default.mode)
        faults.append(
            FaultLine(
                code=UNKNOWN,
                title=case_views.fault_title(machine, UNKNOWN),
                severity=None,
                safety=False,
                remedies=default,
                parts=[],
                skills=[],
            )
        )
    faults.sort(key=lambda fault: not fault.remedies)
    return Book(machine_type=machine.name, title=machine.title, mode=book.mode, faults=faults)


def _fault(spec: FaultSpec, remedies: list[RemedyLine]) -> FaultLine:
    return FaultLine(
        code=spec.code,
        title=spec.title,
        severity=spec.severity,
        safety=spec.safety,
        remedies=remedies,
        parts=[part.name for part in spec.parts],
        skills=spec.skills,
    )


def _line(
    machine: MachineType,
    fault: str,
    name: str,
    mode: Mode,
    shown: dict[tuple[str, str, str], Record],
) -> RemedyLine:
    remedy = machine.remedy(name)
    command = machine.command(remedy.command) if remedy else None
    return RemedyLine(
        name=name,
        title=remedy.title if remedy else name,
        high_risk=command.high_risk if command else False,
        mode=mode,
        record=shown.get((machine.name, fault, name), Record()),
    )
