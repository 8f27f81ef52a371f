"""Studies: open while instances come, complete when the evidence says so, processed when every job has ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from node.core.errors import StateError
from node.core.states import STUDY, follow
from node.core.study import Evidence, Missing, Study
from node.ledger import schema
from node.ledger.audit import record
from node.ledger.engine import Transaction, database_now

_STUDY_FIELDS = ("study_instance_uid", "revision", "state", "instances", "last_activity_at")


def receive(
    tx: Transaction, study_instance_uid: str, at: datetime, count: int = 1, *, calling_ae: str | None = None, patient_id: str | None = None
) -> int:
    """Count instances into the study's open revision and return that revision.

    A study that was complete already gets a new revision: what was judged stays as it was judged. The pause before what came is kept
    if it is the longest: it is what a quiet time would have had to outlast.
    """
    latest = _latest(tx, study_instance_uid)
    pause_s = max(0.0, (at - latest.last_activity_at).total_seconds()) if latest is not None else 0.0
    if latest is not None and latest.state == "open":
        follow(STUDY, latest.state, "instance")
        longest_s = max(pause_s, latest.longest_pause_s or 0.0)
        values = {"instances": schema.study.c.instances + count, "last_activity_at": at, "longest_pause_s": longest_s}
        tx.execute(schema.study.update().where(_is(study_instance_uid, latest.revision)).values(**values))
        return int(latest.revision)
    values = {"instances": count, "calling_ae": calling_ae, "longest_pause_s": pause_s}
    values["patient_id"] = latest.patient_id if latest is not None and latest.patient_id is not None else patient_id
    return _open(tx, study_instance_uid, latest.revision + 1 if latest else 1, at, values)


def _open(tx: Transaction, study_instance_uid: str, revision: int, at: datetime, values: Mapping[str, Any]) -> int:
    row = {"study_instance_uid": study_instance_uid, "revision": revision, "state": "open", "opened_at": at, "last_activity_at": at}
    tx.execute(schema.study.insert().values(**row, **values))
    record(tx, "study.opened" if revision == 1 else "study.reopened", study_instance_uid=study_instance_uid, revision=revision)
    return revision


def patients_of(tx: Transaction, study_instance_uids: Collection[str]) -> dict[str, str]:
    """Whose each of these studies is (Study Instance UID -> Patient ID), where that is known."""
    table = schema.study
    mine = table.c.study_instance_uid.in_(study_instance_uids) & table.c.patient_id.is_not(None)
    return {row[0]: row[1] for row in tx.execute(sa.select(table.c.study_instance_uid, table.c.patient_id).where(mine))}


def latest_revision(tx: Transaction, study_instance_uid: str) -> int:
    """The latest revision of a study that there is."""
    latest = _latest(tx, study_instance_uid)
    return int(latest.revision) if latest is not None else 0


def opened_by(tx: Transaction, study_instance_uid: str, revision: int) -> str:
    """The calling AE that opened a study; empty where it is not known."""
    found = tx.execute(sa.select(schema.study.c.calling_ae).where(_is(study_instance_uid, revision))).scalar_one_or_none()
    return found or ""


def release(tx: Transaction, study_instance_uid: str, detail: Mapping[str, Any]) -> None:
    """Have a study judged anew, at a revision of its own if it was judged before, because an operator has decided what belongs to it."""
    latest = _latest(tx, study_instance_uid)
    if latest is None:
        raise StateError(f"There is no study {study_instance_uid}.")
    record(tx, "study.released", detail, study_instance_uid=study_instance_uid, revision=int(latest.revision))
    if latest.state != "open":
        values = {"instances": 0, "patient_id": latest.patient_id}
        _open(tx, study_instance_uid, latest.revision + 1, database_now(tx), values)


def hold_open(tx: Transaction, study_instance_uids: Collection[str]) -> None:
    """Renew the activity of studies whose association is still open, so that no sweep on any machine completes them."""
    if study_instance_uids:
        mine = schema.study.c.study_instance_uid.in_(study_instance_uids) & (schema.study.c.state == "open")
        tx.execute(schema.study.update().where(mine).values(last_activity_at=database_now(tx)))


def hold_all_open(tx: Transaction) -> None:
    """Let the quiet time of every open study begin anew: the port was closed, so that nothing came says nothing."""
    tx.execute(schema.study.update().where(schema.study.c.state == "open").values(last_activity_at=database_now(tx)))


def ahead(tx: Transaction, *, most: int = 20) -> list[str]:
    """Open studies whose last activity lies in the future, because the database's clock was stepped back since.

    Unless their quiet time begins anew (``hold_open``), they stay open for as long as the step was.
    """
    columns = (schema.study.c.study_instance_uid, schema.study.c.last_activity_at)
    latest = sa.select(*columns).where(schema.study.c.state == "open").order_by(schema.study.c.last_activity_at.desc()).limit(most)
    rows = tx.execute(latest).all()
    now = database_now(tx)  # behind the rows: what came meanwhile is not ahead
    return [row.study_instance_uid for row in rows if row.last_activity_at > now]


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


def record_waiting(tx: Transaction, study: Study, reasons: Sequence[Missing]) -> bool:
    """Write down what a study that is quiet waits for; False when that is the last that was said of it."""
    detail = {"reasons": [asdict(reason) for reason in reasons]}
    table = schema.audit
    mine = (table.c.study_instance_uid == study.study_instance_uid) & (table.c.revision == study.revision)
    said = sa.select(table.c.detail).where(mine & (table.c.event == "study.awaited")).order_by(table.c.n.desc()).limit(1)
    if tx.execute(said).scalar_one_or_none() == detail:
        return False
    record(tx, "study.awaited", detail, study_instance_uid=study.study_instance_uid, revision=study.revision)
    return True


def sender_of(tx: Transaction, study_instance_uid: str, revision: int) -> str | None:
    """The AE title of whoever sent the instance that opened a study; of the latest revision up to this one that tells."""
    table = schema.study
    told = (table.c.study_instance_uid == study_instance_uid) & (table.c.revision <= revision) & table.c.calling_ae.is_not(None)
    found = tx.execute(sa.select(table.c.calling_ae).where(told).order_by(table.c.revision.desc()).limit(1)).scalar_one_or_none()
    return str(found) if found is not None else None


def longest_pauses(tx: Transaction, calling_ae: str, *, most: int) -> list[float]:
    """The longest pause of each of the last studies that a sender has opened and that are complete, the latest first."""
    table = schema.study
    mine = (table.c.calling_ae == calling_ae) & table.c.completed_at.is_not(None) & table.c.longest_pause_s.is_not(None)
    return list(tx.execute(sa.select(table.c.longest_pause_s).where(mine).order_by(table.c.completed_at.desc()).limit(most)).scalars())


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


def _latest(tx: Transaction, study_instance_uid: str) -> sa.Row[int, str, datetime, float | None, str | None] | None:
    table = schema.study
    columns = (table.c.revision, table.c.state, table.c.last_activity_at, table.c.longest_pause_s, table.c.patient_id)
    mine = table.c.study_instance_uid == study_instance_uid
    return tx.execute(sa.select(*columns).where(mine).order_by(table.c.revision.desc()).limit(1)).one_or_none()


def _is(study_instance_uid: str, revision: int) -> sa.ColumnElement[bool]:
    return (schema.study.c.study_instance_uid == study_instance_uid) & (schema.study.c.revision == revision)
