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
    """One work order for on-site dispatch; its ``key`` is the case and never changes."""

    key: Annotated[str, Meta(max_length=80)]
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


class Finding(StrEnum):
    """What the technician found, beside a code of the fault table."""

    NO_FAULT_FOUND = "no_fault_found"
    OTHER = "other"


class ClosingReport(Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the technician found and did. Closes the case and becomes a label."""

    finding: Name
    """A fault code of the machine type, or a `Finding`."""
    notes: Annotated[str, Meta(max_length=4000)] = ""
    parts_used: list[Part] = []
    resolved: bool = True
    technician: Annotated[str, Meta(max_length=80)] = ""


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
