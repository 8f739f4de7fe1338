"""The open cases: moved by events, each step saved with all that follows from it.

A case, its timeline, its effects and, where a person decided, the line in the audit log are saved
in one transaction before anything is performed.
Evidence that moves nothing is kept in memory and saved with the next change or checkpoint: after a
crash the journal shows it again.
"""

import logging
from collections import Counter
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from cloud.adapters.rollout_store import Line
from cloud.adapters.store import CaseRow, TimelineRow
from cloud.core import alerts, fleet, playbook, returns
from cloud.core import case as rules
from cloud.core.events import Effect, Event, Note
from cloud.core.limits import Fleet
from cloud.core.playbook import Playbooks
from cloud.core.states import Case, Diagnosis, Phase, Plan
from cloud.service import decided
from cloud.service.lives import Lives
from cloud.service.orders import Orders
from cloud.service.parts import Parts
from cloud.service.windows import Windows
from cloud.web import metrics
from contract.errors import Refused
from contract.machines import MachineType

log = logging.getLogger(__name__)

REST_NS = 3600 * 10**9
"""After people ended a case, the same alarm opens a new one at the earliest so much later."""
LATELY = 20
"""So many of a machine's cases are looked at for what was tried and what comes back."""


class Origin(Struct, frozen=True):
    """The alert that opens a case; none: the gateway has seen the fault itself."""

    alert: str = ""
    at_ns: int = 0


SEEN = Origin()


class Cases:
    """Holds the open cases by device and moves them by the rules."""

    def __init__(self, parts: Parts, playbooks: Playbooks, lives: Lives, windows: Windows) -> None:
        self._parts, self._playbooks, self._windows = parts, playbooks, windows
        self._orders = Orders(parts, lives, windows)
        self._versions: dict[str, int] = {}
        self._open: dict[str, Case] = {}
        self._dirty: set[str] = set()
        self.resting: dict[str, int] = {}
        """Until when the alarm of a device opens no case."""
        for row in parts.store.open_cases():
            self._open[row.device] = rules.decode_case(row.data)
            self._versions[row.case_id] = row.version
        self._today: dict[str, list[Case]] = {}
        self._of_type = Counter(asset.machine_type for asset in parts.assets.values())

    @property
    def open(self) -> Mapping[str, Case]:
        """The open cases by device."""
        return self._open

    def find(self, case_id: str) -> Case:
        """Return an open case.

        Raises:
            Refused: it is not open.
        """
        case = next((c for c in self._open.values() if c.case_id == case_id), None)
        if case is None:
            raise Refused(f"case {case_id} is not open")
        return case

    def rests(self, device: str, now_ns: int) -> bool:
        """Tell whether people have just ended a case of the device."""
        return now_ns < self.resting.get(device, 0)

    def begin(self, device: str, found: Diagnosis, now_ns: int, origin: Origin = SEEN) -> Case:
        """Open a case, or the one again whose fault is back; return it."""
        asset, plan = self._parts.assets[device], self.plan(device, found, now_ns)
        limits = self._playbooks.policy.limits
        plan = alerts.described(plan, found)
        before = returns.of(self.lately(device), device, found, limits, now_ns)
        if before is not None:
            row = self._parts.store.case(before.case_id)
            self._versions[before.case_id] = row.version if row else 0
            case, effects = rules.reopen(
                before, found, plan, now_ns, alert=origin.alert, alert_ns=origin.at_ns
            )
        else:
            case, effects = rules.open_case(
                case_id=f"{device[:48]}-{now_ns // 10**6:x}",
                device=device,
                site=asset.site,
                machine_type=asset.machine_type,
                diagnosis=found,
                plan=plan,
                now_ns=now_ns,
                alert=origin.alert,
                alert_ns=origin.at_ns,
            )
            metrics.opened_cases.inc()
        self._today.pop(device, None)
        self._save((before, case), effects, now_ns)
        return case

    def apply(self, case: Case, event: Event, now_ns: int) -> Case:
        """Move a case by an event, save what came of it, and return it."""
        moved, effects = rules.step(case, event, now_ns)
        line = decided.line(case, event, now_ns) if moved != case else None
        if effects or line or moved.phase is not case.phase:
            self._save((case, moved), effects, now_ns, line)
        elif moved != case:
            self._open[case.device] = moved
            self._dirty.add(case.device)
        return moved

    def flush(self) -> None:
        """Save cases that have taken in evidence since they were saved."""
        for device in list(self._dirty):
            case = self._open.get(device)
            if case is not None:
                self._save((case, case), (), self._parts.clock.now_ns())
        self._dirty.clear()

    def lately(self, device: str) -> list[Case]:
        """Return the device's latest cases that are over."""
        rows = self._parts.store.cases(device=device, limit=LATELY)
        return [rules.decode_case(row.data) for row in rows if not row.open]

    def plan(self, device: str, found: Diagnosis, opened_ns: int) -> Plan:
        """Plan what to try about what is wrong with a device."""
        return playbook.plan(
            self.machine(device),
            self._parts.assets[device].tier,
            found,
            self._playbooks,
            opened_ns,
            zone=self._parts.assets[device].time_zone,
            mode_override=self._parts.config.mode_override,
        )

    def machine(self, device: str) -> MachineType:
        """Return the type of a device."""
        return self._parts.machines[self._parts.assets[device].machine_type]

    def fleet(self, case: Case, now_ns: int) -> Fleet:
        """Return what a case must know of the others."""
        if case.device not in self._today:
            self._today[case.device] = self.lately(case.device)
        cases = [*self._open.values(), *self._today[case.device]]
        of_type = self._of_type[case.machine_type]
        return fleet.view(
            case, cases, of_type, self._playbooks.policy.limits, now_ns,
            updating=self._windows.updating(case.device),
        )  # fmt: skip

    def _save(
        self,
        steps: tuple[Case | None, Case],
        effects: tuple[Effect, ...],
        now_ns: int,
        line: Line | None = None,
    ) -> None:
        """Save the case after a step, with all that follows from it, in one transaction."""
        case = steps[1]
        before = self._versions.get(case.case_id)
        version = (before or 0) + 1
        row = CaseRow(
            case_id=case.case_id,
            device=case.device,
            phase=case.phase.value,
            open=case.open,
            opened_ns=case.opened_ns,
            updated_ns=now_ns,
            version=version,
            data=rules.encode_case(case),
        )
        notes = [
            TimelineRow(
                case_id=case.case_id,
                at_ns=now_ns,
                kind=e.kind.value,
                text=e.text,
                data=msgspec.json.encode(e.picture) if e.picture else b"",
            )
            for e in effects
            if isinstance(e, Note)
        ]
        asked = [e for e in effects if not isinstance(e, Note)]
        box = self._orders.rows(steps, asked, notes, version, now_ns)
        self._parts.store.save(row, before, notes, box, line)
        self._parts.decided.set()
        for note in notes:
            log.info("%s %s", case.case_id, note.text)
        self._versions[case.case_id] = version
        self._dirty.discard(case.device)
        if case.open:
            self._open[case.device] = case
        else:
            self._end(case, now_ns)

    def _end(self, case: Case, now_ns: int) -> None:
        self._open.pop(case.device, None)
        self._versions.pop(case.case_id, None)
        self._today.pop(case.device, None)
        metrics.ended_cases.labels(case.phase.value).inc()
        if case.phase in (Phase.DISMISSED, Phase.CLOSED):
            self.resting[case.device] = now_ns + REST_NS
