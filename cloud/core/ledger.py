"""The value ledger's entries: what follows from a case's step, by the published rule.

The rule in words is in ``docs/value.md``; every sentence of it has a test of the same words. One
life of a case goes from its opening, or its return, to its end. Keys of entries follow from the
case alone, so that the same step always makes the same entries, and a return finds what it takes
back.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol

from msgspec import Struct, structs

from cloud.core.service_hours import HOUR_NS
from cloud.core.states import Case, Phase, Proof
from contract.faults import Severity
from contract.tickets import Finding


class EntryKind(StrEnum):
    """What is counted."""

    VISIT_AVOIDED = "visit_avoided"
    DOWNTIME_AVOIDED = "downtime_avoided"
    FIRST_TIME_FIX = "first_time_fix"
    VISIT_WITHDRAWN = "visit_withdrawn"
    """The machine recovered before anyone left. No credit, unless a remedy is credited."""
    UNCREDITED = "uncredited"
    """It recovered after a remedy, but nothing proves that the remedy did it. No credit."""
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
    """Visits, cases or hours."""
    amount: float | None
    """In ``currency``; None where no price is set."""
    currency: str
    assumptions: dict[str, float]
    text: str
    """Why, in a sentence."""
    reverses: str = ""
    """Key of the entry that is taken back."""


STANDING = (Severity.HIGH, Severity.CRITICAL)
"""With a lesser fault a machine is taken to run on, so no downtime is avoided."""


def entries(before: Case | None, after: Case, tier: str, prices: Prices) -> list[Entry]:
    """Return what a step of a case is worth.

    A case that comes back takes back what its life before was credited with, at today's prices;
    whoever keeps the entries puts in what was written then (`taken_back`).
    """
    if before is None:
        return []
    if before.open and not after.open:
        return _ended(after, tier, prices)
    if not before.open and after.reopened > before.reopened:
        ended = _ended(before, tier, prices)
        return [_reversal(entry, after) for entry in ended if credit(entry)]
    return []


def credit(entry: Entry) -> bool:
    """Tell whether a line claims something good that a return of the fault makes untrue."""
    if entry.kind is EntryKind.VISIT_WITHDRAWN:
        return entry.count > 0
    return entry.kind in (
        EntryKind.VISIT_AVOIDED,
        EntryKind.DOWNTIME_AVOIDED,
        EntryKind.FIRST_TIME_FIX,
    )


def _ended(case: Case, tier: str, prices: Prices) -> list[Entry]:
    match case.phase:
        case Phase.RECOVERED if _proven(case) and case.escalation is None:
            found = [_avoided(case, tier, prices), _downtime(case, tier, prices)]
        case Phase.RECOVERED:
            found = [_uncredited(case, tier, prices)]
        case Phase.WITHDRAWN:
            found = [_withdrawn(case, tier, prices)]
        case Phase.SELF_CLEARED:
            said = f"It cleared by itself after {_hours(case):.1f} h."
            found = [_entry(case, tier, prices, EntryKind.SELF_CLEARED, said, amount=0.0)]
        case Phase.CLOSED:
            found = [_first_time_fix(case, tier, prices)]
        case _:
            found = []
    return [entry for entry in found if entry is not None]


def _proven(case: Case) -> bool:
    return case.credited and bool(case.attempts) and case.attempt.proof is Proof.RECOVERED


def _avoided(case: Case, tier: str, prices: Prices) -> Entry:
    said = (
        f"'{case.attempt.step.title}' worked, proven on fresh telemetry, "
        f"{_hours(case):.1f} h after the fault; no visit was ordered."
    )
    made = _entry(case, tier, prices, EntryKind.VISIT_AVOIDED, said, amount=prices.visit)
    return structs.replace(made, assumptions=_assumed(prices, "visit"))


def _downtime(case: Case, tier: str, prices: Prices) -> Entry | None:
    if prices.downtime_h_per_visit is None or case.severity not in STANDING:
        return None
    saved_h = prices.downtime_h_per_visit - _hours(case)
    if saved_h <= 0:
        return None
    said = (
        f"A visit is assumed to take {prices.downtime_h_per_visit:g} h until the machine runs; "
        f"this took {_hours(case):.1f} h."
    )
    price = prices.downtime_per_hour
    made = _entry(case, tier, prices, EntryKind.DOWNTIME_AVOIDED, said)
    return structs.replace(
        made,
        count=saved_h,
        amount=None if price is None else saved_h * price,
        assumptions=_assumed(prices, "downtime_h_per_visit", "downtime_per_hour"),
    )


def _uncredited(case: Case, tier: str, prices: Prices) -> Entry:
    said = "It recovered after a remedy, but nothing proves that the remedy did it."
    return _entry(case, tier, prices, EntryKind.UNCREDITED, said, amount=0.0)


def _withdrawn(case: Case, tier: str, prices: Prices) -> Entry:
    if _proven(case):
        said = f"'{case.attempt.step.title}' worked before anyone left; the visit was called off."
        made = _entry(case, tier, prices, EntryKind.VISIT_WITHDRAWN, said, amount=prices.visit)
        return structs.replace(made, assumptions=_assumed(prices, "visit"))
    said = "The machine recovered by itself before anyone left; the visit was called off."
    return _entry(case, tier, prices, EntryKind.VISIT_WITHDRAWN, said, count=0.0, amount=0.0)


def first_time_fix(case: Case) -> bool:
    """Tell whether the first visit of a case found a fault and repaired it."""
    report = case.report
    if report is None or case.tickets > 1:
        return False
    return report.resolved and report.finding != Finding.NO_FAULT_FOUND


def _first_time_fix(case: Case, tier: str, prices: Prices) -> Entry | None:
    report = case.report
    if report is None or not first_time_fix(case):
        return None
    said = f"The first visit repaired it: {report.finding.replace('_', ' ')}."
    return _entry(case, tier, prices, EntryKind.FIRST_TIME_FIX, said)


def _entry(
    case: Case,
    tier: str,
    prices: Prices,
    kind: EntryKind,
    text: str,
    *,
    count: float = 1.0,
    amount: float | None = None,
) -> Entry:
    return Entry(
        key=f"{case.case_id}/{case.reopened}/{kind.value}",
        case_id=case.case_id,
        device=case.device,
        site=case.site,
        machine_type=case.machine_type,
        tier=tier,
        at_ns=case.entered_ns if case.ended_ns is None else case.ended_ns,
        kind=kind,
        count=count,
        amount=amount,
        currency=prices.currency,
        assumptions={},
        text=text,
    )


def _hours(case: Case) -> float:
    ended_ns = case.entered_ns if case.ended_ns is None else case.ended_ns
    return (ended_ns - case.opened_ns) / HOUR_NS


def _assumed(prices: Prices, *names: str) -> dict[str, float]:
    found = {name: getattr(prices, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


# What is taken back.


def _reversal(entry: Entry, case: Case) -> Entry:
    made = structs.replace(
        entry,
        key=f"{entry.key}/{EntryKind.REVERSED.value}",
        at_ns=case.opened_ns,
        kind=EntryKind.REVERSED,
        text=f"The fault returned, so '{entry.kind.value.replace('_', ' ')}' is taken back.",
        reverses=entry.key,
    )
    return taken_back(made, entry)


def taken_back(reversal: Entry, original: Entry) -> Entry:
    """Return a reversal that takes back exactly what was written."""
    return structs.replace(
        reversal,
        count=-original.count,
        amount=None if original.amount is None else -original.amount,
        currency=original.currency,
        assumptions=original.assumptions,
    )


class Counted(Protocol):
    """What of a line is added up."""

    @property
    def kind(self) -> str:
        """One of `EntryKind`."""

    @property
    def reverses(self) -> str:
        """Key of the line that is taken back."""

    @property
    def count(self) -> float:
        """Visits, cases or hours."""

    @property
    def amount(self) -> float | None:
        """None where no price was set."""

    @property
    def currency(self) -> str:
        """Of the amount."""


def kind_of(line: Counted) -> EntryKind:
    """Return what a line counts towards: a reversal towards what it takes back."""
    return EntryKind(line.reverses.rsplit("/", 1)[1] if line.reverses else line.kind)


def totals(lines: Iterable[Counted], currency: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return counts and amounts by kind, reversals taken off.

    How many lines took something back stands under ``reversed``. Kinds without a price, and lines
    in another currency, have no amount.
    """
    counts: dict[str, float] = {}
    amounts: dict[str, float] = {}
    for line in lines:
        kind = kind_of(line).value
        counts[kind] = counts.get(kind, 0.0) + line.count
        if line.amount is not None and line.currency == currency:
            amounts[kind] = amounts.get(kind, 0.0) + line.amount
        if line.reverses:
            counts[EntryKind.REVERSED.value] = counts.get(EntryKind.REVERSED.value, 0.0) + 1
    return counts, amounts
