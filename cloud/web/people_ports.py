"""Who is signed in, as the web sees it. Times are wall time: sign-in is about people."""

from typing import Protocol

from msgspec import Struct

from cloud.adapters.rollout_store import Chain
from cloud.core.people import Person, Role

COOKIE = "farfix_session"
"""Holds a browser's session."""


class Account(Struct, frozen=True, kw_only=True):
    """A person who may sign in, as admins see it."""

    person: Person
    disabled: bool
    last_ns: int | None
    """When they were last seen."""
    local: bool = True
    """With a password here; else they come in by OpenID Connect."""


class Token(Struct, frozen=True, kw_only=True):
    """Another system's token, without its secret."""

    name: str
    role: Role
    made_ns: int
    last_ns: int | None


class OidcBegin(Struct, frozen=True, kw_only=True):
    """The first half of a sign-in at the OpenID provider."""

    url: str
    """Where the browser goes."""
    state: str
    nonce: str
    verifier: str
    """What the browser keeps until it comes back."""


class People(Protocol):
    """People, sessions, tokens and the audit log of all that is not about rollouts alone."""

    def by_session(self, session: str) -> Person | None:
        """Return who is signed in with a session cookie; None: nobody."""

    def by_token(self, token: str) -> Person | None:
        """Return which system a bearer token belongs to; None: none."""

    async def sign_in(self, name: str, password: str, address: str) -> str:
        """Return a new session.

        Raises:
            Refused: name or password is wrong, or there were too many attempts.
        """

    def oidc(self) -> str:
        """Return the name of the OpenID provider; empty: there is none."""

    async def begin_oidc(self, redirect: str) -> OidcBegin:
        """Begin a sign-in at the OpenID provider, which sends the browser back to an address.

        Raises:
            Unreachable: the provider does not answer.
        """

    async def finish_oidc(self, begun: OidcBegin, redirect: str, code: str, address: str) -> str:
        """Return a new session for whom the provider vouches for.

        Raises:
            Refused: what it says cannot be believed, or gives them no role here.
            Unreachable: the provider does not answer.
        """

    async def sign_out(self, session: str) -> None:
        """End a session."""

    def accounts(self) -> list[Account]:
        """Return all people."""

    async def put_account(self, name: str, role: Role, password: str | None, by: str) -> None:
        """Add somebody, or change role or password; what they could do before ends at once.

        Raises:
            Refused: the password is too weak, or nobody would be admin any more.
        """

    async def disable(self, name: str, by: str, *, disabled: bool) -> None:
        """Lock somebody out, or let them in again; their sessions end.

        Raises:
            Refused: no such person, or nobody would be admin any more.
        """

    async def set_language(self, name: str, language: str) -> None:
        """Remember the language that somebody reads."""

    def tokens(self) -> list[Token]:
        """Return the tokens of other systems."""

    async def issue_token(self, name: str, role: Role, by: str) -> str:
        """Make a token; it is shown once.

        Raises:
            Refused: there is one of that name.
        """

    async def revoke_token(self, name: str, by: str) -> None:
        """Withdraw a token.

        Raises:
            Refused: there is none of that name.
        """

    def record(self, by: str, what: str, text: str, device: str = "") -> None:
        """Write a line into the audit log; bounded, for whatever anybody sends."""

    def audit_chain(self) -> Chain:
        """Follow the audit log from its beginning; blocks."""

    def refused(self, by: str, text: str) -> None:
        """Note in the audit log who was turned away at a door; bounded more narrowly."""
