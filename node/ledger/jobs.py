"""Work: entered with the study that it belongs to, settled once.

A row of the work table is the truth about a job; the engine that dispatches it is disposable. Every function that hands work to the
engine takes ``dispatch``, which enters the ticket in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

import sqlalchemy as sa

from node.core.errors import Cancelled, CodedError, Discontinued, StateError, Verdict
from node.core.job import Job, Ticket, Work
from node.core.schedule import rank_of
from node.core.states import WORK, follow
from node.ledger import schema, studies
from node.ledger.audit import About, record
from node.ledger.engine import Transaction, database_now
from node.ledger.schedule import lane_of

Dispatch: TypeAlias = Callable[[Transaction, Ticket], None]
_NEVER_JUDGED = (Discontinued.code, Cancelled.code)


def enqueue(tx: Transaction, job: Job, priority: int, dispatch: Dispatch, *, why: str = "") -> bool:
    """Enter a job with its priority, and why it has that; False when it is there already."""
    if find(tx, job.id) is not None:
        return False
    work = Work(id=job.id, kind="infer", job_id=job.id, job=job, destination=None, priority=priority, attempt=1, dispatch=1, crashes=0)
    detail = {"pipeline": job.pipeline, "model_digest": job.model_digest, "series": list(job.series_instance_uids), "priority": priority}
    detail |= {"stacks": list(job.stacks)} if job.stacks else {}
    record(tx, "job.queued", {**detail, "why": why}, **about(work))
    enter(tx, work, dispatch, source=studies.opened_by(tx, job.study_instance_uid, job.revision), why=why)
    return True


def enter(tx: Transaction, work: Work, dispatch: Dispatch, *, source: str = "", why: str = "") -> None:
    """Insert a row of work, and offer it to the engine.

    Parameters
    ----------
    source : str
        The calling AE that opened its study.
    why : str
        It has its priority.
    """
    job = work.job
    tx.execute(
        schema.work.insert().values(
            id=work.id,
            kind=work.kind,
            state="queued",
            node_ae=job.node_ae,
            study_instance_uid=job.study_instance_uid,
            revision=job.revision,
            pipeline=job.pipeline,
            model_digest=job.model_digest,
            series_instance_uids=list(job.series_instance_uids),
            stacks=list(job.stacks) or None,
            input_sha256=job.input_sha256,
            job_id=work.job_id,
            destination=work.destination,
            priority=work.priority,
            attempt=work.attempt,
            dispatch=work.dispatch,
            queued_at=job.queued_at,
            source=source,
            priority_reason=why,
            rank=rank_of(work.priority, job.queued_at),
            lane=lane_of(job.pipeline, source, work.destination),
        )
    )
    dispatch(tx, ticket_of(work))


def ticket_of(work: Work, delay_s: float = 0.0) -> Ticket:
    """The ticket with which the engine is asked to run ``work``."""
    return Ticket(
        work_id=work.id, kind=work.kind, dispatch=work.dispatch, priority=work.priority, partition=work.destination, delay_s=delay_s
    )


def about(work: Work) -> About:
    """What an audit row on ``work`` is about."""
    found: About = {"study_instance_uid": work.job.study_instance_uid, "revision": work.job.revision, "work_id": work.id}
    if work.destination is not None:
        found["destination"] = work.destination
    return found


def find(tx: Transaction, work_id: str) -> Work | None:
    """Return the work with this id, if there is one."""
    row = tx.execute(sa.select(schema.work).where(schema.work.c.id == work_id)).mappings().one_or_none()
    return work_of(dict(row)) if row else None


def work_of(row: Mapping[str, Any]) -> Work:
    """Make a Work of a row."""
    job = Job(
        node_ae=row["node_ae"],
        study_instance_uid=row["study_instance_uid"],
        revision=row["revision"],
        series_instance_uids=tuple(row["series_instance_uids"]),
        pipeline=row["pipeline"],
        model_digest=row["model_digest"],
        input_sha256=row["input_sha256"],
        queued_at=row["queued_at"],
        stacks=tuple(row["stacks"] or ()),
    )
    names = ("id", "kind", "job_id", "destination", "priority", "attempt", "dispatch", "crashes")
    return Work(job=job, **{name: row[name] for name in names})


def finished_on(tx: Transaction, job: Job) -> str | None:
    """The id of a finished job that had the very same input, pipeline and model at an earlier revision, if there is one."""
    table = schema.work
    same = (
        (table.c.kind == "infer")
        & (table.c.study_instance_uid == job.study_instance_uid)
        & (table.c.revision < job.revision)
        & (table.c.pipeline == job.pipeline)
        & (table.c.model_digest == job.model_digest)
        & (table.c.input_sha256 == job.input_sha256)
        & (table.c.state.in_(("queued", "running", "done", "refused")))
        # What was stopped was never judged; if the study goes on after all, it is run.
        & ((table.c.state != "refused") | sa.and_(*(sa.func.coalesce(table.c.code, "").not_like(f"{code}%") for code in _NEVER_JUDGED)))
    )
    return tx.execute(sa.select(table.c.id).where(same).limit(1)).scalar_one_or_none()


def record_unchanged(tx: Transaction, job: Job, earlier: str) -> None:
    """Write down that a new revision did not change a job's input, so that it is not run again."""
    detail = {"pipeline": job.pipeline, "same_input_as": earlier}
    record(tx, "job.unchanged", detail, study_instance_uid=job.study_instance_uid, revision=job.revision)


def settle(tx: Transaction, work: Work, token: str, error: CodedError | None, summary: Mapping[str, Any]) -> bool:
    """Close ``work`` as done, or by the verdict of ``error`` as refused or failed.

    Returns
    -------
    bool
        False when it is not ours to close any more: another worker has taken it over, and the caller's result must be dropped.
    """
    state = still_ours(tx, work, token)
    if state is None:
        return False
    event = "finish" if error is None else ("refuse" if error.verdict is Verdict.REFUSE else "fail")
    new = follow(WORK, state, event)
    subject = about(work)
    if error is not None:
        subject["code"] = error.full_code
    detail = {"attempt": work.attempt, **summary} | ({"sentence": error.sentence} if error else {})
    at = record(tx, f"{work.noun}.{'finished' if new == 'done' else new}", detail, **subject)
    values = {"state": new, "finished_at": at, "lease_until_at": None, "handed_at": None, "summary": dict(summary)}
    said = {"code": error.full_code if error else None, "reason": error.sentence if error else None}
    tx.execute(schema.work.update().where(schema.work.c.id == work.id).values(**values, **said))
    if work.kind == "infer":
        studies.close_if_ended(tx, work.job.study_instance_uid, work.job.revision)
    return True


def try_again(tx: Transaction, work: Work, token: str, error: CodedError, delay_s: float, dispatch: Dispatch) -> bool:
    """Put ``work`` back with the reason why, to be claimed again after ``delay_s`` seconds; False when it is not ours any more."""
    state = still_ours(tx, work, token)
    if state is None:
        return False
    detail = {"attempt": work.attempt, "sentence": error.sentence, "delay_s": round(delay_s, 1)}
    subject = about(work)
    subject["code"] = error.full_code
    record(tx, f"{work.noun}.retried", detail, **subject)
    values = {"attempt": work.attempt + 1, "crashes": 0, "code": error.full_code, "reason": error.sentence}
    _hand_over_again(tx, work, follow(WORK, state, "retry"), values, delay_s, dispatch)
    return True


def put_off(tx: Transaction, work: Work, token: str, sentence: str, delay_s: float, dispatch: Dispatch) -> bool:
    """Put ``work`` back that waits for something, to go on in the same attempt after ``delay_s`` seconds; False when it is not ours."""
    state = still_ours(tx, work, token)
    if state is None:
        return False
    record(tx, f"{work.noun}.put_off", {"attempt": work.attempt, "sentence": sentence, "delay_s": round(delay_s, 1)}, **about(work))
    values = {"crashes": 0, "code": None, "reason": None}
    _hand_over_again(tx, work, follow(WORK, state, "retry"), values, delay_s, dispatch)
    return True


def hasten(tx: Transaction, work_id: str, dispatch: Dispatch) -> None:
    """Have ``work_id`` go on now if it waits: what it waits for has come. Its state stays what it is."""
    row = (
        tx.execute(sa.select(schema.work).where((schema.work.c.id == work_id) & (schema.work.c.state == "queued"))).mappings().one_or_none()
    )
    if row is not None:
        _hand_over_again(tx, work_of(dict(row)), "queued", {}, 0.0, dispatch)


def discontinue(tx: Transaction, work: Work, state: str, error: Discontinued) -> None:
    """End ``work`` that is queued, or a job that is running, because the modality has discontinued what it is about.

    The lease is taken away with it: whoever runs the job notices, stops, and is fenced if it comes with a result all the same.
    """
    new = follow(WORK, state, "discontinue")
    subject = about(work)
    subject["code"] = error.full_code
    at = record(tx, f"{work.noun}.{new}", {"attempt": work.attempt, "was": state, "sentence": error.sentence}, **subject)
    values = {"state": new, "finished_at": at, "lease_token": None, "lease_until_at": None, "handed_at": None}
    said = {"code": error.full_code, "reason": error.sentence}
    tx.execute(schema.work.update().where(schema.work.c.id == work.id).values(**values, **said))
    if work.kind == "infer":
        studies.close_if_ended(tx, work.job.study_instance_uid, work.job.revision)


def replay(tx: Transaction, work_id: str, who: str, dispatch: Dispatch) -> Work:
    """Bring refused or failed work back with all its attempts, because an operator asked.

    Raises
    ------
    StateError
        If there is no such work, or it is neither refused nor failed.
    """
    row = tx.execute(sa.select(schema.work).where(schema.work.c.id == work_id)).mappings().one_or_none()
    if row is None:
        raise StateError(f"There is no work {work_id}; radnode status lists what there is.")
    work = work_of(dict(row))
    new = follow(WORK, row["state"], "replay")
    record(tx, f"{work.noun}.replayed", {"by": who, "was": row["state"], "code": row["code"]}, **about(work))
    _hand_over_again(tx, work, new, {"attempt": 1, "crashes": 0, "code": None, "reason": None, "finished_at": None}, 0.0, dispatch)
    if work.kind == "infer":
        studies.reopen(tx, work.job.study_instance_uid, work.job.revision)
    return work


def still_ours(tx: Transaction, work: Work, token: str) -> str | None:
    """The state of ``work`` if the lease is still held by ``token``; None if another has it, or it is settled."""
    row = tx.execute(sa.select(schema.work.c.state, schema.work.c.lease_token).where(schema.work.c.id == work.id)).one()
    return str(row.state) if row.lease_token == token and row.state == "running" else None


def settled_by(tx: Transaction, work: Work, token: str) -> bool:
    """Whether ``token`` itself settled ``work`` already: the answer to its COMMIT was lost."""
    row = tx.execute(
        sa.select(schema.work.c.state, schema.work.c.lease_token, schema.work.c.dispatch).where(schema.work.c.id == work.id)
    ).one()
    return bool(row.lease_token == token) and (row.state != "running" or row.dispatch > work.dispatch)


def record_fenced(tx: Transaction, work: Work) -> datetime:
    """Write down that a result came too late and was dropped: another worker had taken the work over."""
    return record(tx, f"{work.noun}.fenced", {"attempt": work.attempt, "dispatch": work.dispatch}, **about(work))


def _hand_over_again(tx: Transaction, work: Work, state: str, values: Mapping[str, Any], delay_s: float, dispatch: Dispatch) -> None:
    number = work.dispatch + 1
    update = schema.work.update().where(schema.work.c.id == work.id)
    tx.execute(update.values(state=state, dispatch=number, lease_until_at=None, handed_at=None, due_at=None, **values))
    ticket = Ticket(work_id=work.id, kind=work.kind, dispatch=number, priority=work.priority, partition=work.destination, delay_s=delay_s)
    dispatch(tx, ticket)


def open_work(tx: Transaction) -> list[tuple[Work, str, datetime | None, str | None]]:
    """All work that is still to be done: the work, its state, until when its lease runs, and who holds it."""
    rows = tx.execute(sa.select(schema.work).where(schema.work.c.state.in_(("queued", "running")))).mappings().all()
    return [(work_of(dict(row)), row["state"], row["lease_until_at"], row["lease_token"]) for row in rows]


def in_hand(tx: Transaction) -> list[tuple[Work, str, datetime | None, str | None]]:
    """Likewise, of what the engine or a worker has; what waits in the ledger alone cannot be lost by either."""
    rows = tx.execute(sa.select(schema.work).where(sa.text("work.handed_at IS NOT NULL"))).mappings().all()
    return [(work_of(dict(row)), row["state"], row["lease_until_at"], row["lease_token"]) for row in rows]


def clock(tx: Transaction) -> datetime:
    """The database's clock, for the stations that may not reach below the ledger."""
    return database_now(tx)
