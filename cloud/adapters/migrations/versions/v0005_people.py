"""People, sessions and tokens; the audit log becomes a chain."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Kind = type[sa.types.TypeEngine[Any]]


def _column(name: str, kind: Kind, *, key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=key, nullable=False)


def upgrade() -> None:
    """Make the tables. Assets come from the settings at each start."""
    op.execute("DELETE FROM assets")
    for name in ("customer", "time_zone"):
        op.add_column("assets", sa.Column(name, sa.Text, nullable=False))
    # lines from before have no hash: the chain begins with the next one
    op.add_column("audit", sa.Column("hash", sa.Text))
    _people()
    _tokens()


def _people() -> None:
    op.create_table(
        "people",
        _column("name", sa.Text, key=True),
        *(_column(name, sa.Text) for name in ("role", "password_hash", "subject")),
        _column("disabled", sa.Boolean),
        _column("language", sa.Text),
        sa.Column("last_ns", sa.BigInteger),
    )
    op.create_table(
        "sessions",
        _column("hash", sa.Text, key=True),
        sa.Column("name", sa.Text, sa.ForeignKey("people.name"), nullable=False),
        _column("made_ns", sa.BigInteger),
        _column("seen_ns", sa.BigInteger),
    )


def _tokens() -> None:
    op.create_table(
        "tokens",
        _column("name", sa.Text, key=True),
        _column("role", sa.Text),
        sa.Column("hash", sa.Text, nullable=False, unique=True),
        _column("made_ns", sa.BigInteger),
        sa.Column("last_ns", sa.BigInteger),
    )
