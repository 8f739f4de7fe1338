"""Messages to customers and their answers."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "customer_messages",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        *_texts("customer", "case_id", "moment", "title", "text"),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("due_ns", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        *_texts("state", "error"),
        sa.Column("reached", sa.JSON, nullable=False),
    )
    op.create_index("customer_messages_by_due", "customer_messages", ["state", "due_ns"])
    op.create_index("customer_messages_by_case", "customer_messages", ["case_id"])
    op.create_table(
        "customer_ratings",
        sa.Column("case_id", sa.Text, primary_key=True),
        *_texts("customer"),
        sa.Column("stars", sa.Integer, nullable=False),
        *_texts("text"),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "customer_opt_outs",
        sa.Column("customer", sa.Text, primary_key=True),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
    )
