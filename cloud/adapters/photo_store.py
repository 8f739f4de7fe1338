"""Photos of closing reports.

Like `cloud.adapters.store`: rows, one transaction per method, durable when it returns; all raise
`Unreachable` when the database does not answer.
"""

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from cloud.adapters import database as db
from contract.errors import Refused

PER_TICKET_MAX = 10
TOTAL_BYTES_MAX = 10 * 10**9
"""Of all photos together: some ten thousand."""

photos = sa.Table(
    "photos",
    db.metadata,
    sa.Column("ticket", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)


class PhotoRow(Struct, frozen=True, kw_only=True):
    """One photo of one ticket."""

    ticket: str
    name: str
    """Made from its content, so that the same photo again is the same photo."""
    at_ns: int
    by: str
    """Who handed it in."""
    data: bytes


class PhotoStore:
    """This part of one gateway's records."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def put(self, row: PhotoRow) -> None:
        """Keep a photo; one that is there already stays as it was.

        Raises:
            Refused: the ticket has `PER_TICKET_MAX`, or all photos together would take too much.
        """
        table = photos.c
        with db.transaction(self._engine, writes=True) as connection:
            if connection.dialect.name != "sqlite":  # there a transaction that writes is alone
                lock = sa.text("LOCK TABLE photos IN SHARE ROW EXCLUSIVE MODE")
                connection.execute(lock)
            query = sa.select(table.name).where(table.ticket == row.ticket)
            names = connection.execute(query).scalars().all()
            if row.name in names:
                return
            if len(names) >= PER_TICKET_MAX:
                raise Refused(
                    f"ticket {row.ticket} has {len(names)} photos already, and that is the most"
                )
            # PostgreSQL adds whole numbers up to a decimal
            total = int(connection.execute(sa.select(sa.func.sum(table.size_bytes))).scalar() or 0)
            if total + len(row.data) > TOTAL_BYTES_MAX:
                raise Refused(
                    f"all photos together take {total / 1e9:.1f} GB, and "
                    f"{TOTAL_BYTES_MAX / 1e9:.0f} GB is the most: an admin must delete old ones"
                )
            connection.execute(photos.insert(), {**asdict(row), "size_bytes": len(row.data)})

    def names(self, ticket: str) -> list[str]:
        """Return the names of a ticket's photos, the oldest first."""
        table = photos.c
        query = sa.select(table.name).where(table.ticket == ticket)
        with db.transaction(self._engine, writes=False) as connection:
            return list(connection.execute(query.order_by(table.at_ns, table.name)).scalars())

    def photo(self, ticket: str, name: str) -> PhotoRow | None:
        """Return one photo."""
        table = photos.c
        query = sa.select(*(table[field] for field in PhotoRow.__struct_fields__))
        query = query.where(table.ticket == ticket, table.name == name)
        with db.transaction(self._engine, writes=False) as connection:
            found = db.fetch(connection, PhotoRow, query)
        return found[0] if found else None

    def delete(self, ticket: str, name: str) -> bool:
        """Delete a photo, because of who is on it or to make room; false: there was none."""
        table = photos.c
        with db.transaction(self._engine, writes=True) as connection:
            gone = connection.execute(
                photos.delete().where(table.ticket == ticket, table.name == name)
            )
            return gone.rowcount == 1
