"""Which hosts use the ledger, where its bytes lie, and which of them were purged."""

import sqlalchemy as sa
from alembic import op

from node.ledger.schema import UtcDateTime

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "host",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("boot", sa.String(length=36), nullable=False),
        sa.Column("first_at", UtcDateTime(), nullable=False),
        sa.Column("lease_until_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_host")),
    )
    op.create_table(
        "store",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("place", sa.String(length=255), nullable=False),
        sa.Column("first_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_store")),
    )
    op.create_table(
        "waste",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("since_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_waste")),
    )
    op.add_column("instance", sa.Column("purged_at", UtcDateTime(), nullable=True))
    op.add_column("delivery", sa.Column("purged_at", UtcDateTime(), nullable=True))
