"""What is known of a delivery behind its destination's Success, and what destinations were asked."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_STATES = "state IN ('committed', 'found', 'refused', 'sending', 'sent', 'shadow', 'waiting')"
_VIEW = """
CREATE VIEW delivered AS
SELECT w.study_instance_uid, w.revision, w.pipeline, d.destination, d.kind, d.sop_instance_uid, d.state,
  CASE d.state
    WHEN 'committed' THEN 'confirmed by storage commitment'
    WHEN 'found' THEN 'confirmed by query'
    WHEN 'sent' THEN 'sent, not confirmed'
    WHEN 'refused' THEN 'not delivered'
    ELSE 'on its way'
  END AS evidence,
  d.attempts, d.losses, d.owed_at, d.sent_at, d.confirmed_at, d.reason, d.work_id
FROM delivery d JOIN work w ON w.id = d.work_id
"""


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("delivery") as batch:
        batch.drop_constraint(op.f("ck_delivery_state"), type_="check")
        batch.create_check_constraint(op.f("ck_delivery_state"), _STATES)
        batch.add_column(sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True))
        batch.add_column(sa.Column("losses", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "pledge",
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("work_id", sa.String(length=128), nullable=False),
        sa.Column("destination", sa.String(length=48), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("referenced", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("failed", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('asked', 'asking', 'expired', 'reported')", name=op.f("ck_pledge_state")),
        sa.PrimaryKeyConstraint("transaction_uid", name=op.f("pk_pledge")),
    )
    op.create_index(op.f("ix_pledge_work_id"), "pledge", ["work_id"], unique=False)
    op.create_table(
        "circuit",
        sa.Column("destination", sa.String(length=48), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("probe_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('closed', 'open', 'probing')", name=op.f("ck_circuit_state")),
        sa.PrimaryKeyConstraint("destination", name=op.f("pk_circuit")),
    )
    op.execute(_VIEW)
