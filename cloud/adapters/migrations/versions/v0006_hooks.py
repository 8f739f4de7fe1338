"""Webhook endpoints and deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _endpoints()
    _deliveries()


def _endpoints() -> None:
    op.create_table(
        "endpoints",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
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


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer, primary_key=True, nullable=False),
        sa.Column(
            "endpoint",
            sa.Text,
            sa.ForeignKey("endpoints.id", ondelete="CASCADE"),
            nullable=False,
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
        sqlite_autoincrement=True,
    )
    op.create_index("deliveries_by_due", "deliveries", ["endpoint", "state", "held", "due_ns"])
    op.create_index("deliveries_by_subject", "deliveries", ["subject", "id"])
    op.create_table(
        "delivery_attempts",
        sa.Column("id", sa.Integer, primary_key=True, nullable=False),
        sa.Column(
            "delivery",
            sa.Integer,
            sa.ForeignKey("deliveries.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("took_ms", sa.Float, nullable=False),
    )
    op.create_index("attempts_by_delivery", "delivery_attempts", ["delivery", "id"])
