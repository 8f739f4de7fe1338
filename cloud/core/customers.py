"""What a customer is told about a case, and when: it follows from the case before and after."""

from enum import StrEnum

from msgspec import Struct

from cloud.core.states import Case


class Moment(StrEnum):
    """What has happened, as far as a customer cares."""

    RECEIVED = "received"
    FIXING = "fixing"
    FIXED = "fixed"
    VISIT_ORDERED = "visit_ordered"
    VISIT_PLANNED = "visit_planned"
    """A technician comes, and when."""
    VISIT_WITHDRAWN = "visit_withdrawn"
    CLOSED = "closed"
    """Repaired on site; please rate."""


class Word(Struct, frozen=True, kw_only=True):
    """One message to one customer, before it is written in a language."""

    key: str
    case_id: str
    device: str
    moment: Moment
    at_ns: int
    title: str
    """The fault's."""
    expected_ns: int | None = None


def moments(before: Case | None, after: Case) -> list[Moment]:
    """Return what the customer should hear of this step."""
    del before, after
    return []
