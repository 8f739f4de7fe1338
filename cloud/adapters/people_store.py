"""People, their sessions, and tokens of other systems.

Like `cloud.adapters.store`: rows, one transaction per method, durable when it returns; all raise
`Unreachable` when the database does not answer. Times are wall time in ns since 1970 UTC.
"""

from collections.abc import Mapping

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from cloud.adapters import database as db
from cloud.core.people import Role

people = sa.Table(
    "people",
    db.metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("last_ns", sa.BigInteger),
)

sessions = sa.Table(
    "sessions",
    db.metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, sa.ForeignKey("people.name"), nullable=False),
    sa.Column("made_ns", sa.BigInteger, nullable=False),
    sa.Column("seen_ns", sa.BigInteger, nullable=False),
)

tokens = sa.Table(
    "tokens",
    db.metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    sa.Column("made_ns", sa.BigInteger, nullable=False),
    sa.Column("last_ns", sa.BigInteger),
)


class PersonRow(Struct, frozen=True, kw_only=True):
    """One person."""

    name: str
    role: Role
    password_hash: str = ""
    """Argon2id; empty: comes in by OpenID Connect only."""
    subject: str = ""
    """Issuer and subject at the OpenID provider; empty: a local person."""
    disabled: bool = False
    language: str = ""
    """Empty: never chosen."""
    last_ns: int | None = None


class SessionRow(Struct, frozen=True, kw_only=True):
    """One browser in which somebody is signed in."""

    hash: str
    """SHA-256 of the cookie, in hex."""
    name: str
    made_ns: int
    seen_ns: int


class TokenRow(Struct, frozen=True, kw_only=True):
    """One token of another system."""

    name: str
    role: Role
    hash: str
    """SHA-256 of the token, in hex."""
    made_ns: int
    last_ns: int | None = None


class PeopleStore:
    """This part of one gateway's records."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def people(self) -> list[PersonRow]:
        """Return all people, by name."""
        query = sa.select(*(people.c[name] for name in PersonRow.__struct_fields__))
        with db.transaction(self._engine, writes=False) as connection:
            return db.fetch(connection, PersonRow, query.order_by(people.c.name))

    def sessions(self) -> list[SessionRow]:
        """Return all sessions, the longest unseen first."""
        query = sa.select(*(sessions.c[name] for name in SessionRow.__struct_fields__))
        with db.transaction(self._engine, writes=False) as connection:
            return db.fetch(connection, SessionRow, query.order_by(sessions.c.seen_ns))

    def tokens(self) -> list[TokenRow]:
        """Return all tokens, by name."""
        query = sa.select(*(tokens.c[name] for name in TokenRow.__struct_fields__))
        with db.transaction(self._engine, writes=False) as connection:
            return db.fetch(connection, TokenRow, query.order_by(tokens.c.name))

    def put_person(self, row: PersonRow, *, end_sessions: bool) -> None:
        """Add a person or replace what is known of them, and end their sessions if asked."""
        with db.transaction(self._engine, writes=True) as connection:
            db.put(connection, people, asdict(row))
            if end_sessions:
                connection.execute(sessions.delete().where(sessions.c.name == row.name))

    def put_session(self, row: SessionRow) -> None:
        """Keep a new session."""
        with db.transaction(self._engine, writes=True) as connection:
            db.put(connection, sessions, asdict(row))

    def end_sessions(self, hashes: list[str]) -> None:
        """Forget sessions; one that is not there is no error."""
        with db.transaction(self._engine, writes=True) as connection:
            connection.execute(sessions.delete().where(sessions.c.hash.in_(hashes)))

    def put_token(self, row: TokenRow) -> None:
        """Keep a token.

        Raises:
            Refused: there is one of that name.
        """
        with db.transaction(self._engine, writes=True) as connection:
            connection.execute(tokens.insert().values(asdict(row)))

    def delete_token(self, name: str) -> None:
        """Forget a token; one that is not there is no error."""
        with db.transaction(self._engine, writes=True) as connection:
            connection.execute(tokens.delete().where(tokens.c.name == name))

    def seen(
        self,
        by_session: Mapping[str, int],
        by_person: Mapping[str, int],
        by_token: Mapping[str, int],
    ) -> None:
        """Note when sessions (by hash), people and tokens (by name) were last seen."""
        with db.transaction(self._engine, writes=True) as connection:
            for table, key, column, times in (
                (sessions, "hash", "seen_ns", by_session),
                (people, "name", "last_ns", by_person),
                (tokens, "name", "last_ns", by_token),
            ):
                for name, at_ns in times.items():
                    update = table.update().where(table.c[key] == name).values({column: at_ns})
                    connection.execute(update)
