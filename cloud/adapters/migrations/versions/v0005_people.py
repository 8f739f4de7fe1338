"""People, sessions and tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables. Assets come from the settings at each start."""
    op.execute("DELETE FROM assets")
    for name in ("customer", "time_zone"):
        op.add_column("assets", sa.Column(name, sa.Text, nullable=False))
