"""What the gateway has learnt: labels and saved models.

A label and the models that have learnt it are saved in one transaction: after any crash a label
that is there was learnt, and one that is not was not. Rows and errors are as in
`cloud.adapters.store`.
"""

from collections.abc import Mapping

import msgspec
import sqlalchemy as sa

from cloud.adapters import database as db
from contract.tickets import Label

LABELS_MAX = 10_000
"""So many labels are read at most, the newest: no model keeps as many."""


class Memory:
    """The learnt part of one gateway's records."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def put_label(self, label: Label, models: Mapping[str, bytes]) -> None:
        """Keep a confirmed answer; a later one from the same source corrects it.

        Args:
            label: the answer.
            models: saved states, by name, that have learnt it.
        """
        data = msgspec.json.encode(label)
        row = {"case": label.case, "source": label.source, "to_ns": label.to_ns, "data": data}
        with db.transaction(self._engine, writes=True) as connection:
            db.put(connection, db.labels, row)
            _put_models(connection, models)

    def label(self, case: str, source: str) -> Label | None:
        """Return one confirmed answer."""
        query = sa.select(db.labels.c.data).filter_by(case=case, source=source)
        with db.transaction(self._engine, writes=False) as connection:
            data = connection.execute(query).scalar_one_or_none()
        return None if data is None else msgspec.json.decode(data, type=Label)

    def labels(self) -> list[Label]:
        """Return confirmed answers, oldest first; at most the newest `LABELS_MAX`."""
        table = db.labels.c
        order = (table.to_ns, table.case, table.source)
        newest = sa.select(table.data).order_by(*(c.desc() for c in order)).limit(LABELS_MAX)
        with db.transaction(self._engine, writes=False) as connection:
            found = connection.execute(newest).scalars().all()
        return [msgspec.json.decode(data, type=Label) for data in reversed(found)]

    def put_models(self, models: Mapping[str, bytes]) -> None:
        """Keep saved states by name, all or none."""
        with db.transaction(self._engine, writes=True) as connection:
            _put_models(connection, models)

    def model(self, name: str) -> bytes | None:
        """Return a saved state."""
        query = sa.select(db.models.c.data).filter_by(name=name)
        with db.transaction(self._engine, writes=False) as connection:
            found: bytes | None = connection.execute(query).scalar_one_or_none()
        return found


def _put_models(connection: sa.Connection, models: Mapping[str, bytes]) -> None:
    for name, data in models.items():
        db.put(connection, db.models, {"name": name, "data": data})
