"""The value ledger, as the web sees it."""

from typing import Protocol

from msgspec import Struct

from cloud.core.ledger import Entry, Prices


class Sums(Struct, frozen=True):
    """What the lines of one month add up to."""

    month: str
    """``2026-11``, in UTC."""
    counts: dict[str, float]
    """By `cloud.core.ledger.EntryKind`, reversals taken off."""
    amounts: dict[str, float]
    """The same in the currency that is set now; kinds without a price are missing."""


class Report(Struct, frozen=True, kw_only=True):
    """One month."""

    month: str
    """``2026-11``, in UTC."""
    entries: list[Entry]
    """Oldest first."""
    counts: dict[str, float]
    """By `cloud.core.ledger.EntryKind`, reversals taken off."""
    amounts: dict[str, float]
    """The same in ``prices.currency``; kinds without a price are missing."""
    cases: int
    """Cases that ended in the month."""
    prices: Prices
    """What is assumed now; what a line was counted with stands in the line."""


class Value(Protocol):
    """Entries and reports."""

    def months(self) -> list[Sums]:
        """Return the months that have entries, the latest first; three years at most."""

    def report(self, month: str) -> Report:
        """Return one month.

        Raises:
            Malformed: not a month.
        """

    def case_entries(self, case_id: str) -> list[Entry]:
        """Return the entries of one case, oldest first."""

    def csv(self, month: str) -> bytes:
        """Return the month's entries as CSV.

        Raises:
            Malformed: not a month.
        """

    def pdf(self, month: str) -> bytes:
        """Return the month's report as PDF.

        Raises:
            Malformed: not a month.
        """
