"""Checkpoints of detectors lie in the workers' journals."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the table, and the sums that belonged to it."""
    op.drop_table("checkpoints")
    op.execute("DELETE FROM models WHERE name LIKE 'hour/%' OR name LIKE 'day/%'")
