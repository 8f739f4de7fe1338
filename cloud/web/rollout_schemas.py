"""What the API answers about rollouts and releases' machines. Times are ns since 1970 UTC."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class StopView(_View):
    """Why a rollout was stopped."""

    kind: str = Field(description="failures, timeouts, health or person.", examples=["health"])
    text: str = Field(examples=["Updated machines run worse than the others"])
    detail: str
    at_ns: int
    reached: int = Field(description="Machines that the release had reached.")
    harmed: int = Field(description="Failed, unclear or plainly unhealthy ones among them.")


class RolloutBrief(_View):
    """One line about a rollout."""

    number: int = Field(examples=[7])
    title: str
    machine_type: str = Field(examples=["centrifugal_pump"])
    version: str = Field(examples=["1.1.0"])
    phase: str = Field(examples=["running"])
    phase_text: str = Field(examples=["Running"])
    open: bool
    author: str
    approver: str
    high_risk: bool
    created_ns: int
    entered_ns: int = Field(description="When the present phase began.")
    stage: int = Field(description="The present stage, from 1.")
    stages: int
    machines: int
    running: int = Field(description="Machines that run the release: watched or updated.")
    ended: int = Field(description="Machines whose update has come to an end.")
    counts: dict[str, int] = Field(
        description="Machines by the phase of their update.", examples=[{"updated": 20}]
    )
    stop: StopView | None


class StageView(_View):
    """One stage, and how its machines stand."""

    stage: int = Field(description="From 1.")
    goal: str = Field(description="All stages so far together.", examples=["10 %"])
    soak_s: float
    machines: int
    counts: dict[str, int] = Field(description="Machines by the phase of their update.")
    began_ns: int | None = Field(description="When the first of its machines ran the release.")


class EvidenceCell(_View):
    """What one measure at one look has gathered against the release."""

    measure: str = Field(examples=["score"])
    look: float = Field(description="Share of the soak time.", examples=[0.2])
    log_evidence: float
    share: float = Field(description="Of what stops the rollout; 0 to 1.")


class HealthSummary(_View):
    """The comparison of updated machines with the others, in short."""

    share: float = Field(description="Of the evidence of harm that stops the rollout; 0 to 1.")
    text: str = Field(examples=["Evidence of harm: 3 % of what stops the rollout."])
    worst: str = Field(description="The measure with the most of it; empty: none has any.")
    controls: int = Field(description="Machines to compare with.")


class HealthPointView(_View):
    """Updated machines beside those not updated; ``null`` where nobody was heard."""

    at_ns: int
    updated: float | None = Field(description="Median score; 1.0 is the alarm level.")
    control: float | None
    updated_high: float | None = Field(description="The 90th percentile.")
    control_high: float | None


class HealthView(HealthSummary):
    """The comparison of updated machines with the others."""

    log_threshold: float
    points: list[HealthPointView]
    cells: list[EvidenceCell]


class RolloutView(RolloutBrief):
    """A rollout with its stages."""

    order: dict[str, Any] = Field(description="What was asked for, with the whole policy.")
    case_id: str = Field(description="The case that proposed it, or whose remedy it is.")
    proposal: str
    next_text: str = Field(description="What happens next, in a sentence.")
    actions: list[str] = Field(
        description="What a person may decide now.", examples=[["pause", "cancel", "stop"]]
    )
    funnel: list[StageView]
    health: HealthSummary | None = Field(description="None where there is nothing to compare.")


class UpdateView(_View):
    """One machine's part in a rollout."""

    rollout: int
    device: str
    site: str
    stage: int = Field(description="From 1.")
    phase: str = Field(examples=["watching"])
    phase_text: str = Field(examples=["watched"])
    action: int = Field(description="Number of the open or last action; 0: none yet.")
    entered_ns: int
    from_version: str
    hardware: int = Field(description="Revision; 0: not known.")
    attempts: int
    report: str = Field(description="What the installer on the machine said.")
    report_text: str
    reported_ns: int
    detail: str = Field(description="The last word of the installer, or why it ended so.")
    fetched: bool
    version: str = Field(description="Read from the machine last; empty: not known.")
    version_ns: int
    watched_ns: int
    looks: int = Field(description="Comparisons of its health made so far.")
    harm: str = Field(description="Why its health counts against the release; empty: it does not.")
    health_text: str = Field(examples=["1 of 3 comparisons made"])
    timed_out: bool


class UpdatePage(_View):
    """Some machines of a rollout, by name."""

    total: int = Field(description="Machines that fit, on all pages.")
    updates: list[UpdateView]
    after: str | None = Field(description="Ask for what comes after this; null: that was all.")


class StagePlanView(_View):
    """Which machines one stage would add."""

    stage: int
    goal: str
    soak_s: float
    machines: int
    devices: list[str] = Field(description="The first 200 of them.")


class PreviewView(_View):
    """What a rollout would do."""

    machines: int
    stages: list[StagePlanView]
    excluded_count: int
    excluded: dict[str, str] = Field(description="The first 200 machines left out, and why.")
    high_risk: bool
    controls: int = Field(description="Machines to compare with in the first stage.")


class AuditEntry(_View):
    """One line of the audit log."""

    id: int
    at_ns: int
    by: str
    what: str = Field(examples=["offered"])
    text: str
    device: str
    rollout: int = Field(description="0: about none.")


class DeviceView(_View):
    """What is kept about one machine's updates."""

    device: str
    has_token: bool
    attributes: dict[str, str] = Field(description="What the machine says of itself, over DDI.")
    hardware: int = Field(description="Revision; 0: not known.")
    quarantined: str = Field(description="Why it takes no updates; empty: it does.")
    failures: int = Field(description="Updates that failed one after the other.")
    last_poll_ns: int | None = Field(description="Since the gateway started.")
    updates: list[UpdateView] = Field(description="In its latest rollouts, newest first.")


class TokenView(_View):
    """A machine's DDI token. It is shown this once."""

    device: str
    token: str
