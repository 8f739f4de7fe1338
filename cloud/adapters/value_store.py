"""The value ledger's lines: they are added, and never changed or deleted.

Like `cloud.adapters.store`: rows, one transaction per method, durable when it returns; all raise
`Unreachable` when the database does not answer.
"""

from collections.abc import Iterable

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from cloud.adapters import database as db
from cloud.core.ledger import Entry

TEXT_MAX = 2000

ledger = sa.Table(
    "ledger",
    db.metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("case_id", sa.Text, nullable=False),
    sa.Column("device", sa.Text, nullable=False),
    sa.Column("site", sa.Text, nullable=False),
    sa.Column("machine_type", sa.Text, nullable=False),
    sa.Column("tier", sa.Text, nullable=False),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("count", sa.Double, nullable=False),
    sa.Column("amount", sa.Double),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("assumptions", sa.JSON, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("reverses", sa.Text, nullable=False),
    sa.Index("ledger_by_time", "at_ns"),
    sa.Index("ledger_by_case", "case_id"),
)

_EVERY = sa.select(*(ledger.c[name] for name in Entry.__struct_fields__))
_IN_ORDER = ledger.c.at_ns, ledger.c.key


class Figure(Struct, frozen=True):
    """What of a line is added up."""

    at_ns: int
    kind: str
    reverses: str
    count: float
    amount: float | None
    currency: str


def _row(entry: Entry) -> dict[str, object]:
    text = entry.text[:TEXT_MAX].replace("\0", "\ufffd").encode(errors="replace").decode()
    return {**asdict(entry), "kind": entry.kind.value, "text": text}


class ValueStore:
    """This part of one gateway's records."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, entries: Iterable[Entry]) -> None:
        """Add lines; one whose key is known stays as it was."""
        rows = [_row(entry) for entry in entries]
        if rows:
            with db.transaction(self._engine, writes=True) as connection:
                db.add(connection, ledger, rows)

    def known(self, keys: Iterable[str]) -> dict[str, Entry]:
        """Return those of some lines that are there, by key."""
        found = self._all(_EVERY.where(ledger.c.key.in_(list(keys))))
        return {entry.key: entry for entry in found}

    def of_case(self, case_id: str) -> list[Entry]:
        """Return the lines of a case, oldest first."""
        return self._all(_EVERY.where(ledger.c.case_id == case_id).order_by(*_IN_ORDER))

    def between(self, from_ns: int, to_ns: int) -> list[Entry]:
        """Return the lines from a time on and before another, oldest first."""
        inside = ledger.c.at_ns >= from_ns, ledger.c.at_ns < to_ns
        return self._all(_EVERY.where(*inside).order_by(*_IN_ORDER))

    def figures(self, last_ns: int) -> list[Figure]:
        """Return what is added up of the newest lines: those within ``last_ns`` of the newest."""
        newest = sa.select(sa.func.max(ledger.c.at_ns)).scalar_subquery()
        names = Figure.__struct_fields__
        query = sa.select(*(ledger.c[name] for name in names))
        query = query.where(ledger.c.at_ns > newest - last_ns).order_by(*_IN_ORDER)
        with db.transaction(self._engine, writes=False) as connection:
            return [Figure(*row) for row in connection.execute(query)]

    def ended(self, from_ns: int, to_ns: int) -> int:
        """Count the cases that ended from a time on and before another, and have not come back."""
        cases = db.cases.c
        inside = cases.updated_ns >= from_ns, cases.updated_ns < to_ns
        query = sa.select(sa.func.count()).where(~cases.open, *inside)
        with db.transaction(self._engine, writes=False) as connection:
            return int(connection.execute(query).scalar_one())

    def _all(self, query: sa.Select[tuple[object, ...]]) -> list[Entry]:
        with db.transaction(self._engine, writes=False) as connection:
            return db.fetch(connection, Entry, query)
