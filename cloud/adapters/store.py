"""The gateway's records: cases with their timeline and outbox, assets and tickets.

The store knows rows, not cases: what a case means is `cloud.core`'s. Every method is one
transaction and is durable when it returns. Methods are synchronous and may be called from any
thread. All of them raise `Unreachable` when the database does not answer.
"""

from collections.abc import Collection
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, TypeVar

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from cloud.adapters import database as db
from cloud.adapters.customer_store import CustomerStore
from cloud.adapters.hook_store import HookStore
from cloud.adapters.memory import Memory
from cloud.adapters.people_store import PeopleStore
from cloud.adapters.photo_store import PhotoStore
from cloud.adapters.rollout_store import Line, RolloutStore, append
from cloud.adapters.value_store import ValueStore
from cloud.core.asset import AssetRow
from contract.errors import Refused

QUARANTINE_MAX = 1000
"""So many of the newest quarantined messages are kept; older ones are only counted."""
QUARANTINE_PAYLOAD_BYTES_MAX = 16 * 1024
PRUNE_MAX = 1000
"""Effects that are deleted in one transaction."""
TEXT_MAX = 2000

R = TypeVar("R", bound=Struct)


class CaseRow(Struct, frozen=True, kw_only=True):
    """One case; `data` is what the core makes of it."""

    case_id: str
    device: str
    phase: str
    open: bool
    opened_ns: int
    updated_ns: int
    version: int
    data: bytes


class TimelineRow(Struct, frozen=True, kw_only=True):
    """One thing that happened in a case, with a sentence for people."""

    case_id: str
    at_ns: int
    kind: str
    text: str
    data: bytes = b""


class OutboxState(StrEnum):
    """Whether an effect is still to be performed."""

    PENDING = "pending"
    DONE = "done"
    DEAD = "dead"
    """Given up; `OutboxRow.last_error` says why."""


class OutboxRow(Struct, frozen=True, kw_only=True):
    """One effect of a case that is performed at least once; `key` makes it the same effect."""

    key: str
    case_id: str
    kind: str
    payload: bytes
    due_ns: int
    attempts: int = 0
    last_error: str = ""
    state: OutboxState = OutboxState.PENDING
    ended_ns: int | None = None


class TicketRow(Struct, frozen=True, kw_only=True):
    """One ticket as it was sent, under its idempotency key."""

    key: str
    body: bytes
    opened_ns: int


class QuarantineRow(Struct, frozen=True, kw_only=True):
    """One message that could not be used. `id` counts all there ever were."""

    id: int
    topic: str
    payload: bytes
    reason: str
    at_ns: int


_TABLES: dict[type[Struct], sa.Table] = {
    CaseRow: db.cases,
    TimelineRow: db.timeline,
    OutboxRow: db.outbox,
    AssetRow: db.assets,
    TicketRow: db.tickets,
    QuarantineRow: db.quarantine,
}


class Store:
    """The records of one gateway."""

    def __init__(self, url: str) -> None:
        """Open the database and bring its schema to the newest version.

        Args:
            url: SQLAlchemy URL, ``sqlite:///path`` or ``postgresql://...``.

        Raises:
            Malformed: not such a URL.
            Refused: the database belongs to a newer version of this program.
            Unreachable: the database does not answer.
        """
        self.engine = db.open_engine(url)
        try:
            db.migrate(self.engine)
        except BaseException:
            self.engine.dispose()
            raise
        self.memory = Memory(self.engine)
        """Labels, saved models and checkpoints."""
        self.updates = RolloutStore(self.engine)
        """Rollouts, devices and the audit log."""
        self.people = PeopleStore(self.engine)
        self.hooks = HookStore(self.engine)
        self.value = ValueStore(self.engine)
        self.customers = CustomerStore(self.engine)
        self.photos = PhotoStore(self.engine)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def save(
        self,
        row: CaseRow,
        expected_version: int | None,
        timeline: list[TimelineRow],
        outbox: list[OutboxRow],
        line: Line | None = None,
    ) -> None:
        """Save a case, what happened in it and what is to be done about it, or nothing of it.

        Args:
            row: the case as it is now, with a version above the expected one.
            expected_version: the version that the change was made from; None for a new case.
            timeline: added at the end of the case's timeline.
            outbox: effects to perform; a row whose key is known is left as it was.
            line: for the audit log, if somebody decided this.

        Raises:
            Refused: the version has moved, or the device has another open case.
        """
        if expected_version is not None and row.version <= expected_version:
            raise ValueError(f"version {row.version} does not come after {expected_version}")
        values = asdict(row)
        with self._writes() as connection:
            if expected_version is None:
                connection.execute(db.cases.insert().values(values))
            else:
                case = (db.cases.c.case_id == row.case_id, db.cases.c.version == expected_version)
                if connection.execute(db.cases.update().where(*case).values(values)).rowcount != 1:
                    raise Refused(f"case {row.case_id} is no longer at version {expected_version}")
            if timeline:
                connection.execute(db.timeline.insert(), [asdict(t) for t in timeline])
            if outbox:
                db.add(connection, db.outbox, [asdict(o) for o in outbox])
            if line is not None:
                append(connection, [line])

    def case(self, case_id: str) -> CaseRow | None:
        """Return one case."""
        return self._one(CaseRow, _every(CaseRow).where(db.cases.c.case_id == case_id))

    def cases_of(self, case_ids: list[str]) -> dict[str, CaseRow]:
        """Return some cases by their ids; an id that is not known is missing."""
        query = _every(CaseRow).where(db.cases.c.case_id.in_(case_ids))
        return {row.case_id: row for row in self._all(CaseRow, query)}

    def open_case(self, device: str) -> CaseRow | None:
        """Return the open case of a device; there is at most one."""
        query = _every(CaseRow).where(db.cases.c.open, db.cases.c.device == device)
        return self._one(CaseRow, query)

    def open_cases(self) -> list[CaseRow]:
        """Return all open cases, oldest first."""
        order = (db.cases.c.opened_ns, db.cases.c.case_id)
        return self._all(CaseRow, _every(CaseRow).where(db.cases.c.open).order_by(*order))

    def cases(
        self,
        device: str | None = None,
        phase: str | None = None,
        limit: int = 100,
        before_ns: int | None = None,
    ) -> list[CaseRow]:
        """Return cases, newest first.

        Args:
            device: only those of this device.
            phase: only those in this phase.
            limit: how many; a few more where several were opened at the same instant, so that
                the next page, before the last one's ``opened_ns``, misses none.
            before_ns: only those opened before, in plant time.
        """
        query = _every(CaseRow)
        if device is not None:
            query = query.where(db.cases.c.device == device)
        if phase is not None:
            query = query.where(db.cases.c.phase == phase)
        return self._all(CaseRow, db.page(query, db.cases.c.opened_ns, limit, before_ns))

    def timeline(self, case_id: str) -> list[TimelineRow]:
        """Return what happened in a case, in the order in which it was saved."""
        query = _every(TimelineRow).where(db.timeline.c.case_id == case_id)
        return self._all(TimelineRow, query.order_by(db.timeline.c.id))

    def due(self, now_ns: int, limit: int) -> list[OutboxRow]:
        """Return effects that are to be performed now, the longest due first."""
        box = db.outbox.c
        query = _every(OutboxRow).where(box.state == OutboxState.PENDING, box.due_ns <= now_ns)
        return self._all(OutboxRow, query.order_by(box.due_ns, box.id).limit(limit))

    def done(self, key: str, now_ns: int) -> None:
        """Note that an effect was performed."""
        self._end(key, state=OutboxState.DONE, ended_ns=now_ns, last_error="")

    def retry(self, key: str, error: str, due_ns: int) -> None:
        """Note that an attempt failed and when the next one is due."""
        self._end(key, attempts=db.outbox.c.attempts + 1, last_error=_text(error), due_ns=due_ns)

    def dead(self, key: str, error: str) -> None:
        """Give an effect up."""
        self._end(
            key,
            state=OutboxState.DEAD,
            attempts=db.outbox.c.attempts + 1,
            last_error=_text(error),
        )

    def outbox(self, case_id: str) -> list[OutboxRow]:
        """Return all effects of a case, in the order in which they were decided."""
        query = _every(OutboxRow).where(db.outbox.c.case_id == case_id)
        return self._all(OutboxRow, query.order_by(db.outbox.c.id))

    def told(self, case_ids: Collection[str]) -> list[bytes]:
        """Return what others were told of some cases, in the order in which it was decided."""
        box = db.outbox.c
        query = sa.select(box.payload).where(box.case_id.in_(case_ids), box.kind == "tell")
        with self._reads() as connection:
            return list(connection.execute(query.order_by(box.id)).scalars())

    def prune(self, before_ns: int) -> int:
        """Delete what was performed for cases that are over; return how many effects that were.

        What nobody took stays, and so does every line of a timeline: it tells the case.

        Args:
            before_ns: what was performed earlier goes, the oldest first, `PRUNE_MAX` at a time.
        """
        box, case = db.outbox.c, db.cases.c
        over = sa.select(case.case_id).where(~case.open)
        old = sa.select(box.id).where(
            box.state == OutboxState.DONE, box.ended_ns < before_ns, box.case_id.in_(over)
        )
        oldest = old.order_by(box.id).limit(PRUNE_MAX)
        with self._writes() as connection:
            return connection.execute(db.outbox.delete().where(box.id.in_(oldest))).rowcount

    def put_assets(self, rows: list[AssetRow]) -> None:
        """Add machines, or replace what is known about them, all or none."""
        with self._writes() as connection:
            for row in rows:
                db.put(connection, db.assets, asdict(row))

    def asset(self, device: str) -> AssetRow | None:
        """Return one machine."""
        return self._one(AssetRow, _every(AssetRow).where(db.assets.c.device == device))

    def assets(self) -> list[AssetRow]:
        """Return all machines by name."""
        return self._all(AssetRow, _every(AssetRow).order_by(db.assets.c.device))

    def put_ticket(self, key: str, body: bytes, opened_ns: int) -> None:
        """Keep a ticket. The first body under a key stays; the same again changes nothing.

        Raises:
            Refused: the key is known with another body.
        """
        with self._writes() as connection:
            db.add(connection, db.tickets, [{"key": key, "body": body, "opened_ns": opened_ns}])
            query = sa.select(db.tickets.c.body).where(db.tickets.c.key == key)
            if connection.execute(query).scalar_one() != body:
                raise Refused(f"ticket {key} exists with another text, and a ticket never changes")

    def ticket(self, key: str) -> TicketRow | None:
        """Return one ticket."""
        return self._one(TicketRow, _every(TicketRow).where(db.tickets.c.key == key))

    def tickets(self, limit: int = 100, before_ns: int | None = None) -> list[TicketRow]:
        """Return tickets, newest first; paged like `cases`."""
        query = db.page(_every(TicketRow), db.tickets.c.opened_ns, limit, before_ns)
        return self._all(TicketRow, query)

    def quarantine(self, topic: str, payload: bytes, reason: str, now_ns: int) -> None:
        """Keep a message that cannot be used; the oldest of many gives way."""
        values = {
            "topic": _text(topic),
            "payload": payload[:QUARANTINE_PAYLOAD_BYTES_MAX],
            "reason": _text(reason),
            "at_ns": now_ns,
        }
        table = db.quarantine
        with self._writes() as connection:
            number = connection.execute(
                table.insert().values(values).returning(table.c.id)
            ).scalar_one()
            connection.execute(table.delete().where(table.c.id <= number - QUARANTINE_MAX))

    def quarantined(self, limit: int = 100) -> list[QuarantineRow]:
        """Return messages that could not be used, newest first."""
        query = _every(QuarantineRow).order_by(db.quarantine.c.id.desc()).limit(limit)
        return self._all(QuarantineRow, query)

    def _reads(self) -> AbstractContextManager[sa.Connection]:
        return db.transaction(self.engine, writes=False)

    def _writes(self) -> AbstractContextManager[sa.Connection]:
        return db.transaction(self.engine, writes=True)

    def _all(self, kind: type[R], query: sa.Select[*tuple[Any, ...]]) -> list[R]:
        with self._reads() as connection:
            return db.fetch(connection, kind, query)

    def _one(self, kind: type[R], query: sa.Select[*tuple[Any, ...]]) -> R | None:
        found = self._all(kind, query)
        return found[0] if found else None

    def _end(self, key: str, **values: object) -> None:
        with self._writes() as connection:
            update = db.outbox.update().where(db.outbox.c.key == key).values(values)
            if connection.execute(update).rowcount != 1:
                raise KeyError(f"there is no effect {key} in the outbox")


def _every(kind: type[Struct]) -> sa.Select[*tuple[Any, ...]]:
    """Select the columns of a row type, in the order of its fields."""
    return sa.select(*(_TABLES[kind].c[name] for name in kind.__struct_fields__))


def _text(text: str) -> str:
    """Return text from outside as every database can hold it, at a bounded length."""
    clean = text[:TEXT_MAX].replace("\0", "\ufffd")
    return clean.encode(errors="replace").decode()
