"""Performed procedure steps."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "procedure_step",
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("station_ae", sa.String(length=16), nullable=False),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("performed", sa.JSON(), nullable=False),
        sa.Column("started", sa.String(length=34), nullable=False),
        sa.Column("ended", sa.String(length=34), nullable=False),
        sa.Column("reason_code", sa.String(length=80), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("association_id", sa.String(length=36), nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('COMPLETED', 'DISCONTINUED', 'IN PROGRESS')", name=op.f("ck_procedure_step_state")),
        sa.PrimaryKeyConstraint("sop_instance_uid", "study_instance_uid", name=op.f("pk_procedure_step")),
    )
    op.create_index(op.f("ix_procedure_step_study_instance_uid"), "procedure_step", ["study_instance_uid"], unique=False)
