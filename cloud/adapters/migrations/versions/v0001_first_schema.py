"""The first schema."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Kind = type[sa.types.TypeEngine[Any]]


def _column(name: str, kind: Kind, *, key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=key, nullable=False)


def _cases() -> None:
    op.create_table(
        "cases",
        _column("case_id", sa.Text, key=True),
        _column("device", sa.Text),
        _column("phase", sa.Text),
        _column("open", sa.Boolean),
        _column("opened_ns", sa.BigInteger),
        _column("updated_ns", sa.BigInteger),
        _column("version", sa.Integer),
        _column("data", sa.LargeBinary),
    )
    op.create_index("cases_by_opened", "cases", ["opened_ns"])
    op.create_index(
        "one_open_case_per_device",
        "cases",
        ["device"],
        unique=True,
        sqlite_where=sa.text("open"),
        postgresql_where=sa.text("open"),
    )
    op.create_table(
        "timeline",
        _column("id", sa.Integer, key=True),
        sa.Column("case_id", sa.Text, sa.ForeignKey("cases.case_id"), nullable=False),
        _column("at_ns", sa.BigInteger),
        _column("kind", sa.Text),
        _column("text", sa.Text),
        _column("data", sa.LargeBinary),
    )
    op.create_index("timeline_by_case", "timeline", ["case_id", "id"])


def _outbox() -> None:
    op.create_table(
        "outbox",
        _column("id", sa.Integer, key=True),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("case_id", sa.Text, sa.ForeignKey("cases.case_id"), nullable=False),
        _column("kind", sa.Text),
        _column("payload", sa.LargeBinary),
        _column("due_ns", sa.BigInteger),
        _column("attempts", sa.Integer),
        _column("last_error", sa.Text),
        _column("state", sa.Text),
        sa.Column("ended_ns", sa.BigInteger),
    )
    op.create_index("outbox_by_due", "outbox", ["state", "due_ns"])
    op.create_index("outbox_by_case", "outbox", ["case_id"])


def _records() -> None:
    op.create_table(
        "assets",
        _column("device", sa.Text, key=True),
        *(
            _column(n, sa.Text)
            for n in ("site", "machine_type", "title", "serial", "address", "tier")
        ),
    )
    op.create_table(
        "tickets",
        _column("key", sa.Text, key=True),
        _column("body", sa.LargeBinary),
        _column("opened_ns", sa.BigInteger),
    )
    op.create_index("tickets_by_opened", "tickets", ["opened_ns"])
    op.create_table(
        "labels",
        _column("case", sa.Text, key=True),
        _column("source", sa.Text, key=True),
        _column("to_ns", sa.BigInteger),
        _column("data", sa.LargeBinary),
    )


def _rest() -> None:
    op.create_table(
        "quarantine",
        _column("id", sa.Integer, key=True),
        _column("topic", sa.Text),
        _column("payload", sa.LargeBinary),
        _column("reason", sa.Text),
        _column("at_ns", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "checkpoints",
        _column("device", sa.Text, key=True),
        _column("position", sa.BigInteger),
        _column("data", sa.LargeBinary),
    )
    op.create_table(
        "releases",
        _column("machine_type", sa.Text, key=True),
        _column("version", sa.Text, key=True),
        _column("data", sa.LargeBinary),
        _column("image", sa.LargeBinary),
    )


def upgrade() -> None:
    """Make all tables."""
    _cases()
    _outbox()
    _records()
    _rest()
