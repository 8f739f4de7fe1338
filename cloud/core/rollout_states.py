"""The words of a rollout: its policy, its phases, what can happen to it, what it can ask for.

A `Rollout` brings one release to a selection of machines, stage by stage; an `Update` is one
machine's part in it and the machine's one open action. All are frozen and can be stored as JSON.
The rules are in `cloud.core.rollout` (stages, people, stop) and `cloud.core.updating` (one
machine). Times are plant time in ns since 1970 UTC.
"""

from enum import StrEnum

from msgspec import Struct

from cloud.core.rollout_policy import (
    ACTIONS_PER_ROLLOUT,
    DEFAULT_POLICY,
    MACHINES_MAX,
    ROLLOUTS_MAX,
    Candidate,
    Count,
    Gate,
    Limits,
    Order,
    Percent,
    Person,
    Policy,
    Ramp,
    Seconds,
    Selection,
    Stage,
    Why,
    Window,
)

__all__ = [
    "ACTIONS_PER_ROLLOUT", "ACTIVE", "DEFAULT_POLICY", "ENDED", "ENDS", "MACHINES_MAX",
    "ROLLOUTS_MAX", "Approved", "Canceled", "Candidate", "Compared", "Count", "Disagreement",
    "Effect", "Event", "Facts", "Fetched", "Gate", "Install", "Limits", "Order", "Outcome",
    "Paused", "Percent", "Person", "Phase", "Policy", "Quarantine", "Ramp", "Record", "Report",
    "Reported", "Resumed", "Revert", "Rollout", "Seconds", "Selection", "Stage", "Stop",
    "StopAsked", "StopKind", "Ticked", "Update", "UpdatePhase", "Why", "Window",
]  # fmt: skip


class Phase(StrEnum):
    """Where a rollout stands."""

    PROPOSED = "proposed"
    """A case proposes it; a person takes it up or cancels it."""
    AWAITING_APPROVAL = "awaiting_approval"
    """High risk: a second person must agree."""
    RUNNING = "running"
    PAUSED = "paused"
    """No machine is begun; those under way go on."""
    STOPPING = "stopping"
    """What is under way is called back, updated machines go back to what they ran."""
    CANCELLING = "cancelling"
    """A person ended it: what is offered is called back, what runs the release is watched to the
    end of its soak."""
    STOPPED = "stopped"
    CANCELED = "canceled"
    """A person ended it; machines that were updated stay so."""
    FINISHED = "finished"


ENDED = (Phase.STOPPED, Phase.CANCELED, Phase.FINISHED)


class UpdatePhase(StrEnum):
    """Where one machine's update stands."""

    WAITING = "waiting"
    """Its turn has not come."""
    OFFERED = "offered"
    """It may take the release."""
    INSTALLING = "installing"
    """It said that it has begun."""
    CHECKING = "checking"
    """It said how it ended; the version is being read from it."""
    WATCHING = "watching"
    """It runs the release, and its health is compared."""
    CANCELLING = "cancelling"
    """The action is called back; the machine has not said yet whether in time."""
    REVERTING = "reverting"
    """It is to go back to the version before."""
    UPDATED = "updated"
    FAILED = "failed"
    """It runs the old version still."""
    REVERTED = "reverted"
    CANCELED = "canceled"
    SKIPPED = "skipped"
    """It does not fit any more, or the rollout ended before its turn."""
    UNCLEAR = "unclear"
    """What it said, the version read from it and its health do not agree: a case is open."""


ACTIVE = (
    UpdatePhase.OFFERED,
    UpdatePhase.INSTALLING,
    UpdatePhase.CHECKING,
    UpdatePhase.WATCHING,
    UpdatePhase.CANCELLING,
    UpdatePhase.REVERTING,
)
"""Phases with an open action; a machine has at most one in all rollouts."""
ENDS = (
    UpdatePhase.UPDATED,
    UpdatePhase.FAILED,
    UpdatePhase.REVERTED,
    UpdatePhase.CANCELED,
    UpdatePhase.SKIPPED,
    UpdatePhase.UNCLEAR,
)


class Report(StrEnum):
    """What the installer on the machine (edge agent or DDI client) says about an action."""

    NOTHING = "nothing"
    TAKEN = "taken"
    """It downloads, installs or waits for its restart."""
    SUCCESS = "success"
    FAILURE = "failure"
    REFUSED = "refused"
    """It did not begin, and never will: signature, hardware, version, precondition."""
    UNREACHED = "unreached"
    """It did not begin; another try may work."""
    CANCELED = "canceled"
    CANCEL_REFUSED = "cancel_refused"
    """Too late: it goes on with the action."""


class Update(Struct, frozen=True, kw_only=True):
    """One machine's part in a rollout."""

    number: int
    """The rollout's."""
    device: str
    site: str
    stage: int
    """Index into the policy's stages."""
    turn: int = 0
    """Its place in the order that was drawn."""
    phase: UpdatePhase = UpdatePhase.WAITING
    action: int = 0
    """The open or last action; 0: none yet. Going back has an action of its own."""
    entered_ns: int = 0
    """When the present phase began."""
    deadline_ns: int = 0
    """When patience with the present phase ends; 0: never."""
    since_ns: int = 0
    """Since when, without a break, it is plainly unhealthy (watched) or cannot be begun (waiting);
    0: it is not so."""
    from_version: str = ""
    """What it ran when it was begun: the way back."""
    hardware: int = 0
    attempts: int = 0
    not_before_ns: int = 0
    report: Report = Report.NOTHING
    reported_ns: int = 0
    detail: str = ""
    """The last word of the installer, or why the update ended so."""
    fetched: bool = False
    """The image was asked for within this action."""
    begun: bool = False
    """It asked for the image or said that it has begun, within this action."""
    version: str = ""
    """Read from the machine last."""
    version_ns: int = 0
    watched_ns: int = 0
    """Since when it is watched."""
    harm: str = ""
    """Why its health counts as a failure of the release, in words."""
    lost: bool = False
    """The harm is that it fell silent, which links do by themselves, too."""
    looks: list[list[float]] = []
    """p-values (one per measure, the score first) at each look taken so far."""
    timed_out: bool = False


class StopKind(StrEnum):
    """Why a rollout was stopped."""

    FAILURES = "failures"
    TIMEOUTS = "timeouts"
    HEALTH = "health"
    PERSON = "person"


class Stop(Struct, frozen=True, kw_only=True):
    """Why, when, and how many machines the release had reached."""

    kind: StopKind
    detail: str
    at_ns: int
    reached: int
    harmed: int
    """Failed, unclear or plainly unhealthy ones among them."""


class Rollout(Struct, frozen=True, kw_only=True):
    """One release on its way to a selection of machines."""

    number: int
    order: Order
    phase: Phase
    author: Person
    high_risk: bool
    created_ns: int
    entered_ns: int
    stage: int = 0
    stage_ns: int = 0
    """When the present stage began."""
    actions: int = 0
    """Given out so far."""
    approver: str = ""
    case_id: str = ""
    """The case that proposed it, or whose remedy it is."""
    command_id: str = ""
    """The remedy's command: a rollout to the one machine of a case, judged by the case."""
    proposal: str = ""
    """What speaks for it, in sentences, when a case proposed it."""
    offered_ns: list[int] = []
    """When machines were offered it within the last minute: the rate is kept by this."""
    log_evidence: list[list[float]] = []
    """(looks, measures) natural logarithms of what the comparison has gathered against it."""
    stop: Stop | None = None


# Events: what happened.


class Facts(Struct, frozen=True, kw_only=True):
    """What is known of one machine without asking its installer."""

    version: str = ""
    """Read from the machine; empty: not known."""
    version_ns: int = 0
    """Event time of that reading."""
    alarm: bool = False
    """Its detector finds it plainly unhealthy."""
    silent: bool = False
    """Nothing has come from it for too long."""
    busy: str = ""
    """Why it cannot be begun now, in words: an open case, another update, a ticket."""
    elsewhere: bool = False
    """Another rollout has an open action with it: not even going back may begin now."""
    quarantined: str = ""


class Ticked(Struct, frozen=True, tag=True):
    """Time passed; this is known of the rollout's machines. One that is missing is silent."""

    facts: dict[str, Facts]
    listening_ns: int = 0
    """Since when the gateway has heard machines without a break: what it missed while it was down
    is nobody's failure, so patience does not end before it has listened for a while."""


class Reported(Struct, frozen=True, tag=True):
    """The installer said something about an action.

    One that is not the update's open action is taken to the records and changes nothing.
    """

    device: str
    action: int
    report: Report
    at_ns: int
    detail: str = ""


class Fetched(Struct, frozen=True, tag=True):
    """The machine asked for the image."""

    device: str
    action: int


class Compared(Struct, frozen=True, tag=True):
    """A watched machine was compared with machines not updated, at one look."""

    device: str
    look: int
    p_values: list[float]
    """One per measure; the smaller, the more harm."""
    measures: list[str] = []
    """What they are called, for people."""


class Approved(Struct, frozen=True, tag=True):
    """A second person agreed, or a person took a proposal up."""

    by: str


class Paused(Struct, frozen=True, tag=True):
    """Begin no machine until it is resumed."""

    by: str
    why: str = ""


class Resumed(Struct, frozen=True, tag=True):
    """Go on."""

    by: str


class Canceled(Struct, frozen=True, tag=True):
    """End it; what was updated stays."""

    by: str
    why: str = ""


class StopAsked(Struct, frozen=True, tag=True):
    """Stop it as the gate would: call back, and go back."""

    by: str
    why: str = ""


Event = Ticked | Reported | Fetched | Compared | Approved | Paused | Resumed | Canceled | StopAsked


# Effects: what to do about it.


class Install(Struct, frozen=True, tag=True):
    """Let the machine have the release (edge agents get a command; DDI clients will ask)."""

    device: str
    action: int
    expires_ns: int


class Revert(Struct, frozen=True, tag=True):
    """Bring the machine back to the version it ran before."""

    device: str
    action: int
    version: str
    expires_ns: int


class Disagreement(Struct, frozen=True, tag=True):
    """Open a case: what the machine said, its version and its health do not agree."""

    device: str
    detail: str


class Quarantine(Struct, frozen=True, tag=True):
    """Keep the machine out of rollouts until a person lets it in again."""

    device: str
    why: str


class Record(Struct, frozen=True, tag=True):
    """Write a line into the audit log."""

    by: str
    """A person, or ``gateway``."""
    what: str
    """One word or two, for filters: ``offered``, ``stopped``, ``approved`` ..."""
    text: str
    device: str = ""


Effect = Install | Revert | Disagreement | Quarantine | Record
Outcome = tuple[Rollout, dict[str, Update], tuple[Effect, ...]]
"""The rollout, the updates that changed, and what to do."""
