"""Faults: what may be wrong with a machine, and how sure we are."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from contract.codec import Message
from contract.telemetry import Name, TimeNs

UNKNOWN = "unknown"
"""Something is wrong and no entry of the fault table explains it well."""
NO_DATA = "no_data"
"""The machine has gone silent: the link, the agent, the power or the controller."""
FIRMWARE_UNCLEAR = "firmware_unclear"
"""What an update's installer said, the version read and the machine's health do not agree."""
REPORTED = "reported"
"""Another system's alert says so; telemetry alone neither confirms nor ends it."""


class Severity(StrEnum):
    """How bad it is, in the order of ISA-18.2 priorities."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Direction(StrEnum):
    """How a signal deviates from what its reference expects."""

    ABOVE = "above"
    BELOW = "below"


class Deviation(Struct, frozen=True):
    """One signal's share in an alarm."""

    signal: Name
    direction: Direction
    sigmas: float
    """Smoothed deviation in standard deviations of healthy running, never negative."""
    value: float | None = None
    expected: float | None = None


class Hypothesis(Struct, frozen=True):
    """One explanation of what is seen, with its probability and the evidence for it."""

    fault: Name
    probability: Annotated[float, Meta(ge=0, le=1)]
    evidence: list[str]
    """Sentences for people: which signal speaks for it, which against."""


class Fault(Message, frozen=True, kw_only=True):
    """The open fault of a device, as announced to anyone who listens."""

    case: Annotated[str, Meta(max_length=80)]
    fault: Name
    title: str
    severity: Severity
    phase: str
    since_ns: TimeNs
    hypotheses: list[Hypothesis] = []
