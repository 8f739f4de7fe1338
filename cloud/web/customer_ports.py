"""Customers, as the web sees them."""

from typing import Protocol

from msgspec import Struct

from cloud.core.customers import Rating


class CustomerView(Struct, frozen=True, kw_only=True):
    """One customer."""

    name: str
    title: str
    language: str
    contacts: int
    """How many places they are told at."""
    opted_out: bool
    machines: list[str]


class Told(Struct, frozen=True, kw_only=True):
    """One message to one customer."""

    key: str
    customer: str
    case_id: str
    moment: str
    text: str
    at_ns: int
    due_ns: int
    state: str
    """``waiting``, ``sent``, ``failed`` or ``opted_out``."""
    error: str


class Invitation(Struct, frozen=True, kw_only=True):
    """What a signed link leads to."""

    case_id: str
    customer: str
    title: str
    """Of machine and fault, for the page."""
    language: str
    rating: Rating | None


class Customers(Protocol):
    """Who is told, what they were told, and what they answered."""

    def customers(self) -> list[CustomerView]:
        """Return all customers."""

    def told(self, case_id: str = "", limit: int = 100) -> list[Told]:
        """Return messages, newest first."""

    def ratings(self, limit: int = 100) -> list[Rating]:
        """Return ratings, newest first."""

    def invitation(self, link: str) -> Invitation:
        """Return what a link is about.

        Raises:
            Refused: it is forged, or too old.
        """

    async def rate(self, link: str, stars: int, text: str) -> None:
        """Keep a rating; the first one of a case counts.

        Raises:
            Refused: the link is forged or too old, or the case is rated already.
        """

    async def opt_out(self, link: str) -> None:
        """Tell this customer nothing more.

        Raises:
            Refused: the link is forged.
        """

    async def test(self, customer: str, by: str) -> None:
        """Send a test message to every contact of a customer.

        Raises:
            Refused: there is no such customer, or a contact does not take it.
        """
