"""A rollout in the hands of a test: machines whose truth the test sets, and a clock it moves."""

from typing import Any

from msgspec import structs

from cloud.core import rollout as core
from cloud.core.rollout_states import (
    ENDED,
    Candidate,
    Effect,
    Event,
    Facts,
    Gate,
    Limits,
    Order,
    Phase,
    Policy,
    Ramp,
    Record,
    Report,
    Reported,
    Rollout,
    Stage,
    Ticked,
    Update,
    UpdatePhase,
)
from contract.firmware import Claims

S = 10**9
T0 = 1_790_000_000 * S
OLD, NEW = "1.0.0", "1.1.0"
LIMITS = Limits(offer_s=7200, install_s=1800, readback_s=600, retry_s=300, attempts_max=2)
POLICY = Policy(
    stages=[Stage(count=2, soak_s=1800), Stage(percent=100, soak_s=1800)],
    ramp=Ramp(base_per_minute=100),
    limits=LIMITS,
    gate=Gate(settle_s=120),
)


def candidates(count: int, **fields: Any) -> list[Candidate]:
    """Return machines of three hardware revisions at four sites."""
    return [
        structs.replace(
            Candidate(device=f"m{i}", site=f"s{i % 4}", labels=[], hardware=1 + i % 3, version=OLD),
            **fields,
        )
        for i in range(count)
    ]


def claims(**fields: Any) -> Claims:
    return Claims(machine_type="pump", version=NEW, **fields)


def order(policy: Policy = POLICY, **fields: Any) -> Order:
    return Order(machine_type="pump", version=NEW, policy=policy, **fields)


class Scene:
    """One rollout; everything that is stepped is kept."""

    def __init__(
        self,
        count: int = 6,
        policy: Policy = POLICY,
        *,
        high_risk: bool = False,
        number: int = 1,
        **fields: Any,
    ) -> None:
        self.now_ns = T0
        self.rollout: Rollout
        self.updates: dict[str, Update]
        self.rollout, self.updates, effects = core.create(
            number,
            order(policy),
            "Ada",
            claims(high_risk=high_risk),
            candidates(count),
            T0,
            **fields,
        )
        self.effects: list[Effect] = list(effects)
        self.runs = dict.fromkeys(self.updates, OLD)
        self.facts: dict[str, dict[str, Any]] = {}
        """What is not as usual about machines."""
        self.listening_ns = 0

    def feed(self, event: Event) -> tuple[Effect, ...]:
        moved, changed, effects = core.step(self.rollout, self.updates, event, self.now_ns)
        self.rollout, self.updates = moved, {**self.updates, **changed}
        self.effects += effects
        return effects

    def tick(self, seconds: float = 10) -> tuple[Effect, ...]:
        """Let time pass; telemetry is a second old."""
        self.now_ns += int(seconds * S)
        facts = {}
        for device, version in self.runs.items():
            usual = {"version": version, "version_ns": self.now_ns - S}
            facts[device] = Facts(**{**usual, **self.facts.get(device, {})})
        return self.feed(Ticked(facts, self.listening_ns))

    def say(self, device: str, report: Report, action: int | None = None) -> tuple[Effect, ...]:
        number = self.updates[device].action if action is None else action
        return self.feed(Reported(device, number, report, self.now_ns, "so it says"))

    def install(self, device: str) -> None:
        """Let a machine take the release as it should."""
        self.runs[device] = NEW
        self.say(device, Report.SUCCESS)

    def install_all(self) -> list[str]:
        taken = self.all(UpdatePhase.OFFERED)
        for device in taken:
            self.install(device)
        return taken

    def all(self, *phases: UpdatePhase) -> list[str]:
        return [d for d, u in self.updates.items() if u.phase in phases]

    def phase(self, device: str) -> UpdatePhase:
        return self.updates[device].phase

    def until(self, phase: Phase, hours: float = 24) -> None:
        """Let time pass, with machines that do what they should, until the rollout is there."""
        end_ns = self.now_ns + int(hours * 3600 * S)
        while self.rollout.phase is not phase and self.now_ns < end_ns:
            assert self.rollout.phase not in ENDED, self.rollout.phase
            self.tick(30)
            self.install_all()
            for device in self.all(UpdatePhase.REVERTING):
                self.runs[device] = OLD
                if self.updates[device].report is Report.NOTHING:
                    self.say(device, Report.SUCCESS)
            for device in self.all(UpdatePhase.CANCELLING):
                self.say(device, Report.CANCELED)
        assert self.rollout.phase is phase

    def until_stage(self, stage: int) -> None:
        """Let time pass until a stage begins."""
        for _ in range(1000):
            if self.rollout.stage == stage:
                return
            self.tick(30)
        raise AssertionError(f"stage {stage} never begins")

    def said(self, what: str) -> list[str]:
        """Return what the audit log says under a word."""
        return [e.text for e in self.effects if isinstance(e, Record) and e.what == what]
