"""People, sessions and tokens, over the store.

All of it is held in memory, for every request asks; the store keeps it over a restart. When
sessions, people and tokens were last seen is saved once a minute: a crash forgets a minute of it.
"""

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from msgspec.structs import asdict, replace

from cloud.adapters.oidc import Begin, Provider, Vouched
from cloud.adapters.people_store import PersonRow, SessionRow, TokenRow
from cloud.adapters.store import Store
from cloud.config import Config
from cloud.core import people as rules
from cloud.core.people import Person, Role
from cloud.service.audit import Audit
from cloud.service.passwords import Passwords, first_password
from cloud.service.throttle import Throttle
from cloud.web.people_ports import Account, OidcBegin, Token
from contract.errors import Refused, Unreachable

log = logging.getLogger(__name__)

S = 10**9
IDLE_NS, LONGEST_NS = 12 * 3600 * S, 7 * 86_400 * S
"""A session ends when nobody used it for so long, and after so long in any case."""
SESSIONS_PER_PERSON, PEOPLE_MAX, TOKENS_MAX = 20, 10_000, 1000
TOKEN_PREFIX = "ffx_"  # noqa: S105 (begins every token, so that a leaked one is found)
SAVE_EVERY_S = 60.0
PER_PAIR, PER_ADDRESS, PER_NAME = 5, 30, 100
"""Failed sign-ins in a quarter of an hour: of one name from one address, of an address, of a
name. The last is high: else anybody could keep somebody out."""
WRONG = "The name or the password is wrong."


class People:
    """Serves `cloud.web.people_ports.People`."""

    def __init__(
        self,
        store: Store,
        config: Config,
        now_ns: Callable[[], int] = time.time_ns,  # noqa: TID251 (sign-in is about people)
    ) -> None:
        self._store, self._config, self._now_ns = store, config, now_ns
        audit = Audit(store, config)
        self.record, self.refused = audit.record, audit.refused
        self.audit_chain = store.updates.audit_chain
        self._passwords = Passwords()
        self._people = {row.name: row for row in store.people.people()}
        self._sessions = {row.hash: row for row in store.people.sessions()}
        self._tokens = {row.hash: row for row in store.people.tokens()}
        self._seen_sessions: dict[str, int] = {}
        self._seen_people: dict[str, int] = {}
        self._seen_tokens: dict[str, int] = {}
        self._throttle = Throttle()
        self._changing = asyncio.Lock()

    async def begin(self) -> None:
        """Make the first admin where there is nobody yet.

        Raises:
            Refused: the password in the file of the settings cannot be one.
        """
        if self._people:
            return
        path = self._config.admin_password_file or self._config.data_dir / "admin-password"
        password = await asyncio.to_thread(first_password, path)
        try:
            await self.put_account("admin", Role.ADMIN, password, "gateway")
        except Refused as error:
            raise Refused(f"{path}: {error}") from error
        log.info("the console's first account is 'admin'; its password is in %s", path)

    async def run(self) -> None:
        """Save when people were last seen, and forget sessions that have ended."""
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            try:
                await self.save()
            except Unreachable as error:
                log.warning("%s; when people were last seen is saved later", error)

    async def save(self) -> None:
        """Save when people were last seen, and forget sessions that have ended."""
        seen = (self._seen_sessions, self._seen_people, self._seen_tokens)
        self._seen_sessions, self._seen_people, self._seen_tokens = {}, {}, {}
        if any(seen):
            await asyncio.to_thread(self._store.people.seen, *seen)
        now_ns = self._now_ns()
        await self._end([row.hash for row in self._sessions.values() if _over(row, now_ns)])

    # Who it is.

    def by_session(self, session: str) -> Person | None:
        """Return who is signed in with a session cookie."""
        row = self._sessions.get(_hash(session)) if session else None
        now_ns = self._now_ns()
        if row is None or _over(row, now_ns):
            return None
        person = self._people.get(row.name)
        if person is None or person.disabled:
            return None
        if now_ns - row.seen_ns > S:
            self._sessions[row.hash] = replace(row, seen_ns=now_ns)
            self._seen_sessions[row.hash] = self._seen_people[row.name] = now_ns
        return _person(person)

    def by_token(self, token: str) -> Person | None:
        """Return which system a bearer token belongs to."""
        row = self._tokens.get(_hash(token)) if token.startswith(TOKEN_PREFIX) else None
        if row is None:
            return None
        self._seen_tokens[row.name] = self._now_ns()
        return Person(row.name, row.role)

    async def sign_in(self, name: str, password: str, address: str) -> str:
        """Return a new session.

        Raises:
            Refused: name or password is wrong, or there were too many attempts.
            Unreachable: too many sign in at this moment.
        """
        name = name.strip().casefold()[:64]
        pair = f"pair {name} {address}"
        limits = {pair: PER_PAIR, f"from {address}": PER_ADDRESS, f"name {name}": PER_NAME}
        wait_s = self._throttle.wait_s(limits)
        if wait_s:
            self.refused(name, f"Too many failed sign-ins, from {address}.")
            raise Refused(f"Too many attempts: try again in {wait_s / 60:.0f} min.")
        self._throttle.count(list(limits))
        row = self._people.get(name)
        known = row.password_hash if row else ""
        fits = await self._passwords.fits(known, password[: rules.PASSWORD_MAX + 1])
        if row is None or not fits or row.disabled:
            self.refused(name, f"Failed sign-in, from {address}.")
            raise Refused(WRONG)
        self._throttle.forget(list(limits))
        return await self.open(name, f"from {address}")

    async def open(self, name: str, how: str) -> str:
        """Return a new session of somebody who has proven who they are.

        Raises:
            Refused: they were locked out meanwhile.
        """
        async with self._changing:
            row = self._people.get(name)
            if row is None or row.disabled:
                raise Refused(WRONG)
            session, now_ns = secrets.token_urlsafe(32), self._now_ns()
            made = SessionRow(hash=_hash(session), name=name, made_ns=now_ns, seen_ns=now_ns)
            await asyncio.to_thread(self._store.people.put_session, made)
            self._sessions[made.hash] = made
            self._seen_people[name] = now_ns
            theirs = sorted(
                (row for row in self._sessions.values() if row.name == name),
                key=lambda row: row.seen_ns,
            )
            await self._end([row.hash for row in theirs[:-SESSIONS_PER_PERSON]])
        self.record(name, "signed in", f"{name} signs in, {how}.")
        return session

    def oidc(self) -> str:
        """Return the name of the OpenID provider; empty: there is none."""
        return urlsplit(self._config.oidc.issuer).hostname or ""

    async def begin_oidc(self, redirect: str) -> OidcBegin:
        """Begin a sign-in at the OpenID provider.

        Raises:
            Refused: there is none, or it is another than the settings say.
            Unreachable: it does not answer.
        """
        return OidcBegin(**asdict(await self._provider().begin(redirect)))

    async def finish_oidc(self, begun: OidcBegin, redirect: str, code: str, address: str) -> str:
        """Return a new session for whom the provider vouches for.

        Raises:
            Refused: what it says cannot be believed, or gives them no role here.
            Unreachable: the provider does not answer.
        """
        try:
            kept = Begin(**asdict(begun))
            found = await self._provider().finish(kept, redirect, code)
            await self.vouched(found)
        except Refused as error:
            self.refused("", f"Failed sign-in at {self.oidc()}, from {address}: {error}")
            raise
        return await self.open(found.name, f"from {address}, by {self.oidc()}")

    def _provider(self) -> Provider:
        if not self.oidc():
            raise Refused("no OpenID provider is set here")
        return Provider(self._config.oidc)

    async def sign_out(self, session: str) -> None:
        """End a session."""
        row = self._sessions.get(_hash(session))
        if row is not None:
            await self._end([row.hash])
            self.record(row.name, "signed out", f"{row.name} signs out.")

    async def _end(self, hashes: list[str]) -> None:
        for one in hashes:
            self._sessions.pop(one, None)
        if hashes:
            await asyncio.to_thread(self._store.people.end_sessions, hashes)

    # People.

    def accounts(self) -> list[Account]:
        """Return all people, by name."""
        return [
            Account(
                person=_person(row),
                disabled=row.disabled,
                last_ns=self._seen_people.get(row.name, row.last_ns),
                local=not row.subject,
            )
            for row in sorted(self._people.values(), key=lambda row: row.name)
        ]

    async def put_account(self, name: str, role: Role, password: str | None, by: str) -> None:
        """Add somebody, or change role or password; their sessions end where either changes.

        Raises:
            Refused: name or password cannot be, or nobody would be admin any more.
        """
        rules.check_name(name)
        if role not in rules.LADDER:
            raise Refused(f"the role {role.value} is for other systems: issue a token")
        if password is not None:
            rules.check_password(password, name)
        async with self._changing:
            row = self._people.get(name)
            if row is None:
                self._check_new(name, password)
            elif row.subject and password is not None:
                raise Refused(f"{name} signs in by OpenID Connect and has no password here")
            kept = row or PersonRow(name=name, role=role)
            made = replace(kept, role=role)
            if password is not None:
                made = replace(made, password_hash=await self._passwords.hash(password))
            if made == row:
                return
            await self._put(made)
        did = "adds" if row is None else "gives a new password to" if password else "changes"
        self.record(by, "account", f"{by} {did} {name}, {role.value}.")

    def _check_new(self, name: str, password: str | None) -> None:
        if password is None:
            raise Refused(f"there is nobody named {name!r}: somebody new needs a password")
        if any(row.name == name for row in self._tokens.values()):
            raise Refused(f"there is a token named {name!r}, and a name says who it was")
        if len(self._people) >= PEOPLE_MAX:
            raise Refused(f"there are {PEOPLE_MAX} people here, and not one more")

    async def vouched(self, found: Vouched) -> None:
        """Take in somebody whom the OpenID provider vouches for, with the role that it gives.

        Raises:
            Refused: no role, the name belongs to somebody else here, or they are locked out.
        """
        rules.check_name(found.name)
        roles = [role for role in rules.LADDER if role.value in found.roles]
        if not roles:
            claim = self._config.oidc.role_claim
            raise Refused(
                f"{self.oidc()} gives {found.name} no role here: its claim {claim!r} must hold "
                f"one of {', '.join(role.value for role in rules.LADDER)}. Ask an admin."
            )
        async with self._changing:
            row = self._people.get(found.name)
            if row is not None and row.subject != found.subject:
                raise Refused(f"there is another person named {found.name} here: ask an admin")
            if row is not None and row.disabled:
                raise Refused(f"{found.name} is locked out here: ask an admin")
            if row is None:
                self._check_new(found.name, "")
                row = PersonRow(name=found.name, role=Role.VIEWER, subject=found.subject)
            if row.role is not roles[-1] or found.name not in self._people:
                await self._put(replace(row, role=roles[-1]))

    async def disable(self, name: str, by: str, *, disabled: bool) -> None:
        """Lock somebody out, or let them in again; their sessions end.

        Raises:
            Refused: no such person, or nobody would be admin any more.
        """
        async with self._changing:
            row = self._people.get(name)
            if row is None:
                raise Refused(f"there is nobody named {name!r}")
            await self._put(replace(row, disabled=disabled))
        did = "locks out" if disabled else "lets in again"
        self.record(by, "account", f"{by} {did} {name}.")

    async def _put(self, row: PersonRow) -> None:
        others = [p for p in self._people.values() if p.name != row.name]
        admins = [p for p in [*others, row] if p.role is Role.ADMIN and not p.disabled]
        if not any(p.password_hash for p in admins):
            raise Refused("somebody with a password here must remain admin")
        await asyncio.to_thread(self._store.people.put_person, row, end_sessions=True)
        self._people[row.name] = row
        for session in [s.hash for s in self._sessions.values() if s.name == row.name]:
            del self._sessions[session]

    async def set_language(self, name: str, language: str) -> None:
        """Remember the language that somebody reads."""
        if language not in ("en", "zh"):
            raise Refused("the language is en or zh")
        async with self._changing:
            row = self._people.get(name)
            if row is not None and row.language != language:
                made = replace(row, language=language)
                await asyncio.to_thread(self._store.people.put_person, made, end_sessions=False)
                self._people[name] = made

    # Tokens of other systems.

    def tokens(self) -> list[Token]:
        """Return the tokens of other systems, by name."""
        return [
            Token(
                name=row.name,
                role=row.role,
                made_ns=row.made_ns,
                last_ns=self._seen_tokens.get(row.name, row.last_ns),
            )
            for row in sorted(self._tokens.values(), key=lambda row: row.name)
        ]

    async def issue_token(self, name: str, role: Role, by: str) -> str:
        """Make a token; it is shown once.

        Raises:
            Refused: the name cannot be, or is taken.
        """
        rules.check_name(name)
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        async with self._changing:
            if name in self._people or any(row.name == name for row in self._tokens.values()):
                raise Refused(f"there is a person or a token named {name!r}: choose another name")
            if len(self._tokens) >= TOKENS_MAX:
                raise Refused(f"there are {TOKENS_MAX} tokens: revoke what is not used")
            row = TokenRow(name=name, role=role, hash=_hash(token), made_ns=self._now_ns())
            await asyncio.to_thread(self._store.people.put_token, row)
            self._tokens[row.hash] = row
        self.record(by, "token", f"{by} issues the token {name}, {role.value}.")
        return token

    async def revoke_token(self, name: str, by: str) -> None:
        """Withdraw a token.

        Raises:
            Refused: there is none of that name.
        """
        async with self._changing:
            row = next((row for row in self._tokens.values() if row.name == name), None)
            if row is None:
                raise Refused(f"there is no token named {name!r}")
            await asyncio.to_thread(self._store.people.delete_token, name)
            del self._tokens[row.hash]
        self.record(by, "token", f"{by} revokes the token {name}.")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _over(row: SessionRow, now_ns: int) -> bool:
    return now_ns - row.seen_ns > IDLE_NS or now_ns - row.made_ns > LONGEST_NS


def _person(row: PersonRow) -> Person:
    return Person(row.name, row.role, row.language)
