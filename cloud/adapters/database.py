"""The gateway's relational database: tables, engine, transactions and migrations.

SQLite by default, PostgreSQL by URL; the same statements run on both. The tables below are the
newest schema. The migrations beside this file make it, step by step; a test compares the two.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import alembic.command
import alembic.config
import alembic.util
import msgspec
import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.dialects import postgresql, sqlite

from cloud.adapters.sqlite_file import is_bug, is_damage
from contract.errors import Malformed, Refused, Unreachable

BUSY_TIMEOUT_MS = 10_000
MIGRATION_LOCK = 0x46415246
"""PostgreSQL advisory lock under which one gateway of several migrates."""

R = TypeVar("R", bound=msgspec.Struct)

metadata = sa.MetaData()

cases = sa.Table(
    "cases",
    metadata,
    sa.Column("case_id", sa.Text, primary_key=True),
    sa.Column("device", sa.Text, nullable=False),
    sa.Column("phase", sa.Text, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Column("opened_ns", sa.BigInteger, nullable=False),
    sa.Column("updated_ns", sa.BigInteger, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Index("cases_by_opened", "opened_ns"),
    sa.Index(
        "one_open_case_per_device",
        "device",
        unique=True,
        sqlite_where=sa.text("open"),
        postgresql_where=sa.text("open"),
    ),
)

timeline = sa.Table(
    "timeline",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("case_id", sa.Text, sa.ForeignKey("cases.case_id"), nullable=False),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Index("timeline_by_case", "case_id", "id"),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("case_id", sa.Text, sa.ForeignKey("cases.case_id"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("due_ns", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("ended_ns", sa.BigInteger),
    sa.Index("outbox_by_due", "state", "due_ns"),
    sa.Index("outbox_by_case", "case_id"),
)

assets = sa.Table(
    "assets",
    metadata,
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("site", sa.Text, nullable=False),
    sa.Column("machine_type", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("serial", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("tier", sa.Text, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("hardware", sa.Integer, nullable=False),
    sa.Column("customer", sa.Text, nullable=False),
    sa.Column("time_zone", sa.Text, nullable=False),
)

tickets = sa.Table(
    "tickets",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("opened_ns", sa.BigInteger, nullable=False),
    sa.Index("tickets_by_opened", "opened_ns"),
)

labels = sa.Table(
    "labels",
    metadata,
    sa.Column("case", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("to_ns", sa.BigInteger, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,  # numbers are never used again, so the newest counts them all
)

models = sa.Table(
    "models",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

repository = sa.Table(
    "repository",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

rollouts = sa.Table(
    "rollouts",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("phase", sa.Text, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

updates = sa.Table(
    "updates",
    metadata,
    sa.Column("number", sa.Integer, sa.ForeignKey("rollouts.number"), primary_key=True),
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("phase", sa.Text, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Index(
        "one_active_update_per_device",
        "device",
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    ),
)

devices = sa.Table(
    "devices",
    metadata,
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("token_hash", sa.Text, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("hardware", sa.Integer, nullable=False),
    sa.Column("quarantined", sa.Text, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("device", sa.Text, nullable=False),
    sa.Column("rollout", sa.Integer, nullable=False),
    sa.Column("hash", sa.Text),
    sa.Index("audit_by_rollout", "rollout", "id"),
    sa.Index("audit_by_device", "device", "id"),
)


def open_engine(url: str) -> sa.Engine:
    """Return an engine whose commits survive a power failure.

    Raises:
        Malformed: the URL names no database that this program speaks.
    """
    try:
        parsed = sa.make_url(url)
    except exc.ArgumentError as error:
        raise Malformed(f"database URL: {error}") from error
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise Malformed(
            f"database URL begins with {parsed.drivername}: use sqlite:///path or postgresql://"
        )
    if parsed.get_backend_name() == "postgresql":
        return sa.create_engine(parsed, pool_pre_ping=True)
    engine = sa.create_engine(parsed)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 would begin on its own, and too late
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A transaction that reads first and writes later fails when another writer came in between.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def transaction(engine: sa.Engine, *, writes: bool) -> Iterator[sa.Connection]:
    """Run a block in one transaction and translate what the database may say.

    Raises:
        Unreachable: no connection, disk full, or locked for too long.
        Refused: a unique or foreign key of the schema forbids it, or the file is damaged.
        Malformed: a value that the database cannot hold.
    """
    try:
        with engine.execution_options(writes=writes).begin() as connection:
            yield connection
    except exc.OperationalError as error:
        if is_bug(error.orig):
            raise
        raise Unreachable(f"database: {error.orig}") from error
    except exc.IntegrityError as error:
        raise Refused(f"database: {error.orig}") from error
    except exc.DataError as error:
        raise Malformed(f"database: {error.orig}") from error
    except exc.DatabaseError as error:
        if not is_damage(error.orig):
            raise
        raise Refused(f"database: {error.orig}; restore it from a backup") from error


def add(connection: sa.Connection, table: sa.Table, rows: list[dict[str, object]]) -> None:
    """Insert rows; one whose key is there already stays as it was."""
    connection.execute(_insert(connection, table).on_conflict_do_nothing(), rows)


def put(connection: sa.Connection, table: sa.Table, row: dict[str, object]) -> None:
    """Insert a row, or replace the one with the same primary key."""
    insert = _insert(connection, table).values(row)
    key = list(table.primary_key)
    connection.execute(insert.on_conflict_do_update(index_elements=key, set_=row))


def _insert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    # What to do on a conflict is in no standard, but both say it alike.
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def fetch(connection: sa.Connection, kind: type[R], query: sa.Select[*tuple[Any, ...]]) -> list[R]:
    """Run a query that selects the fields of a row type in their order."""
    names = kind.__struct_fields__
    rows = connection.execute(query)
    return [msgspec.convert(dict(zip(names, row, strict=True)), kind) for row in rows]


def page(
    query: sa.Select[*tuple[Any, ...]], time: sa.Column[int], limit: int, before_ns: int | None
) -> sa.Select[*tuple[Any, ...]]:
    """Return the newest rows before a time; all of those that share the last one's time."""
    if before_ns is not None:
        query = query.where(time < before_ns)
    newest = query.with_only_columns(time).order_by(time.desc()).limit(limit).subquery()
    since = sa.select(sa.func.min(newest.c[0])).scalar_subquery()
    tie = next(iter(time.table.primary_key))
    return query.where(time >= since).order_by(time.desc(), tie)


def migrate(engine: sa.Engine) -> None:
    """Bring the schema to the newest version, in one transaction.

    Raises:
        Refused: the database was made by a newer version of this program.
        Unreachable: no connection.
    """
    config = alembic.config.Config()
    config.set_main_option("script_location", "cloud.adapters:migrations")
    with transaction(engine, writes=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        config.attributes["connection"] = connection
        try:
            alembic.command.upgrade(config, "head")
        except alembic.util.CommandError as error:
            raise Refused(
                f"the database was made by a newer version of this program ({error}): "
                "upgrade the program, or restore the database's backup"
            ) from error
