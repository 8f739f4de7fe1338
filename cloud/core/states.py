"""The words of a case: its phases, and what it remembers.

All are frozen and can be stored as JSON. The rules that connect them are in `cloud.core.case`.
Times are plant time in ns since 1970 UTC; evidence and answers carry the time at the device.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from cloud.core.course import Course, Picture
from cloud.core.evidence import Streak
from cloud.core.limits import Seconds
from cloud.core.service_hours import Clock
from contract.faults import Deviation, Hypothesis, Severity
from contract.tickets import (
    ClosingReport,
    EscalationReason,
    FailedCheck,
    VisitState,
)

Small = Annotated[int, Meta(ge=1, le=1000)]


class Phase(StrEnum):
    """Where a case stands."""

    OBSERVING = "observing"
    """Watching whether the fault clears by itself."""
    AWAITING_APPROVAL = "awaiting_approval"
    """A person must agree to the next remedy."""
    HOLDING = "holding"
    """The next remedy waits for permission from the limits."""
    FIXING = "fixing"
    """A command is out."""
    VERIFYING = "verifying"
    """Watching whether the machine recovered after a command."""
    DISPATCHED = "dispatched"
    """A ticket is open; people are on their way."""
    RECOVERED = "recovered"
    SELF_CLEARED = "self_cleared"
    DISMISSED = "dismissed"
    """A person called it a wrong alarm."""
    CLOSED = "closed"
    """The technician's report came in."""
    WITHDRAWN = "withdrawn"
    """The machine recovered before anyone left: the visit was called off."""


REMOTE = (
    Phase.OBSERVING,
    Phase.AWAITING_APPROVAL,
    Phase.HOLDING,
    Phase.FIXING,
    Phase.VERIFYING,
)
"""Phases before dispatch: the remote way is still open."""
TERMINAL = (
    Phase.RECOVERED,
    Phase.SELF_CLEARED,
    Phase.DISMISSED,
    Phase.CLOSED,
    Phase.WITHDRAWN,
)
"""Phases in which nothing can happen any more."""


class Mode(StrEnum):
    """How much a playbook may do without a person, the strictest first."""

    SUGGEST = "suggest"
    """Every remedy needs a person's yes."""
    APPROVE = "approve"
    """One yes starts the plan; a further high-risk remedy needs its own."""
    AUTO = "auto"
    """Nobody is asked."""


class Timing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a case watches, waits and tries. The shipped defaults suit a poll of 5 s."""

    observe_s: Seconds = 180.0
    """A fault may clear by itself, and its picture become clear, before anything is tried."""
    visit_observe_s: Seconds = 900.0
    """The same where nothing can be tried and a visit is next: it takes hours anyway."""
    silent_observe_s: Seconds = 900.0
    """The same for a machine that has gone silent."""
    dwell_s: Seconds = 180.0
    """Healthy evidence must go on so long, unbroken, to prove recovery."""
    min_samples: Small = 6
    """And it must consist of so many measurements."""
    command_expiry_s: Seconds = 600.0
    answer_grace_s: Seconds = 60.0
    """An answer may arrive so long after the command's expiry."""
    retry_s: Seconds = 120.0
    """Pause before a device that could not be reached is asked again."""
    unreachable_max: Small = 3
    """So often a remedy may find the device unreachable."""
    silence_limit_s: Seconds = 1800.0
    """After a remedy, silence is waited out for so long beyond the time for verification."""
    attempts_max: Small = 3
    """Remedies in one plan."""
    withdraw_dwell_s: Seconds = 1800.0
    """A machine that is healthy for so long calls its visit off, as long as nobody has left."""


class Step(Struct, frozen=True, kw_only=True):
    """One planned remedy, with all that is needed to carry it out and judge it."""

    remedy: str
    title: str
    command: str
    argument: float | None
    settle_s: float
    verify_s: float
    fault: str
    """The fault that it is meant to cure."""
    high_risk: bool = False


class Terms(Struct, frozen=True, kw_only=True):
    """In what a promise is counted; `cloud.core.levels` makes and moves it."""

    tier: str = ""
    clock: Clock = Clock()
    """Counts the promise."""
    on_site: Clock = Clock()
    """Counts on-site work."""
    on_site_lead_h: float = 0.0
    pause_max_h: float = 0.0
    pause_reasons: list[str] = []
    stood: list[tuple[int, int]] = []
    """When its clock stood still, from and to."""


class Plan(Struct, frozen=True, kw_only=True):
    """What will be tried, frozen when it is made: later edits of a playbook do not reach it."""

    playbook: str
    mode: Mode
    steps: list[Step]
    timing: Timing
    observe_s: float
    respond_by_ns: int
    """Something must have been done by then: a remedy sent, a person's decision, or a visit."""
    due_ns: int
    """The machine must run again by then."""
    escalate_at_ns: int
    """The last moment at which a visit can still keep ``due_ns``."""
    no_remote: EscalationReason | None = None
    """Why there are no steps."""
    no_remote_detail: str = ""
    service_level: str = ""
    """What was promised to whom, in a sentence."""
    terms: Terms = Terms()


class Diagnosis(Struct, frozen=True, kw_only=True):
    """What is believed to be wrong, by the ranked hypotheses."""

    fault: str
    title: str
    severity: Severity
    safety: bool
    """A likely hypothesis is dangerous to people or plant."""
    hypotheses: list[Hypothesis]
    deviations: list[Deviation]
    checks: list[FailedCheck] = []


class Reply(StrEnum):
    """What the edge said about a command."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    EXPIRED = "expired"
    UNREACHABLE = "unreachable"
    NO_ANSWER = "no_answer"
    """It expired unanswered: it may have acted all the same."""


ACTED = (Reply.DONE, Reply.FAILED)
MAY_HAVE_ACTED = (Reply.WAITING, Reply.DONE, Reply.FAILED, Reply.NO_ANSWER)


class Proof(StrEnum):
    """What fresh evidence said about an attempt."""

    PENDING = "pending"
    RECOVERED = "recovered"
    NOT_RECOVERED = "not_recovered"
    UNHEARD = "unheard"
    """Too little was heard from the machine to say."""


class Attempt(Struct, frozen=True, kw_only=True):
    """One command that was sent, and what came of it."""

    command_id: str
    step: Step
    sent_ns: int
    expires_ns: int
    reply: Reply = Reply.WAITING
    detail: str = ""
    executed_ns: int | None = None
    """From when on its effect can show: when it ended, or expired unanswered."""
    proof: Proof = Proof.PENDING
    course: Course = Course()

    @property
    def result(self) -> str:
        """What came of it, in one word: the evidence if it was heard, else the answer."""
        return self.reply if self.proof is Proof.PENDING else self.proof


class Escalation(Struct, frozen=True, kw_only=True):
    """Why, when and with what words the case became a ticket."""

    reason: EscalationReason
    detail: str
    at_ns: int


class Visit(Struct, frozen=True, kw_only=True):
    """The visit of the case's latest ticket, as dispatch tells it."""

    key: str
    """The ticket's."""
    state: VisitState = VisitState.ORDERED
    at_ns: int = 0
    """When it became so; at the dispatch system, once that has said something."""
    expected_ns: int | None = None
    technician: str = ""
    left: bool = False
    """Somebody has set out, by whatever word and in whatever order it came."""
    seen: list[str] = []
    """Ids of the newest updates, so that none acts twice."""
    words: int = 0
    """Updates so far."""


class Case(Struct, frozen=True, kw_only=True):
    """One fault on one device, from the first verdict to the last word."""

    case_id: str
    device: str
    site: str
    machine_type: str
    phase: Phase
    opened_ns: int
    entered_ns: int
    """When the present phase began."""
    fault: str
    title: str
    severity: Severity
    safety: bool
    hypotheses: list[Hypothesis]
    deviations: list[Deviation]
    plan: Plan
    checks: list[FailedCheck] = []
    changes: int = 0
    """Changes of phase or fault so far."""
    sharpened: int = 0
    """How often the diagnosis was replaced."""
    next_step: int = 0
    plan_approved: bool = False
    step_approved: bool = False
    rejected: list[str] = []
    """Remedies that a person turned down; a sharper diagnosis does not bring them back."""
    spent: list[str] = []
    """Remedies whose cure did not last; they are not planned again."""
    asked: str = ""
    """The remedy that a person wants tried next; a sharper diagnosis does not replace it."""
    not_before_ns: int = 0
    """No command before this time: a device that could not be reached gets a pause."""
    held_by: str = ""
    """The limit that holds the next remedy, so that the timeline says it once."""
    attempts: list[Attempt] = []
    sent: int = 0
    """Commands so far, those from before it was reopened among them."""
    seen: Streak = Streak()
    """All evidence since opening."""
    picture: Picture = Picture()
    """What the newest evidence showed."""
    proof: Streak = Streak()
    """Evidence that counts for the present attempt."""
    escalation: Escalation | None = None
    recovered_since_ns: int | None = None
    """While dispatched: the machine has been healthy since."""
    ended_ns: int | None = None
    credited: bool = False
    """The last remedy acted and only then the machine recovered."""
    report: ClosingReport | None = None
    visit: Visit | None = None
    """Of the latest ticket; None while there was none."""
    tickets: int = 0
    """How many there were: a case that came back may need another."""
    reopened: int = 0
    """How often the same fault came back within `Limits.returns_days` of its end."""
    first_opened_ns: int = 0
    """When it was opened the first time, if it was reopened."""
    earlier: list[Attempt] = []
    """Attempts from before it was reopened, the newest."""
    alert: str = ""
    """Id of another system's alert that opened it."""
    alert_ns: int = 0
    """When that alert began."""
    alerts: list[str] = []
    """Other alerts about the machine that its timeline tells of."""
    paused_ns: int | None = None
    """The promise's clock stands still since, because the customer asked to wait."""
    paused_until_ns: int | None = None
    decided_ns: int | None = None
    """When a person first decided about it."""

    @property
    def open(self) -> bool:
        """Whether anything can still happen."""
        return self.phase not in TERMINAL

    @property
    def attempt(self) -> Attempt:
        """The latest attempt; only while fixing or verifying is there sure to be one."""
        return self.attempts[-1]

    @property
    def untold(self) -> bool:
        """Whether only an alert tells of the fault: telemetry has not shown it."""
        return bool(self.alert) and not self.seen.sick_ns

    @property
    def step(self) -> Step | None:
        """The remedy that is next, if any is left."""
        return self.plan.steps[self.next_step] if self.next_step < len(self.plan.steps) else None
