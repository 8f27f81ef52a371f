"""The five tables: instance, study, work, delivery, audit.

Times are UTC and end in ``_at``; they are read from the database's clock, never from ours. States are CHECK constraints made from
the transition tables in ``node.core.states``.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from node.core.states import DELIVERY, STUDY, WORK, Transitions, states_of

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware datetime in UTC: timestamp with time zone in PostgreSQL, sortable text in SQLite."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse naive times, which mean something else on every machine."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without its zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Give SQLite's naive times their zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _in_states(table: Transitions) -> sa.CheckConstraint:
    states = ", ".join(f"'{state}'" for state in states_of(table))
    return sa.CheckConstraint(f"state IN ({states})", name="state")


_uid = sa.String(64)

instance = sa.Table(
    "instance",
    metadata,
    sa.Column("sop_instance_uid", _uid, primary_key=True),
    sa.Column("sop_class_uid", _uid, nullable=False),
    sa.Column("transfer_syntax_uid", _uid, nullable=False),
    sa.Column("series_instance_uid", _uid, nullable=False),
    sa.Column("study_instance_uid", _uid, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("patient_id", sa.String(64), nullable=False),
    sa.Column("modality", sa.String(16), nullable=False),
    sa.Column("key", sa.String(255), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("calling_ae", sa.String(16), nullable=False),
    sa.Column("association_id", sa.String(36), nullable=False),
    sa.Column("received_at", UtcDateTime, nullable=False),
    sa.Column("duplicates", sa.Integer, nullable=False, default=0),
    sa.Index(None, "study_instance_uid", "series_instance_uid"),
)

study = sa.Table(
    "study",
    metadata,
    sa.Column("study_instance_uid", _uid, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("instances", sa.Integer, nullable=False),
    sa.Column("opened_at", UtcDateTime, nullable=False),
    sa.Column("last_activity_at", UtcDateTime, nullable=False),
    sa.Column("completed_at", UtcDateTime),
    sa.Column("processed_at", UtcDateTime),
    sa.Column("evidence", sa.JSON),
    _in_states(STUDY),
    sa.Index(None, "state", "last_activity_at"),
)

work = sa.Table(
    "work",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("node_ae", sa.String(16), nullable=False),
    sa.Column("study_instance_uid", _uid, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("pipeline", sa.String(48), nullable=False),
    sa.Column("model_digest", sa.String(64), nullable=False),
    sa.Column("series_instance_uids", sa.JSON, nullable=False),
    sa.Column("input_sha256", sa.String(64), nullable=False),
    sa.Column("job_id", sa.String(36), nullable=False),  # of a parcel: the job whose objects it brings
    sa.Column("destination", sa.String(48)),  # of a parcel only
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("dispatch", sa.Integer, nullable=False),  # how often it was handed to the engine; an older hand-over claims nothing
    sa.Column("crashes", sa.Integer, nullable=False, default=0),
    sa.Column("lease_token", sa.String(160)),
    sa.Column("lease_until_at", UtcDateTime),
    sa.Column("queued_at", UtcDateTime, nullable=False),
    sa.Column("started_at", UtcDateTime),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("code", sa.String(64)),
    sa.Column("reason", sa.Text),
    sa.Column("summary", sa.JSON),
    sa.CheckConstraint("kind IN ('infer', 'deliver')", name="kind"),
    sa.CheckConstraint("(kind = 'deliver') = (destination IS NOT NULL)", name="destination"),
    _in_states(WORK),
    sa.Index(None, "state", "kind"),
    sa.Index(None, "study_instance_uid", "revision"),
    sa.Index(None, "job_id"),
)

delivery = sa.Table(
    "delivery",
    metadata,
    sa.Column("sop_instance_uid", _uid, primary_key=True),
    sa.Column("destination", sa.String(48), primary_key=True),
    sa.Column("work_id", sa.String(128), nullable=False),
    sa.Column("job_id", sa.String(36), nullable=False),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("sop_class_uid", _uid, nullable=False),
    sa.Column("series_instance_uid", _uid, nullable=False),
    sa.Column("key", sa.String(255), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("dimse_status", sa.Integer),
    sa.Column("reason", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("owed_at", UtcDateTime, nullable=False),
    sa.Column("sent_at", UtcDateTime),
    _in_states(DELIVERY),
    sa.Index(None, "work_id"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),  # gapless: set by the writer, who holds the lock
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("event", sa.String(48), nullable=False),
    sa.Column("actor", sa.String(160), nullable=False),
    sa.Column("association_id", sa.String(36)),
    sa.Column("study_instance_uid", _uid),
    sa.Column("revision", sa.Integer),
    sa.Column("series_instance_uid", _uid),
    sa.Column("sop_instance_uid", _uid),
    sa.Column("work_id", sa.String(128)),
    sa.Column("destination", sa.String(48)),
    sa.Column("code", sa.String(64)),
    sa.Column("detail", sa.JSON, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index(None, "study_instance_uid"),
    sa.Index(None, "association_id"),
    sa.Index(None, "event"),
)
