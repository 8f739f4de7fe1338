"""The value ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    texts = ("case_id", "device", "site", "machine_type", "tier", "kind")
    more = ("currency", "text", "reverses")
    op.create_table(
        "ledger",
        sa.Column("key", sa.Text, primary_key=True, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("count", sa.Double, nullable=False),
        sa.Column("amount", sa.Double),
        sa.Column("assumptions", sa.JSON, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in more),
    )
    op.create_index("ledger_by_time", "ledger", ["at_ns"])
    op.create_index("ledger_by_case", "ledger", ["case_id"])
