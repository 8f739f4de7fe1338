"""The value ledger's entries: what follows from a case's step, by the published rule."""

from enum import StrEnum

from msgspec import Struct

from cloud.core.states import Case


class EntryKind(StrEnum):
    """What is counted."""

    VISIT_AVOIDED = "visit_avoided"
    DOWNTIME_AVOIDED = "downtime_avoided"
    FIRST_TIME_FIX = "first_time_fix"
    SELF_CLEARED = "self_cleared"
    """No credit."""
    REVERSED = "reversed"
    """Takes an earlier entry back: the fault returned."""


class Prices(Struct, frozen=True, kw_only=True):
    """What the operator assumes; nothing has a price unless it is set."""

    currency: str = "EUR"
    visit: float | None = None
    downtime_per_hour: float | None = None
    downtime_h_per_visit: float | None = None
    """Hours that a machine stands until a visit has repaired it."""


class Entry(Struct, frozen=True, kw_only=True):
    """One line; lines are never changed, only reversed."""

    key: str
    case_id: str
    device: str
    site: str
    machine_type: str
    tier: str
    at_ns: int
    kind: EntryKind
    count: float
    """Visits or hours."""
    amount: float | None
    """In ``currency``; None where no price is set."""
    currency: str
    assumptions: dict[str, float]
    text: str
    """Why, in a sentence."""
    reverses: str = ""
    """Key of the entry that is taken back."""


def entries(before: Case | None, after: Case, tier: str, prices: Prices) -> list[Entry]:
    """Return what a step of a case is worth."""
    del before, after, tier, prices
    return []
