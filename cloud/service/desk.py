"""The desk: every open case, moved by what is seen, answered, decided, told and by the clock."""

from collections.abc import Callable, Mapping

from cloud.adapters.series import Readable
from cloud.adapters.store import Store
from cloud.core import alerts, levels, playbook, sensors, visits, wishes
from cloud.core import case as rules
from cloud.core.events import (
    Alerted,
    AlertEnded,
    Approved,
    CommandFinished,
    Diagnosed,
    Dismissed,
    EscalationAsked,
    Event,
    Evidence,
    PauseAsked,
    Rejected,
    ReportReceived,
    ResumeAsked,
    Tick,
    TryAsked,
    VisitUpdated,
)
from cloud.core.playbook import Playbooks
from cloud.core.states import Case, Diagnosis, Phase, Step
from cloud.service.cases import Cases, Origin
from cloud.service.hand import Hand
from cloud.service.learning import Learning, failed_checks
from cloud.service.lives import Lives
from cloud.service.parts import Parts
from cloud.service.windows import Windows
from cloud.web import metrics
from cloud.web.ports import Action, Alert, HandOrder, Live, Notice
from contract.commands import Answer
from contract.errors import Refused
from contract.faults import FIRMWARE_UNCLEAR, NO_DATA, Hypothesis
from contract.machines import MachineType
from contract.tickets import ClosingReport, Forecast, VisitUpdate
from contract.timescale import Timescale
from contract.topics import Topic
from models.monitor import Assessment, State

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
OVER_MAX = 1000
"""Ends of alerts that are remembered, so that a beginning that comes later opens nothing."""
TEXT_MAX = 500


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
        self._parts, self._windows = parts, windows
        self._playbooks = playbooks
        self._learning, self._lives = learning, lives
        self._cases = Cases(parts, playbooks, lives, windows)
        self._hand = Hand(parts, playbooks.policy.timing, windows.updating)
        self._looked: dict[str, tuple[int, float]] = {}
        self._over: dict[str, None] = {}

    # What the loops say.

    def alarm(self, device: str, assessment: Assessment) -> None:
        """Open a case for the device, or sharpen the open one."""
        case, now_ns = self._cases.open.get(device), self._parts.clock.now_ns()
        if case is None and not self._cases.rests(device, now_ns):
            self._looked[device] = now_ns, assessment.score or 0.0
            self._cases.begin(device, self._diagnosis(device, assessment), now_ns)
        elif (
            case is not None
            and case.fault != FIRMWARE_UNCLEAR
            and self._sharper(device, assessment, now_ns)
        ):
            found = self._diagnosis(device, assessment)
            plan = self._cases.plan(device, found, case.opened_ns)
            self._cases.apply(case, Diagnosed(found, plan), now_ns)

    def _diagnosis(self, device: str, assessment: Assessment) -> Diagnosis:
        machine = self._cases.machine(device)
        checks, seen = failed_checks(assessment), assessment.deviations
        ranked = self._learning.rank(machine, assessment)
        ranked = sensors.explained(machine, ranked, seen, checks)
        return playbook.diagnosis(machine, ranked, seen, checks, self.playbooks.policy)

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
            self._cases.resting.pop(device, None)
        case = self._cases.open.get(device)
        if case is not None:
            seen = Evidence(assessment.time_ns, healthy, assessment.score, assessment.deviations)
            self._cases.apply(case, seen, self._parts.clock.now_ns())

    def answered(self, topic: Topic, answer: Answer) -> None:
        """Take a device's answer to a command."""
        metrics.command_answers.labels(answer.status.value).inc()
        case = self._cases.open.get(topic.device)
        if not self._hand.answered(topic.device, answer) and case is not None:
            event = CommandFinished(answer.id, answer.status, answer.at_ns, answer.reason)
            self._cases.apply(case, event, self._parts.clock.now_ns())

    def case_of(self, device: str) -> str:
        """Return the id of the device's open case; empty: it has none."""
        case = self._cases.open.get(device)
        return case.case_id if case else ""

    def disagree(self, device: str, detail: str) -> None:
        """Open a case about an update that ended unclear; an open case of the device stays."""
        if device not in self._cases.open and device in self._parts.assets:
            machine, policy = self._cases.machine(device), self.playbooks.policy
            ranked = [Hypothesis(FIRMWARE_UNCLEAR, 1.0, [detail])]
            found = playbook.diagnosis(machine, ranked, [], [], policy)
            self._cases.begin(device, found, self._parts.clock.now_ns())

    def tick(self, silent: list[str]) -> None:
        """Let time pass for every open case, and open one for each machine gone silent."""
        now_ns, cases = self._parts.clock.now_ns(), self._cases
        for device in silent:
            if device not in cases.open and not cases.rests(device, now_ns):
                cases.begin(device, self._silence(device), now_ns)
        for case in list(cases.open.values()):
            cases.apply(case, Tick(cases.fleet(case, now_ns)), now_ns)
        metrics.boards.watch(self._windows.boards())
        for phase in Phase:
            count = sum(case.phase is phase for case in cases.open.values())
            metrics.open_cases.labels(phase.value).set(count)
        for state, count in self._windows.states().items():
            metrics.machines.labels(state.value).set(count)

    def _silence(self, device: str) -> Diagnosis:
        said = f"Nothing has come for {self._parts.config.silent_after_s:.0f} s."
        ranked = [Hypothesis(NO_DATA, 1.0, [said])]
        machine, policy = self._cases.machine(device), self.playbooks.policy
        return playbook.diagnosis(machine, ranked, [], [], policy)

    def attended(self) -> list[str]:
        """Return the devices of which every verdict matters."""
        return [*self._cases.open, *self._cases.resting]

    def flush(self) -> None:
        """Save cases that have taken in evidence since they were saved."""
        self._cases.flush()

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

    def remedies(self, case_id: str) -> list[Step]:
        """Return the remedies of the machine's type that a person may have tried next."""
        found = [c for c in self._cases.open.values() if c.case_id == case_id]
        return wishes.offered(found[0], self._cases.machine(found[0].device)) if found else []

    async def attempt(self, case_id: str, remedy: str, by: str) -> None:
        """Try a remedy next; whoever asks for it agrees to it.

        Raises:
            Refused: the case is gone, the remedy is unknown, or a command is out.
        """
        case = self._cases.find(case_id)
        offered = {step.remedy: step for step in self.remedies(case_id)}
        if remedy not in offered:
            names = ", ".join(offered) or f"none while it is {case.phase.value}"
            raise Refused(f"case {case_id} cannot have {remedy!r} tried; it may have: {names}")
        self._person(case_id, TryAsked(by=by, step=offered[remedy]))

    async def pause(self, case_id: str, by: str, why: str, until_ns: int) -> None:
        """Let the promise's clock stand still, because the customer asked to wait.

        Raises:
            Refused: the case is gone or paused, its level allows no such pause, or the time is
                not ahead.
        """
        case, now_ns = self._cases.find(case_id), self._parts.clock.now_ns()
        until_ns = levels.pause_until(case.plan, why, now_ns, until_ns)
        self._person(case_id, PauseAsked(by=by, why=why, until_ns=until_ns))

    async def resume(self, case_id: str, by: str) -> None:
        """Let the promise's clock run again.

        Raises:
            Refused: the case is gone, or not paused.
        """
        self._person(case_id, ResumeAsked(by=by))

    async def command(self, order: HandOrder, by: str) -> None:
        """Send a command to a machine by hand; it is audited. The same again sends nothing.

        Raises:
            Refused: the machine has an open case, or takes no such command or argument; or the
                id was another order's.
            Unreachable: the broker did not take it; it was not sent.
        """
        await self._hand.send(order, by, self.case_of(order.device))

    def answer(self, order_id: str) -> Answer | None:
        """Return what came back for a command that was sent by hand; None: nothing yet."""
        return self._hand.answer(order_id)

    async def alerted(self, alert: Alert) -> str:
        """Take another system's alert: open a case, or end the one it opened; return its id.

        An open case of the machine stays as it is and is told about it. Empty: nothing to do.

        Raises:
            Refused: no such machine.
        """
        device, cases, now_ns = alert.device, self._cases, self._parts.clock.now_ns()
        if device not in self._parts.assets:
            raise Refused(f"there is no machine {device!r}; alerts must name one of the gateway's")
        case = cases.open.get(device)
        if case is not None:
            cases.apply(case, _about(case, alert), now_ns)
            return case.case_id
        if alert.ended:
            self._over = dict(list({**self._over, alert.id: None}.items())[-OVER_MAX:])
            return ""
        dealt_with = alert.id in self._over or any(
            old.alert == alert.id for old in cases.lately(device)
        )
        if dealt_with:
            return ""
        said = (alert.title, alert.detail, alert.severity)
        machine, policy = cases.machine(device), self.playbooks.policy
        found = alerts.diagnosis(machine, policy, said, alert.fault)
        return cases.begin(device, found, now_ns, Origin(alert.id, alert.at_ns)).case_id

    async def visited(self, key: str, update: VisitUpdate) -> None:
        """Take what dispatch says about the visit of a ticket; the same again changes nothing.

        Raises:
            Refused: there is no such ticket, its case is over, or its visit is.
        """
        case_id = visits.case_of(key)
        row = self.store.case(case_id)
        case = next((c for c in self._cases.open.values() if c.case_id == case_id), None)
        if row is None or (case is None and row.open):
            raise Refused(f"there is no ticket {key!r}")
        known = case or rules.decode_case(row.data)
        if not 1 <= visits.number(key) <= known.tickets:
            raise Refused(f"there is no ticket {key!r}")
        why = visits.refusal(known, key, update)
        if why:
            raise Refused(why)
        if case is not None and case.visit is not None and case.visit.key == key:
            self._cases.apply(case, VisitUpdated(update), self._parts.clock.now_ns())

    def _person(self, case_id: str, event: Event) -> None:
        case, now_ns = self._cases.find(case_id), self._parts.clock.now_ns()
        if self._cases.apply(case, event, now_ns) == case:
            raise Refused(f"case {case_id} is {case.phase.value}: this does not apply now")


def _about(case: Case, alert: Alert) -> Event:
    """Return what an alert means for a machine's open case."""
    if alert.ended and alert.id == case.alert:
        return AlertEnded(alert.at_ns)
    text = f"{alert.title}. {alert.detail}".strip()[:TEXT_MAX]
    if alert.ended:
        return Alerted(f"{alert.id} is over", f"{alert.title}: it is over.", alert.at_ns)
    return Alerted(alert.id, text, alert.at_ns)
