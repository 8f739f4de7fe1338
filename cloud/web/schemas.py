"""What the API answers and the console shows. Times are ns since 1970 UTC, in plant time."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from contract.faults import Severity
from contract.tickets import VisitState


class Status(StrEnum):
    """What matters about a machine now, most urgent first."""

    APPROVAL = "approval"
    """A remedy waits for a person's yes."""
    TICKET = "ticket"
    """A visit on site is ordered."""
    SILENT = "silent"
    """The link is down or nothing comes in."""
    FIXING = "fixing"
    """A case is open and dealt with remotely."""
    ALARM = "alarm"
    """Deviates, but no case is open."""
    LEARNING = "learning"
    """Commissioning: healthy running is still being learned."""
    UNJUDGED = "unjudged"
    """Runs in a way that was never commissioned, so nothing can be said."""
    WAITING = "waiting"
    """Nothing has come in yet."""
    HEALTHY = "healthy"


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class CaseBrief(_View):
    """One line about a case."""

    case_id: str = Field(examples=["pump-1-1795330800"])
    device: str = Field(examples=["pump-1"])
    fault: str = Field(description="Code of the leading hypothesis.", examples=["clogged_filter"])
    title: str = Field(description="The fault in words.", examples=["Clogged suction filter"])
    probability: float = Field(ge=0, le=1, examples=[0.82])
    severity: Severity
    phase: str = Field(examples=["verifying"])
    phase_text: str = Field(examples=["Verifying the remedy"])
    open: bool
    opened_ns: int
    updated_ns: int
    remedies_ns: list[int] = Field(description="When remedies were carried out, or else sent.")


class FleetMachine(_View):
    """One machine of the fleet and how it is."""

    device: str = Field(examples=["pump-1"])
    title: str = Field(examples=["Circulation pump, hall 3"])
    site: str = Field(examples=["north"])
    machine_type: str = Field(examples=["centrifugal_pump"])
    machine_type_title: str = Field(examples=["Centrifugal pump set"])
    tier: str = Field(description="Service tier, A to C.", examples=["B"])
    serial: str = ""
    address: str = ""
    labels: list[str] = Field(default=[], description="Words of the operator's own.")
    status: Status
    status_text: str = Field(examples=["Healthy"])
    online: bool
    last_ns: int | None = Field(description="Event time of the latest reading.")
    score: float | None = Field(description="Deviation from healthy; 1.0 is the alarm level.")
    progress: float = Field(ge=0, le=1, description="Of commissioning.")
    scored: int = Field(description="Readings that its detector has seen, over all restarts.")
    mode: str = Field(examples=["running"])
    firmware: str = Field(examples=["1.4.0"])
    case: CaseBrief | None = Field(description="The open case, if there is one.")


class FleetSummary(_View):
    """The fleet in numbers."""

    machines: int
    healthy: int
    being_fixed: int = Field(description="Open cases that are dealt with remotely.")
    awaiting_approval: int
    tickets: int = Field(description="Open cases with a visit ordered.")
    silent: int
    learning: int
    fixed_remotely: int = Field(
        description="Cases that a remedy is credited with: recovered after it, verified."
    )
    self_cleared: int = Field(description="Cases that cleared by themselves.")


class Fleet(_View):
    """All machines, the most urgent first."""

    now_ns: int = Field(description="Plant time of this picture.")
    speed: float = Field(description="How fast plant time runs; 1 in service.")
    summary: FleetSummary
    machines: list[FleetMachine]


class SignalView(_View):
    """One signal of a machine with its latest value."""

    name: str = Field(examples=["discharge_pressure_bar"])
    title: str = Field(examples=["Discharge pressure"])
    unit: str = Field(examples=["bar"])
    role: str = Field(examples=["response"])
    minimum: float
    maximum: float
    value: float | None
    expected: float | None = Field(
        description="What healthy running would show, as of the open case's diagnosis."
    )
    register_text: str = Field(
        description="Where it stands in the device, in Telegraf's words; empty without Modbus.",
        examples=["input 12, FLOAT32, ABCD"],
    )
    modes: dict[str, str] = Field(description="Number to name, for the operating mode.")


class ForecastView(_View):
    """When the machine is expected to fail, and what to do about it."""

    text: str = Field(examples=["Book a visit before 2026-12-12: a failure is expected ..."])
    book_before_ns: int
    expected_ns: int
    earliest_ns: int | None = Field(description="At most one machine in ten fails earlier.")
    latest_ns: int | None = Field(description="At most one machine in ten lives longer.")
    told_ns: int = Field(description="What was measured until then is in it.")


class NoticeView(_View):
    """An early warning: how the machine stands out among its peers."""

    signal: str
    text: str
    since_ns: int


class Machine(FleetMachine):
    """One machine with its signals and cases."""

    forecast: ForecastView | None = Field(
        description="None while too few failures of its type were seen, or none is near."
    )
    notices: list[NoticeView] = Field(description="Early warnings from the nightly comparison.")
    signals: list[SignalView]
    cases: list[CaseBrief] = Field(description="The latest first, at most 50.")


class Telemetry(_View):
    """Signals and score over time; each list has one entry per bucket, the mean of what it holds.

    ``null``: there is no value; of the score, that the reading was not judged.
    """

    device: str
    from_ns: int
    to_ns: int
    times_ns: list[int]
    signals: dict[str, list[float | None]]
    score: list[float | None]


class HypothesisView(_View):
    """One explanation, with what speaks for and against it."""

    fault: str
    title: str
    probability: float
    evidence: list[str]


class DeviationView(_View):
    """One signal's share in the alarm."""

    signal: str
    title: str
    unit: str
    direction: str = Field(examples=["above"])
    sigmas: float
    value: float | None
    expected: float | None


class StepView(_View):
    """One planned remote attempt."""

    remedy: str
    title: str
    command: str
    argument: float | None


class AttemptView(_View):
    """One remote attempt that was made, and what came of it."""

    remedy: str
    title: str
    command_id: str
    sent_ns: int
    ended_ns: int | None
    result: str = Field(examples=["recovered"])
    result_text: str = Field(examples=["Worked: the machine recovered"])
    detail: str
    score_before: float | None = Field(description="The newest score when it was sent.")
    score_lowest: float | None = Field(description="The lowest score measured after it acted.")
    score_lowest_ns: int | None
    score_latest: float | None = Field(description="The last score while it was verified.")
    below_alarm_since_ns: int | None = Field(
        description="The score has been below the alarm level, 1, unbroken since this was measured."
    )
    settled_ns: int | None = Field(description="Only what is measured after this counts as proof.")
    judged_by_ns: int | None = Field(description="Without proof until then it did not help.")
    verified_ns: int | None = Field(description="When fresh telemetry had proven the recovery.")
    high_risk: bool


class TimelineEntry(_View):
    """One thing that happened, in a sentence."""

    at_ns: int
    kind: str
    text: str
    seen_ns: int | None = Field(description="When what is below was measured.")
    score: float | None = Field(description="Deviation from healthy; 1.0 is the alarm level.")
    deviations: list[DeviationView] = Field(description="What deviated then, the largest first.")


class EvidenceView(_View):
    """What fresh telemetry says about recovery so far."""

    healthy_samples: int
    needed_samples: int
    healthy_since_ns: int | None
    dwell_s: float
    counts_from_ns: int | None = Field(description="Only what is measured after this counts.")


class PromiseView(_View):
    """What was promised about a case, and whether it was kept."""

    service_level: str = Field(description="What was promised to whom, in a sentence.")
    respond_by_ns: int
    response_kept: bool | None = Field(description="None: not decided yet, or nothing promised.")
    restore_by_ns: int
    restore_kept: bool | None
    visit_by_ns: int = Field(description="A visit ordered later would break the promise.")
    paused_ns: int | None = Field(description="The clock stands still since.")
    paused_until_ns: int | None
    pause_reasons: list[str] = Field(description="For what its clock may stand still.")
    pause_left_h: float = Field(ge=0, description="For how long it still may.")


class VisitView(_View):
    """The visit of a ticket, as dispatch tells it."""

    key: str = Field(description="The ticket's.")
    state: VisitState
    at_ns: int = Field(description="When it became so.")
    expected_ns: int | None = Field(description="When the technician is expected.")
    technician: str


class ReportView(_View):
    """What the technician found and did."""

    finding: str
    finding_text: str
    notes: str
    parts: list[str]
    technician: str
    resolved: bool
    cause_code: str
    checklist: list[str] = Field(description="Question and answer, in one line each.")
    photos: list[str]


class CaseDetail(CaseBrief):
    """The whole story of a case."""

    machine_title: str
    machine_type: str
    site: str
    safety: bool
    playbook: str
    mode: str = Field(description="suggest, approve or auto.")
    due_ns: int
    next_text: str = Field(description="What happens next, in a sentence.")
    next_template: str = Field(description="The same with {names} for what is in `next_values`.")
    next_values: dict[str, str]
    actions: list[str] = Field(
        description="What a person may decide now; also try, pause and resume.",
        examples=[["approve", "reject"]],
    )
    promise: PromiseView
    visit: VisitView | None = Field(description="Of the latest ticket; null: there was none.")
    reopened: int = Field(description="How often the same fault came back.")
    first_opened_ns: int | None = Field(description="If it was reopened: when it began.")
    earlier: list[AttemptView] = Field(description="Remedies from before it was reopened.")
    report: ReportView | None
    reportable: bool = Field(description="Whether a closing report may be handed in now.")
    findings: dict[str, str] = Field(description="What a closing report may say, with titles.")
    hypotheses: list[HypothesisView]
    deviations: list[DeviationView]
    checks: list[str] = Field(
        description="Failing data-quality checks, in sentences: they blame a sensor or the link."
    )
    steps: list[StepView]
    attempts: list[AttemptView]
    evidence: EvidenceView | None
    timeline: list[TimelineEntry]
    ticket_key: str | None


class QuarantineEntry(_View):
    """One message that was refused, and why."""

    at_ns: int
    topic: str
    reason: str
    payload: str = Field(description="Its beginning, with odd bytes escaped.")


class ReleaseView(_View):
    """One firmware release that machines may be offered, as its signed metadata describes it."""

    machine_type: str = Field(examples=["centrifugal_pump"])
    version: str = Field(examples=["1.4.1"])
    format: str = Field(description="image or swu.", examples=["image"])
    hardware: list[int] = Field(description="Revisions that it runs on; empty: all.")
    min_version: str = Field(
        description="Something older must take a release in between first.", examples=["1.2.0"]
    )
    cures: list[str] = Field(description="Codes of faults that it is meant to cure.")
    high_risk: bool = Field(description="A rollout of it needs a second person's yes.")
    notes: str
    size_bytes: int
    sha256: str
    barred: str = Field(description="Why it is offered to nobody any more; empty: it may be.")


class RoleView(_View):
    """One role of the signed repository."""

    version: int
    expires_ns: int = Field(description="Wall clock; nothing is offered from then on.")


class RepositoryView(_View):
    """How the signed repository stands."""

    root: RoleView
    targets: RoleView
    snapshot: RoleView
    timestamp: RoleView
