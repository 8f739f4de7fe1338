"""The value ledger, as the web sees it."""

from typing import Protocol

from msgspec import Struct

from cloud.core.ledger import Entry, Prices


class Report(Struct, frozen=True, kw_only=True):
    """One month."""

    month: str
    """``2026-11``, in UTC."""
    entries: list[Entry]
    counts: dict[str, float]
    """By `cloud.core.ledger.EntryKind`, reversals taken off."""
    amounts: dict[str, float]
    """The same in ``prices.currency``; kinds without a price are missing."""
    cases: int
    """Cases that ended in the month."""
    prices: Prices


class Value(Protocol):
    """Entries and reports."""

    def months(self) -> list[str]:
        """Return the months that have entries, the latest first."""

    def report(self, month: str) -> Report:
        """Return one month.

        Raises:
            Malformed: not a month.
        """

    def case_entries(self, case_id: str) -> list[Entry]:
        """Return the entries of one case."""

    def csv(self, month: str) -> bytes:
        """Return the month's entries as CSV."""

    def pdf(self, month: str) -> bytes:
        """Return the month's report as PDF."""
