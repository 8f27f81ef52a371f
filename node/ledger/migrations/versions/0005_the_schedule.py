"""What the schedule needs: where work stands among all that waits, what operators have stopped, and results that are kept in shadow."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_STATES = "state IN ('committed', 'refused', 'sending', 'sent', 'shadow', 'waiting')"


def upgrade() -> None:
    """Apply."""
    op.add_column("work", sa.Column("source", sa.String(length=16), nullable=True))
    op.add_column("work", sa.Column("priority_reason", sa.Text(), nullable=True))
    op.add_column("work", sa.Column("rank", sa.BigInteger(), nullable=True))
    op.add_column("work", sa.Column("lane", sa.String(length=80), nullable=True))
    op.add_column("work", sa.Column("due_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("work", sa.Column("handed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("work", sa.Column("device", sa.String(length=96), nullable=True))
    # What is under way was handed to the engine already, in its order; all of it goes before what comes now.
    op.execute("UPDATE work SET lane = coalesce(destination, pipeline || '|'), rank = 0")
    op.execute("UPDATE work SET handed_at = queued_at WHERE state IN ('queued', 'running')")
    waiting = sa.text("state = 'queued' AND handed_at IS NULL")
    op.create_index("ix_work_waiting", "work", ["kind", "lane", "rank"], sqlite_where=waiting, postgresql_where=waiting)
    in_hand = sa.text("handed_at IS NOT NULL")
    op.create_index("ix_work_in_hand", "work", ["kind", "lane"], sqlite_where=in_hand, postgresql_where=in_hand)
    op.create_table(
        "hold",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=48), nullable=False),
        sa.Column("by", sa.String(length=160), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('destination', 'everything', 'pipeline')", name=op.f("ck_hold_kind")),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_hold")),
    )
    with op.batch_alter_table("delivery") as batch:
        batch.drop_constraint(op.f("ck_delivery_state"), type_="check")
        batch.create_check_constraint(op.f("ck_delivery_state"), _STATES)
