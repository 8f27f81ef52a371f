"""Studies: open while instances come, complete when the evidence says so, processed when every job has ended."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime, timedelta

import sqlalchemy as sa

from node.core.states import STUDY, follow
from node.core.study import Evidence, Study
from node.ledger import schema
from node.ledger.audit import record
from node.ledger.engine import Transaction, database_now

_STUDY_FIELDS = ("study_instance_uid", "revision", "state", "instances", "last_activity_at")


def receive(tx: Transaction, study_instance_uid: str, at: datetime, count: int = 1) -> int:
    """Count instances into the study's open revision and return that revision.

    A study that was complete already gets a new revision: what was judged stays as it was judged.
    """
    latest = _latest(tx, study_instance_uid)
    if latest is not None and latest.state == "open":
        follow(STUDY, latest.state, "instance")
        values = {"instances": schema.study.c.instances + count, "last_activity_at": at}
        tx.execute(schema.study.update().where(_is(study_instance_uid, latest.revision)).values(**values))
        return int(latest.revision)
    revision = latest.revision + 1 if latest else 1
    row = {"study_instance_uid": study_instance_uid, "revision": revision, "state": "open", "instances": count}
    tx.execute(schema.study.insert().values(**row, opened_at=at, last_activity_at=at))
    record(tx, "study.opened" if revision == 1 else "study.reopened", study_instance_uid=study_instance_uid, revision=revision)
    return revision


def hold_open(tx: Transaction, study_instance_uids: Collection[str]) -> None:
    """Renew the activity of studies whose association is still open, so that no sweep on any machine completes them."""
    if study_instance_uids:
        mine = schema.study.c.study_instance_uid.in_(study_instance_uids) & (schema.study.c.state == "open")
        tx.execute(schema.study.update().where(mine).values(last_activity_at=database_now(tx)))


def hold_all_open(tx: Transaction) -> None:
    """Let the quiet time of every open study begin anew: the port was closed, so that nothing came says nothing."""
    tx.execute(schema.study.update().where(schema.study.c.state == "open").values(last_activity_at=database_now(tx)))


def quiet(tx: Transaction, quiet_s: float, *, most: int = 20) -> list[Study]:
    """The open studies to which nothing came for ``quiet_s`` seconds, the longest first."""
    before = database_now(tx) - timedelta(seconds=quiet_s)
    chosen = (schema.study.c.state == "open") & (schema.study.c.last_activity_at < before)
    columns = [schema.study.c[name] for name in _STUDY_FIELDS]
    rows = tx.execute(sa.select(*columns).where(chosen).order_by(schema.study.c.last_activity_at).limit(most)).mappings()
    return [Study(**row) for row in rows]


def find_open(tx: Transaction, study_instance_uid: str) -> Study | None:
    """The revision of a study that is open, if there is one."""
    mine = (schema.study.c.study_instance_uid == study_instance_uid) & (schema.study.c.state == "open")
    row = tx.execute(sa.select(*(schema.study.c[name] for name in _STUDY_FIELDS)).where(mine)).mappings().one_or_none()
    return Study(**row) if row else None


def complete(tx: Transaction, study: Study, evidence: Evidence) -> datetime | None:
    """Judge ``study`` complete, unless something came since it was looked at.

    Returns
    -------
    datetime or None
        When it was completed; None when it was not, because it is no longer what ``study`` says.
    """
    unchanged = (schema.study.c.state == study.state) & (schema.study.c.last_activity_at == study.last_activity_at)
    at = database_now(tx)
    values = {"state": follow(STUDY, study.state, "complete"), "completed_at": at, "evidence": asdict(evidence)}
    mine = _is(study.study_instance_uid, study.revision) & unchanged & (schema.study.c.instances == study.instances)
    if not tx.execute(schema.study.update().where(mine).values(**values)).rowcount:
        return None
    return record(tx, "study.completed", asdict(evidence), study_instance_uid=study.study_instance_uid, revision=study.revision)


def not_applicable(tx: Transaction, study: Study, pipeline: str, code: str, sentence: str, series: dict[str, str]) -> None:
    """Write down why a pipeline takes nothing of a study: the verdict, and the reason for each series."""
    detail = {"pipeline": pipeline, "sentence": sentence, "series": series}
    record(tx, "study.not_applicable", detail, study_instance_uid=study.study_instance_uid, revision=study.revision, code=code)


def close_if_ended(tx: Transaction, study_instance_uid: str, revision: int) -> None:
    """Mark a study processed when none of its jobs is still to be done; idempotent."""
    jobs = (schema.work.c.study_instance_uid == study_instance_uid) & (schema.work.c.revision == revision) & (schema.work.c.kind == "infer")
    waiting = tx.execute(sa.select(sa.func.count()).where(jobs, schema.work.c.state.in_(("queued", "running")))).scalar_one()
    row = tx.execute(sa.select(schema.study.c.state).where(_is(study_instance_uid, revision))).one()
    if waiting or row.state != "complete":
        return
    ended = tx.execute(sa.select(schema.work.c.state, sa.func.count()).where(jobs).group_by(schema.work.c.state)).all()
    at = record(
        tx,
        "study.processed",
        {"jobs": {str(state): int(count) for state, count in ended}},
        study_instance_uid=study_instance_uid,
        revision=revision,
    )
    values = {"state": follow(STUDY, row.state, "process"), "processed_at": at}
    tx.execute(schema.study.update().where(_is(study_instance_uid, revision)).values(**values))


def reopen(tx: Transaction, study_instance_uid: str, revision: int) -> None:
    """Take a processed study back to complete, because a job of it is replayed."""
    state = tx.execute(sa.select(schema.study.c.state).where(_is(study_instance_uid, revision))).scalar_one()
    values = {"state": follow(STUDY, state, "reopen"), "processed_at": None}
    tx.execute(schema.study.update().where(_is(study_instance_uid, revision)).values(**values))
    record(tx, "study.taken_up_again", study_instance_uid=study_instance_uid, revision=revision)


def _latest(tx: Transaction, study_instance_uid: str) -> sa.Row[int, str] | None:
    columns = (schema.study.c.revision, schema.study.c.state)
    mine = schema.study.c.study_instance_uid == study_instance_uid
    return tx.execute(sa.select(*columns).where(mine).order_by(schema.study.c.revision.desc()).limit(1)).one_or_none()


def _is(study_instance_uid: str, revision: int) -> sa.ColumnElement[bool]:
    return (schema.study.c.study_instance_uid == study_instance_uid) & (schema.study.c.revision == revision)
