"""Rollouts, the updates of their machines, what is kept of devices, and the audit log.

Like `cloud.adapters.store`: it knows rows, not rollouts; every method is one transaction and is
durable when it returns; all raise `Unreachable` when the database does not answer.
"""

import hashlib
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from cloud.adapters import database as db
from cloud.core.published import AuditRow

TEXT_MAX = 2000


class RolloutRow(Struct, frozen=True, kw_only=True):
    """One rollout; `data` is what the core makes of it."""

    number: int
    phase: str
    open: bool
    data: bytes


class UpdateRow(Struct, frozen=True, kw_only=True):
    """One machine's part in a rollout."""

    number: int
    device: str
    phase: str
    active: bool
    data: bytes


class DeviceRow(Struct, frozen=True, kw_only=True):
    """What is kept of one machine that is updated."""

    device: str
    token_hash: str = ""
    """SHA-256 of its DDI token, in hex; empty: it has none."""
    attributes: dict[str, str] = {}
    hardware: int = 0
    quarantined: str = ""
    failures: int = 0


class Line(Struct, frozen=True, kw_only=True):
    """A line for the audit log, before it has a number."""

    at_ns: int
    by: str
    what: str
    text: str
    device: str = ""
    rollout: int = 0


class Chain(Struct, frozen=True, kw_only=True):
    """How the audit log stands: every line holds a hash over itself and the line before it."""

    lines: int
    """That fit, from the oldest on."""
    broken_at: int | None
    """Number of the first line that does not; it or one before it was changed or taken away."""
    hash: str
    """Of the last line that fits: kept elsewhere, it shows that nothing before it has changed."""


class RolloutStore:
    """The part of one gateway's records that is about updates."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def save(
        self,
        rollout: RolloutRow | None,
        updates: Sequence[UpdateRow] = (),
        lines: Sequence[Line] = (),
        devices: Sequence[DeviceRow] = (),
    ) -> None:
        """Save what one step has changed, or nothing of it.

        Raises:
            Refused: a machine would have two active updates.
        """
        with db.transaction(self._engine, writes=True) as connection:
            if rollout is not None:
                db.put(connection, db.rollouts, asdict(rollout))
            # what ends first: the same machine may begin elsewhere in the same step
            for row in sorted(updates, key=lambda row: row.active):
                db.put(connection, db.updates, asdict(row))
            for device in devices:
                db.put(connection, db.devices, asdict(device))
            if lines:
                append(connection, lines)

    def rollouts(self) -> list[RolloutRow]:
        """Return all rollouts, newest first."""
        table = db.rollouts.c
        query = sa.select(table.number, table.phase, table.open, table.data)
        with db.transaction(self._engine, writes=False) as connection:
            return db.fetch(connection, RolloutRow, query.order_by(table.number.desc()))

    def updates(self, number: int) -> list[UpdateRow]:
        """Return the updates of one rollout, by device."""
        table = db.updates.c
        query = sa.select(*(table[name] for name in UpdateRow.__struct_fields__))
        query = query.where(table.number == number).order_by(table.device)
        with db.transaction(self._engine, writes=False) as connection:
            return db.fetch(connection, UpdateRow, query)

    def devices(self) -> list[DeviceRow]:
        """Return what is kept of all machines."""
        query = sa.select(*(db.devices.c[name] for name in DeviceRow.__struct_fields__))
        with db.transaction(self._engine, writes=False) as connection:
            return db.fetch(connection, DeviceRow, query)

    def audit(
        self, limit: int = 100, before_id: int | None = None, rollout: int = 0, device: str = ""
    ) -> list[AuditRow]:
        """Return the audit log, newest first."""
        table = db.audit.c
        query = sa.select(*(table[name] for name in AuditRow.__struct_fields__))
        if before_id is not None:
            query = query.where(table.id < before_id)
        if rollout:
            query = query.where(table.rollout == rollout)
        if device:
            query = query.where(table.device == device)
        with db.transaction(self._engine, writes=False) as connection:
            return db.fetch(connection, AuditRow, query.order_by(table.id.desc()).limit(limit))

    def audit_chain(self) -> Chain:
        """Follow the audit log from its beginning."""
        table = db.audit.c
        query = sa.select(table.id, table.hash, *(table[name] for name in Line.__struct_fields__))
        count, last = 0, ""
        with db.transaction(self._engine, writes=False) as connection:
            rows = connection.execution_options(yield_per=1000).execute(query.order_by(table.id))
            for number, own, *values in rows:
                line = Line(**dict(zip(Line.__struct_fields__, values, strict=True)))
                if own != _link(last, line) and (own or last):
                    return Chain(lines=count, broken_at=number, hash=last)
                count, last = count + 1, own or ""
        return Chain(lines=count, broken_at=None, hash=last)


def append(connection: sa.Connection, lines: Sequence[Line]) -> None:
    """Add lines to the audit log, each with a hash over itself and the hash of the line before it.

    Until the transaction ends no other one adds lines: call it last.
    """
    if connection.dialect.name == "postgresql":  # SQLite lets only one write in any case
        connection.execute(sa.text("LOCK TABLE audit IN SHARE ROW EXCLUSIVE MODE"))
    newest = sa.select(db.audit.c.hash).order_by(db.audit.c.id.desc()).limit(1)
    last = connection.execute(newest).scalar_one_or_none() or ""
    for line in map(_clean, lines):
        last = _link(last, line)
        connection.execute(db.audit.insert().values(asdict(line) | {"hash": last}))


def _link(before: str, line: Line) -> str:
    told = [before, *(getattr(line, name) for name in Line.__struct_fields__)]
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def _clean(line: Line) -> Line:
    """Return the line as every database can hold it, at a bounded length."""
    return Line(
        at_ns=line.at_ns,
        by=_text(line.by, 80),
        what=_text(line.what, 40),
        text=_text(line.text, TEXT_MAX),
        device=_text(line.device, 64),
        rollout=line.rollout,
    )


def _text(text: str, longest: int) -> str:
    return text[:longest].replace("\0", "\ufffd").encode(errors="replace").decode()
