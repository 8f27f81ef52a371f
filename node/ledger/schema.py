"""The tables: instance, study, work, hold, delivery, procedure_step, commitment, pledge, circuit, host, store, waste, audit.

Times are UTC and end in ``_at``; they are read from the database's clock, never from ours. States are CHECK constraints made from
the transition tables in ``node.core.states``.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from node.core.states import CIRCUIT, COMMITMENT, DELIVERY, PLEDGE, STEP, STUDY, WORK, Transitions, states_of

_NAMES = {"ix": "ix_%(table_name)s_%(column_0_N_name)s", "ck": "ck_%(table_name)s_%(constraint_name)s", "pk": "pk_%(table_name)s"}
metadata = sa.MetaData(naming_convention=_NAMES)


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
#: Work that the engine knows nothing of yet, and work that it or a worker has.
WAITING, IN_HAND = "state = 'queued' AND handed_at IS NULL", "handed_at IS NOT NULL"

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
    sa.Column("called_ae", sa.String(16)),  # not known of what came before this was kept
    sa.Column("quarantined", sa.String(64)),  # a code: it is kept apart from its study, and nothing is made of it
    sa.Column("purged_at", UtcDateTime),  # its bytes are gone, by a rule
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
    sa.Column("calling_ae", sa.String(16)),  # of the instance that opened it
    sa.Column("patient_id", sa.String(64)),  # of the first instance; whatever comes of another patient is kept apart
    sa.Column("longest_pause_s", sa.Float),  # between two arrivals; of a revision that a late instance opened, before it too
    _in_states(STUDY),
    sa.Index(None, "state", "last_activity_at"),
    sa.Index(None, "calling_ae", "completed_at"),
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
    sa.Column("source", sa.String(16)),  # the calling AE that opened the study
    sa.Column("priority_reason", sa.Text),
    sa.Column("rank", sa.BigInteger),  # where it stands among all that waits; the smaller is sooner
    sa.Column("lane", sa.String(80)),  # the part of its line in which it waits, see node.ledger.schedule
    sa.Column("due_at", UtcDateTime),  # not to be begun before
    sa.Column("handed_at", UtcDateTime),  # to the engine; NULL while it waits here, and when it is settled
    sa.Column("device", sa.String(96)),  # on which a job was begun
    sa.Column("stacks", sa.JSON(none_as_null=True)),  # of each series; NULL when all are single ones
    sa.CheckConstraint("kind IN ('infer', 'deliver')", name="kind"),
    sa.CheckConstraint("(kind = 'deliver') = (destination IS NOT NULL)", name="destination"),
    _in_states(WORK),
    sa.Index(None, "state", "kind"),
    sa.Index(None, "study_instance_uid", "revision"),
    sa.Index(None, "job_id"),
    sa.Index("ix_work_waiting", "kind", "lane", "rank", sqlite_where=sa.text(WAITING), postgresql_where=sa.text(WAITING)),
    sa.Index("ix_work_in_hand", "kind", "lane", sqlite_where=sa.text(IN_HAND), postgresql_where=sa.text(IN_HAND)),
)

hold = sa.Table(  # what operators have stopped
    "hold",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(48), primary_key=True),  # empty: everything
    sa.Column("by", sa.String(160), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("held_at", UtcDateTime, nullable=False),
    sa.CheckConstraint("kind IN ('destination', 'everything', 'pipeline')", name="kind"),
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
    sa.Column("confirmed_at", UtcDateTime),
    sa.Column("losses", sa.Integer, nullable=False, server_default="0"),  # how often it was found lost behind a Success
    sa.Column("purged_at", UtcDateTime),  # likewise
    _in_states(DELIVERY),
    sa.Index(None, "work_id"),
)

procedure_step = sa.Table(  # one row for each study that the step was scheduled for, which is almost always one
    "procedure_step",
    metadata,
    sa.Column("sop_instance_uid", _uid, primary_key=True),
    sa.Column("study_instance_uid", _uid, primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("calling_ae", sa.String(16), nullable=False),
    sa.Column("station_ae", sa.String(16), nullable=False),
    sa.Column("modality", sa.String(16), nullable=False),
    sa.Column("performed", sa.JSON, nullable=False),  # Series Instance UID -> SOP Instance UIDs
    sa.Column("started", sa.String(34), nullable=False),  # by the modality's clock, as it wrote it
    sa.Column("ended", sa.String(34), nullable=False),
    sa.Column("reason_code", sa.String(80), nullable=False),
    sa.Column("reason", sa.String(64), nullable=False),
    sa.Column("association_id", sa.String(36), nullable=False),  # the latest that spoke of it
    sa.Column("request_id", sa.String(36), nullable=False),  # likewise, so that a COMMIT in doubt is not repeated
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime),
    _in_states(STEP),
    sa.Index(None, "study_instance_uid"),
)

commitment = sa.Table(
    "commitment",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("transaction_uid", _uid, nullable=False),
    sa.Column("calling_ae", sa.String(16), nullable=False),
    sa.Column("called_ae", sa.String(16), nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("association_id", sa.String(36), nullable=False),
    sa.Column("referenced", sa.JSON, nullable=False),  # [SOP Class UID, SOP Instance UID] of each
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("result", sa.JSON(none_as_null=True)),  # of each, in the same order: its failure reason, 0 when it is committed
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("lease_token", sa.String(160)),
    sa.Column("lease_until_at", UtcDateTime),
    sa.Column("asked_at", UtcDateTime, nullable=False),
    sa.Column("due_at", UtcDateTime, nullable=False),
    sa.Column("reported_at", UtcDateTime),
    sa.Column("code", sa.String(64)),
    sa.Column("reason", sa.Text),
    _in_states(COMMITMENT),
    sa.Index(None, "state", "due_at"),
    sa.Index(None, "calling_ae", "transaction_uid"),
)

pledge = sa.Table(  # what we asked a destination to commit itself to
    "pledge",
    metadata,
    sa.Column("transaction_uid", _uid, primary_key=True),
    sa.Column("work_id", sa.String(128), nullable=False),
    sa.Column("destination", sa.String(48), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),  # of the parcel; 0 of one that was replayed since
    sa.Column("referenced", sa.JSON, nullable=False),  # SOP Instance UIDs
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("failed", sa.JSON(none_as_null=True)),  # SOP Instance UID -> failure reason, of what it does not answer for
    sa.Column("asked_at", UtcDateTime, nullable=False),
    sa.Column("reported_at", UtcDateTime),
    sa.Column("reason", sa.Text),
    _in_states(PLEDGE),
    sa.Index(None, "work_id"),
)

circuit = sa.Table(
    "circuit",
    metadata,
    sa.Column("destination", sa.String(48), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),  # in a row
    sa.Column("opened_at", UtcDateTime),
    sa.Column("probe_at", UtcDateTime),  # when one may try
    sa.Column("reason", sa.Text),
    _in_states(CIRCUIT),
)

host = sa.Table(  # who uses this ledger; with SQLite it may be one at a time
    "host",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("boot", sa.String(36), nullable=False),  # two names of one boot are two containers of one machine
    sa.Column("first_at", UtcDateTime, nullable=False),
    sa.Column("lease_until_at", UtcDateTime, nullable=False),
)

store = sa.Table(  # one row: where the bytes of this ledger lie
    "store",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),  # is written there as well
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("place", sa.String(255), nullable=False),
    sa.Column("first_at", UtcDateTime, nullable=False),
)

waste = sa.Table(  # keys that the ledger has forgotten and whose bytes are still to go
    "waste",
    metadata,
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("since_at", UtcDateTime, nullable=False),
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
