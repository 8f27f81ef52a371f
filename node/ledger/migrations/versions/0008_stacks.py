"""Which stack of each of its series a job is about."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Apply."""
    op.add_column("work", sa.Column("stacks", sa.JSON(), nullable=True))
