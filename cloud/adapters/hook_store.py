"""Webhook endpoints and what was delivered to them.

Like `cloud.adapters.store`: rows, one transaction per method, durable when it returns; all raise
`Unreachable` when the database does not answer. Secrets lie here in clear, as a signer needs them:
keep the database as private as the secret files.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from cloud.adapters import database as db
from cloud.core.delivery import DeliveryState
from cloud.core.telling import ABOUT_TICKETS, ENDS

WAITING_MAX = 20_000
"""Of one endpoint; what comes beyond is dropped, and listed as such."""
ENDED_MAX = 50_000
"""Deliveries that are kept after their end, in all; the oldest give way."""
ATTEMPTS_MAX = 50
"""Requests that are kept of one delivery."""
PRUNE_EVERY = 500
TEXT_MAX = 500
GIVEN_UP = (DeliveryState.DEAD, DeliveryState.DROPPED)
ENDED = (DeliveryState.DELIVERED, *GIVEN_UP)

endpoints = sa.Table(
    "endpoints",
    db.metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("order", sa.LargeBinary, nullable=False),
    sa.Column("secret", sa.Text, nullable=False),
    sa.Column("old_secret", sa.Text, nullable=False),
    sa.Column("old_until_ns", sa.BigInteger, nullable=False),
    sa.Column("from_config", sa.Boolean, nullable=False),
    sa.Column("disabled", sa.Text, nullable=False),
    sa.Column("failing_since_ns", sa.BigInteger),
    sa.Column("delivered_ns", sa.BigInteger),
)

deliveries = sa.Table(
    "deliveries",
    db.metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column(
        "endpoint", sa.Text, sa.ForeignKey("endpoints.id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("message_id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("event", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("held", sa.Boolean, nullable=False),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("due_ns", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("ended_ns", sa.BigInteger),
    sa.UniqueConstraint("endpoint", "message_id"),
    sa.Index("deliveries_by_due", "endpoint", "state", "held", "due_ns"),
    sa.Index("deliveries_by_subject", "subject", "id"),
    sqlite_autoincrement=True,  # a number stands for one delivery, also after others were deleted
)

attempts = sa.Table(
    "delivery_attempts",
    db.metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column(
        "delivery", sa.Integer, sa.ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("took_ms", sa.Float, nullable=False),
    sa.Index("attempts_by_delivery", "delivery", "id"),
)


class EndpointRow(Struct, frozen=True, kw_only=True):
    """One endpoint with its secrets."""

    id: str
    name: str
    order: bytes
    secret: str
    old_secret: str = ""
    old_until_ns: int = 0
    """Wall time, as signatures are."""
    from_config: bool = False
    disabled: str = ""
    failing_since_ns: int | None = None
    delivered_ns: int | None = None


class DeliveryRow(Struct, frozen=True, kw_only=True):
    """One event for one endpoint."""

    id: int
    endpoint: str
    message_id: str
    type: str
    subject: str
    event: bytes
    state: DeliveryState
    held: bool
    """An earlier event of its subject waits before it."""
    created_ns: int
    due_ns: int
    attempts: int
    status: int | None
    error: str
    ended_ns: int | None


class AttemptRow(Struct, frozen=True, kw_only=True):
    """One request that was made."""

    at_ns: int
    status: int | None
    error: str
    took_ms: float


class Event(Struct, frozen=True, kw_only=True):
    """An event before it is written down for each endpoint."""

    message_id: str
    type: str
    subject: str
    event: bytes
    created_ns: int


class Note(Struct, frozen=True, kw_only=True):
    """What came of one attempt, to be written down."""

    delivery: DeliveryRow
    """As it is now."""
    attempt: AttemptRow


class HookStore:
    """This part of one gateway's records."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._ended = 0

    def endpoints(self) -> list[EndpointRow]:
        """Return all endpoints by name."""
        query = sa.select(*(endpoints.c[name] for name in EndpointRow.__struct_fields__))
        with db.transaction(self._engine, writes=False) as connection:
            return db.fetch(connection, EndpointRow, query.order_by(endpoints.c.name))

    def put_endpoint(self, row: EndpointRow) -> None:
        """Add an endpoint or replace it.

        Raises:
            Refused: another one has this name.
        """
        with db.transaction(self._engine, writes=True) as connection:
            db.put(connection, endpoints, asdict(row))

    def switch(self, row: EndpointRow, now_ns: int, missed: Sequence[Event] = ()) -> None:
        """Replace an endpoint that is disabled: what waits for it is given up; or enabled again.

        Args:
            row: the endpoint as it is now.
            now_ns: plant time.
            missed: what waits for it from now on, unless it has taken it.
        """
        with db.transaction(self._engine, writes=True) as connection:
            db.put(connection, endpoints, asdict(row))
            _give_up(connection, row, now_ns)
            for event in missed:
                _again(connection, event, row.id, now_ns)

    def unended(self, endpoint: str) -> set[str]:
        """Return the tickets that an endpoint was told of, or should have been, but not to the end.

        The end counts when it was taken. No more are returned than may wait for it.
        """
        subjects = sa.select(deliveries.c.subject).where(deliveries.c.endpoint == endpoint)
        taken = deliveries.c.state == DeliveryState.DELIVERED
        ended = subjects.where(taken, deliveries.c.type.in_(ENDS))
        begun = subjects.where(deliveries.c.type.in_(ABOUT_TICKETS))
        with db.transaction(self._engine, writes=False) as connection:
            return set(connection.execute(begun.except_(ended).limit(WAITING_MAX)).scalars())

    def delete_endpoint(self, endpoint: str) -> None:
        """Remove an endpoint with its deliveries."""
        with db.transaction(self._engine, writes=True) as connection:
            connection.execute(endpoints.delete().where(endpoints.c.id == endpoint))

    def tell(self, event: Event, to: Sequence[str]) -> None:
        """Write an event down for endpoints; one that is known there stays as it was."""
        if not to:
            return
        with db.transaction(self._engine, writes=True) as connection:
            for endpoint in to:
                _add(connection, event, endpoint)

    def turn(
        self,
        notes: Sequence[Note],
        changed: Sequence[EndpointRow],
        free: dict[str, int],
        now_ns: int,
    ) -> list[DeliveryRow]:
        """Write down what came of attempts, and return what is due now, in one transaction.

        Args:
            notes: of attempts that have ended.
            changed: endpoints whose health has changed.
            free: how many more may be sent to which endpoint.
            now_ns: plant time.
        """
        found: list[DeliveryRow] = []
        with db.transaction(self._engine, writes=bool(notes or changed)) as connection:
            for note in notes:
                _note(connection, note)
            for row in changed:
                health = {
                    n: getattr(row, n) for n in ("disabled", "failing_since_ns", "delivered_ns")
                }
                connection.execute(
                    endpoints.update().where(endpoints.c.id == row.id).values(health)
                )
                _give_up(connection, row, now_ns)
            self._ended += sum(note.delivery.state in ENDED for note in notes)
            if self._ended >= PRUNE_EVERY:
                self._ended = 0
                _prune(connection)
            for endpoint, limit in free.items():
                due = _waiting(endpoint).where(~deliveries.c.held, deliveries.c.due_ns <= now_ns)
                query = due.order_by(deliveries.c.due_ns, deliveries.c.id).limit(limit)
                found += db.fetch(connection, DeliveryRow, query)
        return found

    def next_due_ns(self, of: Sequence[str], now_ns: int) -> int | None:
        """Return when the next delivery to one of some endpoints comes due after now."""
        query = sa.select(sa.func.min(deliveries.c.due_ns)).where(
            deliveries.c.endpoint.in_(of),
            deliveries.c.state == DeliveryState.WAITING,
            ~deliveries.c.held,
            deliveries.c.due_ns > now_ns,
        )
        with db.transaction(self._engine, writes=False) as connection:
            found: int | None = connection.execute(query).scalar_one()
            return found

    def replay(self, delivery: int, now_ns: int) -> DeliveryRow | None:
        """Let a delivery that was given up wait again; None: it was not given up."""
        with db.transaction(self._engine, writes=True) as connection:
            query = _all().where(deliveries.c.id == delivery, deliveries.c.state.in_(GIVEN_UP))
            found = db.fetch(connection, DeliveryRow, query)
            if not found:
                return None
            _revive(connection, found[0], now_ns)
            return db.fetch(connection, DeliveryRow, _all().where(deliveries.c.id == delivery))[0]

    def delivery(self, delivery: int) -> DeliveryRow | None:
        """Return one delivery."""
        with db.transaction(self._engine, writes=False) as connection:
            found = db.fetch(connection, DeliveryRow, _all().where(deliveries.c.id == delivery))
        return found[0] if found else None

    def deliveries(
        self, endpoint: str = "", state: str = "", subject: str = "", limit: int = 100
    ) -> list[DeliveryRow]:
        """Return deliveries, newest first."""
        query = _all()
        given = {"endpoint": endpoint, "state": state, "subject": subject}
        for name, value in given.items():
            if value:
                query = query.where(deliveries.c[name] == value)
        with db.transaction(self._engine, writes=False) as connection:
            query = query.order_by(deliveries.c.id.desc()).limit(limit)
            return db.fetch(connection, DeliveryRow, query)

    def attempts(self, delivery: int) -> list[AttemptRow]:
        """Return the requests of one delivery, oldest first."""
        query = sa.select(*(attempts.c[name] for name in AttemptRow.__struct_fields__))
        query = query.where(attempts.c.delivery == delivery).order_by(attempts.c.id)
        with db.transaction(self._engine, writes=False) as connection:
            return db.fetch(connection, AttemptRow, query)

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many deliveries each endpoint has in each state."""
        by = (deliveries.c.endpoint, deliveries.c.state)
        query = sa.select(*by, sa.func.count()).group_by(*by)
        with db.transaction(self._engine, writes=False) as connection:
            return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def _all() -> sa.Select[*tuple[object, ...]]:
    return sa.select(*(deliveries.c[name] for name in DeliveryRow.__struct_fields__))


def _waits(endpoint: str) -> sa.ColumnElement[bool]:
    return (deliveries.c.endpoint == endpoint) & (deliveries.c.state == DeliveryState.WAITING)


def _waiting(endpoint: str) -> sa.Select[*tuple[object, ...]]:
    return _all().where(_waits(endpoint))


def _busy(connection: sa.Connection, endpoint: str, subject: str) -> bool:
    """Tell whether an event of the subject waits for the endpoint."""
    query = sa.select(deliveries.c.id).where(deliveries.c.subject == subject, _waits(endpoint))
    return connection.execute(query.limit(1)).first() is not None


def _add(connection: sa.Connection, event: Event, endpoint: str) -> None:
    count = connection.execute(sa.select(sa.func.count()).where(_waits(endpoint))).scalar_one()
    full = count >= WAITING_MAX
    row: dict[str, object] = asdict(event) | {
        "endpoint": endpoint,
        "state": DeliveryState.DROPPED if full else DeliveryState.WAITING,
        "held": not full and _busy(connection, endpoint, event.subject),
        "due_ns": event.created_ns,
        "attempts": 0,
        "error": f"{WAITING_MAX} events waited for this endpoint already" if full else "",
        "ended_ns": event.created_ns if full else None,
    }
    db.add(connection, deliveries, [row])


def _give_up(connection: sa.Connection, row: EndpointRow, now_ns: int) -> None:
    """Let nothing wait for an endpoint that is disabled."""
    if not row.disabled:
        return
    error = f"The endpoint was disabled: {row.disabled}"[:TEXT_MAX]
    values = {"state": DeliveryState.DEAD, "error": error, "ended_ns": now_ns}
    connection.execute(deliveries.update().where(_waits(row.id)).values(values))


def _again(connection: sa.Connection, event: Event, endpoint: str, now_ns: int) -> None:
    """Let an event wait for an endpoint that may know it, behind what waits of its subject."""
    known = (deliveries.c.endpoint == endpoint, deliveries.c.message_id == event.message_id)
    found = db.fetch(connection, DeliveryRow, _all().where(*known))
    if not found:
        _add(connection, event, endpoint)
    elif found[0].state in GIVEN_UP:
        _revive(connection, found[0], now_ns)


def _revive(connection: sa.Connection, row: DeliveryRow, now_ns: int) -> None:
    values = {
        "state": DeliveryState.WAITING,
        "held": _busy(connection, row.endpoint, row.subject),
        "due_ns": now_ns,
        "attempts": 0,
        "ended_ns": None,
    }
    connection.execute(deliveries.update().where(deliveries.c.id == row.id).values(values))


def _note(connection: sa.Connection, note: Note) -> None:
    now = note.delivery
    names = ("state", "due_ns", "attempts", "status", "error", "ended_ns")
    values = {name: getattr(now, name) for name in names} | {"error": now.error[:TEXT_MAX]}
    update = deliveries.update().where(deliveries.c.id == now.id).values(values)
    if connection.execute(update).rowcount == 0:
        return  # its endpoint was deleted while it was on its way
    row = asdict(note.attempt) | {"delivery": now.id, "error": note.attempt.error[:TEXT_MAX]}
    connection.execute(attempts.insert().values(row))
    if note.attempt.error:
        own = sa.select(attempts.c.id).where(attempts.c.delivery == now.id)
        kept = own.order_by(attempts.c.id.desc()).limit(ATTEMPTS_MAX)
        old = (attempts.c.delivery == now.id, attempts.c.id.not_in(kept))
        connection.execute(attempts.delete().where(*old))
    if now.state in ENDED:
        _release(connection, now)


def _release(connection: sa.Connection, ended: DeliveryRow) -> None:
    """Let the next event of the same subject go."""
    query = _waiting(ended.endpoint).where(deliveries.c.subject == ended.subject)
    following = db.fetch(connection, DeliveryRow, query.order_by(deliveries.c.id).limit(1))
    for row in following:
        due_ns = ended.ended_ns or row.due_ns
        update = deliveries.update().where(deliveries.c.id == row.id)
        connection.execute(update.values(held=False, due_ns=due_ns))


def _prune(connection: sa.Connection) -> None:
    """Keep the newest of what has ended."""
    ended = deliveries.c.state.in_(ENDED)
    newest = sa.select(deliveries.c.id).where(ended).order_by(deliveries.c.id.desc())
    oldest = connection.execute(newest.offset(ENDED_MAX).limit(1)).scalar()
    if oldest is not None:
        connection.execute(deliveries.delete().where(ended, deliveries.c.id <= oldest))
