"""A case under test: built with sane defaults, moved by events at seconds since its opening."""

from cloud.core import case as life
from cloud.core.events import Effect
from cloud.core.limits import Fleet
from cloud.core.states import Attempt, Mode, Phase, Plan, Step, Timing
from contract.commands import AnswerStatus
from contract.faults import Hypothesis, Severity
from contract.tickets import EscalationReason

NS = 10**9
OPENED_S = 1_000_000
HOUR_S = 3600


def ns(second: float) -> int:
    """Return the plant time that is so many seconds after the case was opened."""
    return int((OPENED_S + second) * NS)


def remedy(name: str, *, high_risk: bool = False, fault: str = "cavitation") -> Step:
    return Step(
        remedy=name,
        title=name.capitalize(),
        command=name,
        argument=None,
        settle_s=60.0,
        verify_s=300.0,
        fault=fault,
        high_risk=high_risk,
    )


def planned(
    *names: str,
    mode: Mode = Mode.AUTO,
    deadline_s: float = 8 * HOUR_S,
    observe_s: float = 120.0,
    reason: EscalationReason = EscalationReason.NOT_REMOTABLE,
) -> Plan:
    return Plan(
        playbook="pump/cavitation",
        mode=mode,
        steps=[remedy(name) for name in names],
        timing=Timing(),
        observe_s=observe_s,
        respond_by_ns=ns(HOUR_S),
        due_ns=ns(deadline_s + 2 * HOUR_S),
        escalate_at_ns=ns(deadline_s),
        no_remote=None if names else reason,
        no_remote_detail="" if names else "It needs hands on site.",
    )


def diagnosed(fault: str = "cavitation", *, safety: bool = False) -> life.Diagnosis:
    return life.Diagnosis(
        fault=fault,
        title=fault.capitalize(),
        severity=Severity.HIGH,
        safety=safety,
        hypotheses=[Hypothesis(fault, 1.0, [])],
        deviations=[],
    )


class Scene:
    """One case; every event returns the effects that it had."""

    def __init__(
        self,
        *remedies: str,
        mode: Mode = Mode.AUTO,
        plan: Plan | None = None,
        fault: str = "cavitation",
        safety: bool = False,
    ) -> None:
        self.case, self.opening = life.open_case(
            case_id="pump-1-a1",
            device="pump-1",
            site="north",
            machine_type="centrifugal_pump",
            diagnosis=diagnosed(fault, safety=safety),
            plan=plan or planned(*remedies, mode=mode),
            now_ns=ns(0),
        )
        self.effects: list[Effect] = list(self.opening)
        self.fleet = Fleet()

    def phase(self) -> Phase:
        return self.case.phase

    @property
    def attempt(self) -> Attempt:
        return self.case.attempt

    @property
    def reason(self) -> EscalationReason | None:
        return self.case.escalation.reason if self.case.escalation else None

    def feed(self, event: life.Event, at_s: float) -> list[Effect]:
        self.case, effects = life.step(self.case, event, ns(at_s))
        self.effects += effects
        return list(effects)

    def tick(self, at_s: float) -> list[Effect]:
        return self.feed(life.Tick(self.fleet), at_s)

    def sick(self, at_s: float) -> list[Effect]:
        return self.feed(life.Evidence(ns(at_s), healthy=False), at_s)

    def healthy(self, from_s: float, to_s: float, every_s: float = 20) -> None:
        at_s = from_s
        while at_s <= to_s:
            self.feed(life.Evidence(ns(at_s), healthy=True), at_s)
            at_s += every_s

    def answer(
        self, at_s: float, status: AnswerStatus = AnswerStatus.DONE, reason: str = ""
    ) -> list[Effect]:
        """Let the edge answer the present command."""
        event = life.CommandFinished(self.attempt.command_id, status, ns(at_s), reason)
        return self.feed(event, at_s)

    def notes(self) -> str:
        return "\n".join(e.text for e in self.effects if isinstance(e, life.Note))

    def sent(self) -> list[life.SendCommand]:
        return [e for e in self.effects if isinstance(e, life.SendCommand)]

    def tickets(self) -> list[life.OpenTicket]:
        return [e for e in self.effects if isinstance(e, life.OpenTicket)]

    def labels(self) -> list[life.SaveLabel]:
        return [e for e in self.effects if isinstance(e, life.SaveLabel)]


def fixing(*remedies: str, mode: Mode = Mode.AUTO) -> Scene:
    """A sick machine whose first command went out 120 s after opening."""
    scene = Scene(*remedies, mode=mode)
    scene.sick(100)
    scene.tick(120)
    if mode is not Mode.AUTO:
        scene.feed(life.Approved("Ada"), 120)
        scene.tick(120)
    assert scene.phase() is Phase.FIXING
    scene.sick(121)
    return scene


def verifying(*remedies: str) -> Scene:
    """The command was done 130 s after opening: evidence counts from 190 s, judged at 490 s."""
    scene = fixing(*remedies)
    scene.answer(130)
    assert scene.phase() is Phase.VERIFYING
    return scene


def dispatched(scene: Scene | None = None) -> Scene:
    """A sick machine that nothing can be tried on: a visit is ordered 130 s after opening."""
    scene = scene or Scene()
    scene.sick(125)
    scene.tick(130)
    assert scene.phase() is Phase.DISPATCHED
    return scene
