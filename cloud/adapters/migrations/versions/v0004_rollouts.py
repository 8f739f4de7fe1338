"""Releases become a signed repository; rollouts, devices' records and the audit log."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Kind = type[sa.types.TypeEngine[Any]]


def _column(name: str, kind: Kind, *, key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=key, nullable=False)


def upgrade() -> None:
    """Make the tables. Assets come from the settings at each start."""
    op.drop_table("releases")
    op.create_table(
        "repository", _column("name", sa.Text, key=True), _column("data", sa.LargeBinary)
    )
    _assets()
    _rollouts()
    _devices()
    _audit()


def _assets() -> None:
    op.drop_table("assets")
    texts = ("site", "machine_type", "title", "serial", "address", "tier")
    op.create_table(
        "assets",
        _column("device", sa.Text, key=True),
        *(_column(name, sa.Text) for name in texts),
        _column("labels", sa.JSON),
        _column("hardware", sa.Integer),
    )


def _rollouts() -> None:
    op.create_table(
        "rollouts",
        _column("number", sa.Integer, key=True),
        _column("phase", sa.Text),
        _column("open", sa.Boolean),
        _column("data", sa.LargeBinary),
    )
    op.create_table(
        "updates",
        sa.Column(
            "number",
            sa.Integer,
            sa.ForeignKey("rollouts.number"),
            primary_key=True,
            nullable=False,
        ),
        _column("device", sa.Text, key=True),
        _column("phase", sa.Text),
        _column("active", sa.Boolean),
        _column("data", sa.LargeBinary),
    )
    op.create_index(
        "one_active_update_per_device",
        "updates",
        ["device"],
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    )


def _devices() -> None:
    op.create_table(
        "devices",
        _column("device", sa.Text, key=True),
        _column("token_hash", sa.Text),
        _column("attributes", sa.JSON),
        _column("hardware", sa.Integer),
        _column("quarantined", sa.Text),
        _column("failures", sa.Integer),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        _column("id", sa.Integer, key=True),
        _column("at_ns", sa.BigInteger),
        *(_column(name, sa.Text) for name in ("by", "what", "text", "device")),
        _column("rollout", sa.Integer),
    )
    op.create_index("audit_by_rollout", "audit", ["rollout", "id"])
    op.create_index("audit_by_device", "audit", ["device", "id"])
