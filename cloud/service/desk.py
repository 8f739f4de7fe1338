"""The desk: every open case, moved by what is seen, answered, decided and by the clock.

A case, its timeline and its effects are saved in one transaction before anything is performed.
Evidence that moves nothing is kept in memory and saved with the next change or checkpoint: after a
crash the journal shows it again.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from cloud.adapters.series import Readable
from cloud.adapters.store import CaseRow, Store, TimelineRow
from cloud.core import case as rules
from cloud.core import fleet, playbook, sensors
from cloud.core.events import (
    Approved,
    CommandFinished,
    Diagnosed,
    Dismissed,
    Effect,
    EscalationAsked,
    Event,
    Evidence,
    Note,
    Rejected,
    ReportReceived,
    Tick,
)
from cloud.core.limits import Fleet
from cloud.core.playbook import Playbooks
from cloud.core.states import Case, Diagnosis, Phase, Plan
from cloud.service.learning import Learning, failed_checks
from cloud.service.lives import Lives
from cloud.service.orders import Orders
from cloud.service.parts import Parts
from cloud.service.windows import Windows
from cloud.web import metrics
from cloud.web.ports import Action, Live, Notice
from contract.commands import Answer
from contract.errors import Refused
from contract.faults import FIRMWARE_UNCLEAR, NO_DATA, Hypothesis
from contract.machines import MachineType
from contract.tickets import ClosingReport, Forecast
from contract.timescale import Timescale
from contract.topics import Topic
from models.monitor import Assessment, State

log = logging.getLogger(__name__)

DECISIONS: Mapping[Action, Callable[[str, str], Event]] = {
    "approve": lambda by, _: Approved(by=by),
    "reject": lambda by, why: Rejected(by=by, why=why),
    "escalate": lambda by, why: EscalationAsked(by=by, why=why),
    "dismiss": lambda by, why: Dismissed(by=by, why=why),
}
LOOK_NS = 30 * 10**9
"""The diagnosis of an open case is looked at again so often: evidence grows by the minute."""
FADED = 0.9
"""Below this share of its highest score an alarm is fading, and its pattern with it."""
REST_NS = 3600 * 10**9
"""After people ended a case, the same alarm opens a new one at the earliest so much later."""


class Desk:
    """Holds the open cases; what the web and the loops ask of them goes through here."""

    def __init__(
        self,
        parts: Parts,
        playbooks: Playbooks,
        learning: Learning,
        lives: Lives,
        windows: Windows,
    ) -> None:
        self._parts, self._playbooks, self._windows = parts, playbooks, windows
        self._learning, self._lives = learning, lives
        self._orders = Orders(parts, lives, windows)
        self._versions: dict[str, int] = {}
        self._open: dict[str, Case] = {}
        self._dirty: set[str] = set()
        self._resting: dict[str, int] = {}
        self._looked: dict[str, tuple[int, float]] = {}
        for row in parts.store.open_cases():
            self._open[row.device] = rules.decode_case(row.data)
            self._versions[row.case_id] = row.version
        self._today: dict[str, list[Case]] = {}
        self._of_type = Counter(asset.machine_type for asset in parts.assets.values())

    # What the loops say.

    def alarm(self, device: str, assessment: Assessment) -> None:
        """Open a case for the device, or sharpen the open one."""
        case, now_ns = self._open.get(device), self._parts.clock.now_ns()
        if case is None and now_ns >= self._resting.get(device, 0):
            self._looked[device] = now_ns, assessment.score or 0.0
            self._begin(device, self._diagnosis(device, assessment), now_ns)
        elif (
            case is not None
            and case.fault != FIRMWARE_UNCLEAR
            and self._sharper(device, assessment, now_ns)
        ):
            found = self._diagnosis(device, assessment)
            self._apply(case, Diagnosed(found, self._plan(device, found, case.opened_ns)), now_ns)

    def _diagnosis(self, device: str, assessment: Assessment) -> Diagnosis:
        machine = self._machine(device)
        checks, seen = failed_checks(assessment), assessment.deviations
        ranked = self._learning.rank(machine, assessment)
        ranked = sensors.explained(machine, ranked, seen, checks)
        return playbook.diagnosis(machine, ranked, seen, checks, self._playbooks.policy)

    def _sharper(self, device: str, assessment: Assessment, now_ns: int) -> bool:
        """Tell whether it is time to look again: a picture that fades makes nothing clearer."""
        looked_ns, clearest = self._looked.get(device, (0, 0.0))
        score = assessment.score or 0.0
        if now_ns < looked_ns + LOOK_NS or score < FADED * clearest:
            return False
        self._looked[device] = now_ns, max(score, clearest)
        return True

    def evidence(self, device: str, assessment: Assessment) -> None:
        """Show the device's open case, if there is one, that it is well or not."""
        healthy = assessment.state is State.HEALTHY
        if healthy:
            self._resting.pop(device, None)
        case = self._open.get(device)
        if case is not None and case.fault != FIRMWARE_UNCLEAR:
            seen = Evidence(assessment.time_ns, healthy, assessment.score, assessment.deviations)
            self._apply(case, seen, self._parts.clock.now_ns())

    def answered(self, topic: Topic, answer: Answer) -> None:
        """Take a device's answer to a command."""
        metrics.command_answers.labels(answer.status.value).inc()
        case = self._open.get(topic.device)
        if case is not None:
            event = CommandFinished(answer.id, answer.status, answer.at_ns, answer.reason)
            self._apply(case, event, self._parts.clock.now_ns())

    def case_of(self, device: str) -> str:
        """Return the id of the device's open case; empty: it has none."""
        case = self._open.get(device)
        return case.case_id if case else ""

    def disagree(self, device: str, detail: str) -> None:
        """Open a case about an update that ended unclear; an open case of the device stays."""
        if device not in self._open and device in self._parts.assets:
            machine, policy = self._machine(device), self._playbooks.policy
            ranked = [Hypothesis(FIRMWARE_UNCLEAR, 1.0, [detail])]
            found = playbook.diagnosis(machine, ranked, [], [], policy)
            self._begin(device, found, self._parts.clock.now_ns())

    def tick(self, silent: list[str]) -> None:
        """Let time pass for every open case, and open one for each machine gone silent."""
        now_ns = self._parts.clock.now_ns()
        for device in silent:
            if device not in self._open and now_ns >= self._resting.get(device, 0):
                self._begin(device, self._silence(device), now_ns)
        for case in list(self._open.values()):
            self._apply(case, Tick(self._fleet(case, now_ns)), now_ns)
        metrics.boards.watch(self._windows.boards())
        for phase in Phase:
            count = sum(case.phase is phase for case in self._open.values())
            metrics.open_cases.labels(phase.value).set(count)
        for state, count in self._windows.states().items():
            metrics.machines.labels(state.value).set(count)

    def attended(self) -> list[str]:
        """Return the devices of which every verdict matters."""
        return [*self._open, *self._resting]

    def flush(self) -> None:
        """Save cases that have taken in evidence since they were saved."""
        for device in list(self._dirty):
            case = self._open.get(device)
            if case is not None:
                self._save((case, case), (), self._parts.clock.now_ns())
        self._dirty.clear()

    # What people say (`cloud.web.ports.Desk`).

    @property
    def store(self) -> Store:
        """Cases, tickets, releases and what was quarantined."""
        return self._parts.store

    @property
    def series(self) -> Readable:
        """Telemetry and scores."""
        return self._parts.series

    @property
    def machines(self) -> Mapping[str, MachineType]:
        """Machine types by name."""
        return self._parts.machines

    @property
    def playbooks(self) -> Playbooks:
        """What is tried for which fault, as it is in force."""
        return self._playbooks

    @property
    def timescale(self) -> Timescale:
        """How fast plant time runs."""
        return self._parts.timescale

    def now_ns(self) -> int:
        """Return the plant's time."""
        return self._parts.clock.now_ns()

    def live(self, device: str) -> Live | None:
        """Return the latest of a device."""
        return self._windows.live(device)

    def forecast(self, device: str) -> Forecast | None:
        """Return until when a visit should be booked."""
        return self._lives.forecast(device)

    def notices(self, device: str) -> list[Notice]:
        """Return how a device stands out among its peers."""
        return self._windows.notices(device)

    def unready(self) -> list[str]:
        """Say what keeps the gateway from its work."""
        unlinked = [] if self._parts.link.connected else ["the MQTT broker is not connected"]
        return [*unlinked, *self._windows.unready()]

    def troubles(self) -> list[str]:
        """Say what people should know of the gateway and its agents."""
        return self._windows.troubles()

    async def decide(self, case_id: str, action: Action, by: str, why: str) -> None:
        """Apply a person's decision.

        Raises:
            Refused: the case is not open, or its phase leaves nothing to decide.
        """
        self._person(case_id, DECISIONS[action](by, why))

    async def report(self, case_id: str, report: ClosingReport) -> None:
        """Close a case with the technician's report.

        Raises:
            Refused: the case is not open, or no ticket of it is.
        """
        self._person(case_id, ReportReceived(report))

    def _person(self, case_id: str, event: Event) -> None:
        case = next((c for c in self._open.values() if c.case_id == case_id), None)
        if case is None:
            raise Refused(f"case {case_id} is not open")
        now_ns = self._parts.clock.now_ns()
        if self._apply(case, event, now_ns) == case:
            raise Refused(f"case {case_id} is {case.phase.value}: this does not apply now")

    # How cases move.

    def _begin(self, device: str, found: Diagnosis, now_ns: int) -> None:
        asset = self._parts.assets[device]
        case, effects = rules.open_case(
            case_id=f"{device[:48]}-{now_ns // 10**6:x}",
            device=device,
            site=asset.site,
            machine_type=asset.machine_type,
            diagnosis=found,
            plan=self._plan(device, found, now_ns),
            now_ns=now_ns,
        )
        metrics.opened_cases.inc()
        self._save((None, case), effects, now_ns)

    def _apply(self, case: Case, event: Event, now_ns: int) -> Case:
        moved, effects = rules.step(case, event, now_ns)
        if effects or moved.phase is not case.phase:
            self._save((case, moved), effects, now_ns)
        elif moved != case:
            self._open[case.device] = moved
            self._dirty.add(case.device)
        return moved

    def _save(
        self, steps: tuple[Case | None, Case], effects: tuple[Effect, ...], now_ns: int
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
        self._parts.store.save(row, before, notes, box)
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
            self._resting[case.device] = now_ns + REST_NS

    def _plan(self, device: str, found: Diagnosis, opened_ns: int) -> Plan:
        return playbook.plan(
            self._machine(device),
            self._parts.assets[device].tier,
            found,
            self._playbooks,
            opened_ns,
            zone=self._parts.assets[device].time_zone,
            mode_override=self._parts.config.mode_override,
        )

    def _machine(self, device: str) -> MachineType:
        return self._parts.machines[self._parts.assets[device].machine_type]

    def _silence(self, device: str) -> Diagnosis:
        said = f"Nothing has come for {self._parts.config.silent_after_s:.0f} s."
        ranked = [Hypothesis(NO_DATA, 1.0, [said])]
        return playbook.diagnosis(self._machine(device), ranked, [], [], self._playbooks.policy)

    def _fleet(self, case: Case, now_ns: int) -> Fleet:
        if case.device not in self._today:
            rows = self._parts.store.cases(device=case.device, limit=20)
            self._today[case.device] = [rules.decode_case(r.data) for r in rows if not r.open]
        cases = [*self._open.values(), *self._today[case.device]]
        of_type = self._of_type[case.machine_type]
        return fleet.view(
            case, cases, of_type, self._playbooks.policy.limits, now_ns,
            updating=self._windows.updating(case.device),
        )  # fmt: skip
