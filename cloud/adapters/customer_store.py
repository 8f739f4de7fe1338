"""What customers were told, who wants no more of it, and what they answered.

Like `cloud.adapters.store`: rows, one transaction per method, durable when it returns; all raise
`Unreachable` when the database does not answer.
"""

from typing import Any, TypeVar

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from cloud.adapters import database as db
from cloud.core.customers import Rating
from contract.errors import Refused

R = TypeVar("R", bound=Struct)

messages = sa.Table(
    "customer_messages",
    db.metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("customer", sa.Text, nullable=False),
    sa.Column("case_id", sa.Text, nullable=False),
    sa.Column("moment", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("due_ns", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("reached", sa.JSON, nullable=False),
    sa.Index("customer_messages_by_due", "state", "due_ns"),
    sa.Index("customer_messages_by_case", "case_id"),
)

ratings = sa.Table(
    "customer_ratings",
    db.metadata,
    sa.Column("case_id", sa.Text, primary_key=True),
    sa.Column("customer", sa.Text, nullable=False),
    sa.Column("stars", sa.Integer, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
)

opt_outs = sa.Table(
    "customer_opt_outs",
    db.metadata,
    sa.Column("customer", sa.Text, primary_key=True),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
)


class MessageRow(Struct, frozen=True, kw_only=True):
    """One message to one customer."""

    key: str
    customer: str
    case_id: str
    moment: str
    title: str
    text: str
    at_ns: int
    due_ns: int
    attempts: int = 0
    state: str = "waiting"
    """``waiting``, ``sent``, ``failed``, ``opted_out`` or ``superseded``."""
    error: str = ""
    reached: list[str] = []
    """Contacts that have it, by a hash of their address: none gets it twice."""


class CustomerStore:
    """This part of one gateway's records."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, row: MessageRow) -> None:
        """Keep a message; one whose key is known stays as it is.

        What still waits about the same case is not sent any more: the newer message says it all.
        """
        older = messages.update().where(
            messages.c.case_id == row.case_id,
            messages.c.customer == row.customer,
            messages.c.state == "waiting",
            messages.c.attempts == 0,
            messages.c.due_ns > row.at_ns,
            messages.c.key != row.key,
        )
        known = sa.select(messages.c.id).where(messages.c.key == row.key)
        with db.transaction(self._engine, writes=True) as connection:
            if connection.execute(known).first() is None:
                connection.execute(older.values(state="superseded"))
                connection.execute(messages.insert().values(asdict(row)))

    def due(self, now_ns: int, limit: int) -> list[MessageRow]:
        """Return messages that are to be sent now, the longest due first."""
        column = messages.c
        query = _all(messages, MessageRow).where(column.state == "waiting", column.due_ns <= now_ns)
        return self._read(MessageRow, query.order_by(column.due_ns, column.id).limit(limit))

    def change(self, key: str, **values: object) -> None:
        """Note what came of an attempt."""
        with db.transaction(self._engine, writes=True) as connection:
            connection.execute(messages.update().where(messages.c.key == key).values(values))

    def told(self, case_id: str, limit: int) -> list[MessageRow]:
        """Return messages, newest first; of all cases if none is given."""
        query = _all(messages, MessageRow).order_by(messages.c.id.desc()).limit(limit)
        return self._read(
            MessageRow, query.where(messages.c.case_id == case_id) if case_id else query
        )

    def failed(self) -> int:
        """Count messages that reached nobody."""
        query = sa.select(sa.func.count()).where(messages.c.state == "failed")
        with db.transaction(self._engine, writes=False) as connection:
            return int(connection.execute(query).scalar_one())

    def rate(self, row: Rating) -> None:
        """Keep a rating.

        Raises:
            Refused: the case is rated already.
        """
        with db.transaction(self._engine, writes=True) as connection:
            known = sa.select(ratings.c.case_id).where(ratings.c.case_id == row.case_id)
            if connection.execute(known).first() is not None:
                raise Refused("this was rated already; thank you")
            connection.execute(ratings.insert().values(asdict(row)))

    def rating(self, case_id: str) -> Rating | None:
        """Return the rating of a case."""
        query = _all(ratings, Rating).where(ratings.c.case_id == case_id)
        return next(iter(self._read(Rating, query)), None)

    def ratings(self, limit: int) -> list[Rating]:
        """Return ratings, newest first."""
        query = _all(ratings, Rating).order_by(ratings.c.at_ns.desc()).limit(limit)
        return self._read(Rating, query)

    def opt_out(self, customer: str, at_ns: int) -> None:
        """Note that a customer wants to hear nothing more; what waits is not sent."""
        with db.transaction(self._engine, writes=True) as connection:
            db.add(connection, opt_outs, [{"customer": customer, "at_ns": at_ns}])
            waiting = (messages.c.customer == customer, messages.c.state == "waiting")
            connection.execute(messages.update().where(*waiting).values(state="opted_out"))

    def opted_out(self) -> set[str]:
        """Return the customers who want to hear nothing."""
        with db.transaction(self._engine, writes=False) as connection:
            return set(connection.execute(sa.select(opt_outs.c.customer)).scalars())

    def _read(self, kind: type[R], query: sa.Select[*tuple[Any, ...]]) -> list[R]:
        with db.transaction(self._engine, writes=False) as connection:
            return db.fetch(connection, kind, query)


def _all(table: sa.Table, kind: type[Struct]) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(*(table.c[name] for name in kind.__struct_fields__))
