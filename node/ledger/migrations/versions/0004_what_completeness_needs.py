"""What is needed to judge a study: which title an instance was sent to, who sent the study, whose it is, and its longest pause."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply."""
    op.add_column("instance", sa.Column("called_ae", sa.String(length=16), nullable=True))
    op.add_column("instance", sa.Column("quarantined", sa.String(length=64), nullable=True))
    op.add_column("study", sa.Column("calling_ae", sa.String(length=16), nullable=True))
    op.add_column("study", sa.Column("patient_id", sa.String(length=64), nullable=True))
    op.add_column("study", sa.Column("longest_pause_s", sa.Float(), nullable=True))
    op.create_index(op.f("ix_study_calling_ae_completed_at"), "study", ["calling_ae", "completed_at"], unique=False)
