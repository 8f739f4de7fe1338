"""Measurements for dashboards: what they are made from in the database, and their lines.

Only an InfluxDB takes them; beside another store a gateway writes none.
"""

import math

import sqlalchemy as sa
from msgspec import Struct

from cloud.adapters import database as db
from cloud.adapters.store import OutboxState
from cloud.core.measured import NONE, TEXT_MAX, Note, Point


class Boxes(Struct, frozen=True):
    """How many effects wait or were given up, and how many messages were ever quarantined."""

    waiting: int
    dead: int
    quarantined: int


def notes(engine: sa.Engine, after: int, limit: int) -> list[Note]:
    """Return lines of the timeline behind one of them, in their order.

    Raises:
        Unreachable: the database does not answer.
    """
    line = db.timeline.c
    query = (
        sa.select(line.id, line.case_id, line.at_ns, line.kind, line.text)
        .where(line.id > after)
        .order_by(line.id)
        .limit(limit)
    )
    with db.transaction(engine, writes=False) as connection:
        return [Note(*row) for row in connection.execute(query)]


def before(engine: sa.Engine, at_ns: int) -> int:
    """Return the number of the newest line of the timeline that is older; 0: there is none.

    Raises:
        Unreachable: the database does not answer.
    """
    line = db.timeline.c
    query = sa.select(line.id).where(line.at_ns < at_ns).order_by(line.id.desc()).limit(1)
    with db.transaction(engine, writes=False) as connection:
        return connection.execute(query).scalar_one_or_none() or 0


def boxes(engine: sa.Engine) -> Boxes:
    """Count what waits.

    Raises:
        Unreachable: the database does not answer.
    """
    state = db.outbox.c.state
    counts = sa.select(state, sa.func.count()).where(state != OutboxState.DONE).group_by(state)
    newest = sa.select(sa.func.max(db.quarantine.c.id))  # its numbers are never used again
    with db.transaction(engine, writes=False) as connection:
        found = {str(name): int(count) for name, count in connection.execute(counts)}
        quarantined = connection.execute(newest).scalar_one() or 0
    waiting, dead = found.get(OutboxState.PENDING, 0), found.get(OutboxState.DEAD, 0)
    return Boxes(waiting, dead, quarantined)


def encode(point: Point) -> bytes:
    """Return a point as a line of the line protocol, without numbers that are none."""
    tags = "".join(f",{name}={_tag(value)}" for name, value in sorted(point.tags.items()))
    fields = ",".join(
        f"{name}={_value(value)}"
        for name, value in point.fields.items()
        if isinstance(value, str) or (value is not None and math.isfinite(value))
    )
    return f"{point.measurement}{tags} {fields} {point.time_ns}".encode()


def _tag(value: str) -> str:
    plain = _plain(value).replace("\\", "/")
    return plain.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ") or NONE


def _value(value: float | str) -> str:
    if isinstance(value, str):
        escaped = _plain(value).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return repr(float(value))


def _plain(text: str) -> str:
    """Return a text on one line that no dashboard takes for markup."""
    shown = text[:TEXT_MAX].replace("<", "\u2039").replace(">", "\u203a")
    clean = "".join(c if c.isprintable() else " " for c in shown).strip()
    return clean.encode(errors="replace").decode()
