"""What can happen to a case, and what a case can ask for.

All are frozen and can be stored as JSON; the rules that connect them are in `cloud.core.case`.
"""

from enum import StrEnum

from msgspec import Struct

from cloud.core.course import Picture
from cloud.core.limits import Fleet
from cloud.core.states import Diagnosis, Plan, Step
from contract.commands import AnswerStatus
from contract.faults import Deviation
from contract.tickets import ClosingReport, EscalationReason, Label, VisitUpdate

# Events: what happened.


class Diagnosed(Struct, frozen=True, tag=True):
    """The models have looked again."""

    diagnosis: Diagnosis
    plan: Plan


class Evidence(Struct, frozen=True, tag=True):
    """A fresh measurement shows the fault, or shows the machine healthy.

    A reading that cannot be judged is no evidence and is not sent here.
    """

    measured_ns: int
    healthy: bool
    score: float | None = None
    deviations: list[Deviation] = []


class CommandFinished(Struct, frozen=True, tag=True):
    """The edge answered a command."""

    command_id: str
    status: AnswerStatus
    at_ns: int
    reason: str = ""


class Tick(Struct, frozen=True, tag=True):
    """Time passed; this is how the rest of the fleet stands."""

    fleet: Fleet = Fleet()


class Approved(Struct, frozen=True, tag=True):
    """A person agreed to the next remedy."""

    by: str


class Rejected(Struct, frozen=True, tag=True):
    """A person turned down the next remedy, or the remote way as a whole."""

    by: str
    why: str = ""
    whole: bool = False


class EscalationAsked(Struct, frozen=True, tag=True):
    """A person wants a visit."""

    by: str
    why: str = ""


class Dismissed(Struct, frozen=True, tag=True):
    """A person called it a wrong alarm."""

    by: str
    why: str = ""


class TryAsked(Struct, frozen=True, tag=True):
    """A person wants this remedy tried next, and thereby agrees to it."""

    by: str
    step: Step


class PauseAsked(Struct, frozen=True, tag=True):
    """The customer asked to wait: the promise's clock stands still, until then at the latest."""

    by: str
    why: str
    until_ns: int


class ResumeAsked(Struct, frozen=True, tag=True):
    """The wait is over."""

    by: str


class Alerted(Struct, frozen=True, tag=True):
    """Another system reports something about the machine while the case is open."""

    id: str
    text: str
    at_ns: int


class AlertEnded(Struct, frozen=True, tag=True):
    """The system that reported the fault says that it is over."""

    at_ns: int


class VisitUpdated(Struct, frozen=True, tag=True):
    """Dispatch said how the visit stands."""

    update: VisitUpdate


class ReportReceived(Struct, frozen=True, tag=True):
    """The technician wrote the closing report."""

    report: ClosingReport


Event = (
    Diagnosed
    | Evidence
    | CommandFinished
    | Tick
    | Approved
    | Rejected
    | EscalationAsked
    | Dismissed
    | TryAsked
    | PauseAsked
    | ResumeAsked
    | Alerted
    | AlertEnded
    | VisitUpdated
    | ReportReceived
)

# Effects: what to do about it. All but notes carry a key: with the same key once is enough.


class SendCommand(Struct, frozen=True, tag=True):
    """Publish the command."""

    key: str
    command_id: str
    remedy: str
    command: str
    argument: float | None
    issued_ns: int
    expires_ns: int


class OpenTicket(Struct, frozen=True, tag=True):
    """Write the ticket and hand it to dispatch."""

    key: str
    reason: EscalationReason
    detail: str


class SaveLabel(Struct, frozen=True, tag=True):
    """Keep the confirmed answer for learning."""

    key: str
    label: Label


class Announce(Struct, frozen=True, tag=True):
    """Publish how the case stands to anyone who listens; it ends with an empty message."""

    key: str


class Topic(StrEnum):
    """What a line of the timeline is about."""

    FAULT = "fault"
    PERSON = "person"
    HOLD = "hold"
    COMMAND = "command"
    ANSWER = "answer"
    EVIDENCE = "evidence"
    TICKET = "ticket"
    END = "end"


class Note(Struct, frozen=True, tag=True):
    """Write a line into the timeline."""

    kind: Topic
    text: str
    picture: Picture | None = None
    """What was seen then."""


Effect = SendCommand | OpenTicket | SaveLabel | Announce | Note
