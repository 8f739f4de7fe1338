"""What goes to on-site dispatch, and what comes back."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from contract.codec import Message
from contract.faults import Deviation, Hypothesis, Severity
from contract.telemetry import Name, TimeNs


class EscalationReason(StrEnum):
    """Why the remote way ended. Every ticket has exactly one."""

    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    VERIFICATION_FAILED = "verification_failed"
    NOT_REMOTABLE = "not_remotable"
    UNSAFE = "unsafe"
    DEVICE_UNREACHABLE = "device_unreachable"
    SLA_DEADLINE = "sla_deadline"
    CUSTOMER_REQUEST = "customer_request"


class Part(Struct, frozen=True, forbid_unknown_fields=True):
    """A part that the visit may need."""

    number: Annotated[str, Meta(min_length=1, max_length=64)]
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    quantity: Annotated[int, Meta(ge=1)] = 1


class Asset(Struct, frozen=True, kw_only=True):
    """The machine, as the technician must find it."""

    device: str
    machine_type: str
    title: str
    site: str
    serial: str = ""
    address: str = ""
    firmware: str = ""


class FailedCheck(Struct, frozen=True):
    """A data-quality check that failed: it blames a sensor, or the whole device."""

    kind: Name
    """`contract.machines.CheckKind`."""
    signal: str
    """Empty where the whole device is meant."""
    detail: str
    """Why, for people."""


class VisitState(StrEnum):
    """Where the visit of a ticket stands, in the order of a good day."""

    ORDERED = "ordered"
    ACCEPTED = "accepted"
    SCHEDULED = "scheduled"
    ON_THE_WAY = "on_the_way"
    ON_SITE = "on_site"
    DONE = "done"
    CANCELLED = "cancelled"
    """By dispatch."""
    WITHDRAWN = "withdrawn"
    """By the gateway: the machine recovered before anyone left."""


class VisitUpdate(Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the dispatch system says about a visit. The same ``id`` again changes nothing."""

    id: Annotated[str, Meta(min_length=1, max_length=80)]
    state: VisitState
    at_ns: TimeNs
    """When it became so, at the dispatch system; an older word never undoes a newer one."""
    expected_ns: TimeNs | None = None
    """When the technician is expected at the machine."""
    technician: Annotated[str, Meta(max_length=80)] = ""
    note: Annotated[str, Meta(max_length=1000)] = ""


class Attempt(Struct, frozen=True, kw_only=True):
    """One remote remedy that was tried, and what came of it."""

    remedy: str
    title: str
    at_ns: TimeNs
    result: str
    detail: str = ""


class Forecast(Struct, frozen=True, kw_only=True):
    """When the machine is expected to fail, learnt from the lives of others of its type."""

    told_ns: TimeNs
    """What was measured until then is in it."""
    expected_ns: TimeNs
    earliest_ns: TimeNs | None
    """At most one machine in ten fails earlier; None until enough lives were seen."""
    latest_ns: TimeNs | None
    """At most one machine in ten lives longer; None where that is not known."""
    book_before_ns: TimeNs
    """A visit that is booked by then comes in time."""


class Ticket(Message, frozen=True, kw_only=True):
    """One work order for on-site dispatch."""

    key: Annotated[str, Meta(max_length=80)]
    """Never changes: the case, with ``~2`` and so on behind it for its further visits."""
    title: str
    description: str
    severity: Severity
    reason: EscalationReason
    reason_detail: str
    asset: Asset
    fault: Name
    hypotheses: list[Hypothesis]
    first_seen_ns: TimeNs
    seen: list[Deviation]
    tried: list[Attempt]
    parts: list[Part]
    skills: list[str]
    safety_notes: list[str]
    opened_ns: TimeNs
    due_ns: TimeNs
    forecast: Forecast | None = None
    service_level: str = ""
    """What was promised to whom, in a sentence."""


class TicketState(StrEnum):
    """What has become of a ticket."""

    OPEN = "open"
    WITHDRAWN = "withdrawn"
    CLOSED = "closed"


class Finding(StrEnum):
    """What the technician found, beside a code of the fault table."""

    NO_FAULT_FOUND = "no_fault_found"
    OTHER = "other"


class Answered(Struct, frozen=True, forbid_unknown_fields=True):
    """One answer to a checklist."""

    question: Annotated[str, Meta(max_length=200)]
    answer: Annotated[str, Meta(max_length=500)]


class ClosingReport(Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the technician found and did. Closes the case and becomes a label."""

    finding: Name
    """A fault code of the machine type, or a `Finding`."""
    notes: Annotated[str, Meta(max_length=4000)] = ""
    parts_used: list[Part] = []
    resolved: bool = True
    technician: Annotated[str, Meta(max_length=80)] = ""
    cause_code: Annotated[str, Meta(max_length=40)] = ""
    """Of the dispatch system's own list."""
    checklist: Annotated[list[Answered], Meta(max_length=50)] = []
    photos: Annotated[list[Annotated[str, Meta(max_length=80)]], Meta(max_length=10)] = []
    """Names under which they were uploaded."""


class TicketNews(Struct, frozen=True, kw_only=True):
    """A ticket as every webhook event about it carries it: whole, with what became of it."""

    ticket: Ticket
    state: TicketState
    visit: VisitState
    detail: str
    """What has just happened, in a sentence."""
    url: str
    """The case in the console: evidence, attempts and history in one click."""
    report: ClosingReport | None = None


class Label(Struct, frozen=True, kw_only=True):
    """A confirmed answer to "what was it": telemetry window and finding, for learning."""

    case: str
    device: str
    machine_type: str
    fault: Name
    diagnosed: Name
    """What the first-ranked hypothesis was."""
    from_ns: TimeNs
    to_ns: TimeNs
    source: str
    """``closing_report``, ``verified_remedy`` or ``dismissed``."""
    deviations: list[Deviation] = []
    """The picture that was diagnosed: what it turned out to be is learnt together with it."""
    checks: list[FailedCheck] = []
    parts_used: list[Part] = []
    resolved: bool = True
