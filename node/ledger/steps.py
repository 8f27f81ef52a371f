"""Performed procedure steps: what modalities say of their studies, and what is stopped when they discontinue one (PS3.4 section F.7).

A step has one row for each study that it was scheduled for. The statuses of the protocol are not decided here but named by the reason
of a StepRefused; ``node.dimse.mpps`` turns them into numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from node.core.errors import Discontinued, StateError, StepRefused
from node.core.states import DELIVERED, STEP, follow
from node.core.step import COMPLETED, DISCONTINUED, IN_PROGRESS, Statement, StepSummary, summarise, why_stopped
from node.core.study import ProcedureStep
from node.ledger import jobs, outbox, schema
from node.ledger.audit import About, Entry, record, record_all
from node.ledger.engine import Transaction

_STEP = schema.procedure_step
_FIELDS = ("state", "calling_ae", "modality", "started", "ended", "reason_code", "reason", "finished_at")
_EVENTS = {IN_PROGRESS: "set", COMPLETED: "complete", DISCONTINUED: "discontinue"}
_VERBS = {IN_PROGRESS: "updated", COMPLETED: "completed", DISCONTINUED: "discontinued"}


def create(tx: Transaction, statement: Statement) -> None:
    """Enter a step that has begun; idempotent for one and the same request.

    Raises
    ------
    StepRefused
        ``.duplicate`` if there is a step with this SOP Instance UID.
    """
    held = _rows(tx, statement.sop_instance_uid)
    if held:
        if held[0]["request_id"] == statement.request_id:
            return
        raise StepRefused("There is a step with this SOP Instance UID already.", reason="duplicate")
    detail = {"calling_ae": statement.calling_ae, "station_ae": statement.station_ae, "modality": statement.modality}
    at = _record(tx, "created", statement, statement.study_instance_uids, detail)
    values = {
        "sop_instance_uid": statement.sop_instance_uid,
        "state": IN_PROGRESS,
        "calling_ae": statement.calling_ae,
        "station_ae": statement.station_ae,
        "modality": statement.modality,
        "performed": _plain(statement.performed or {}),
        "started": statement.started,
        "ended": statement.ended or "",
        "reason_code": "",
        "reason": "",
        "association_id": statement.association_id,
        "request_id": statement.request_id,
        "created_at": at,
        "changed_at": at,
    }
    tx.execute(_STEP.insert(), [{**values, "study_instance_uid": uid} for uid in statement.study_instance_uids])


def set_(tx: Transaction, statement: Statement) -> None:
    """Change a step; idempotent for one and the same request. When it is discontinued, the work on its studies is stopped.

    Raises
    ------
    StepRefused
        ``.unknown`` if there is no such step, ``.final`` if it has ended (PS3.4 section F.7.2.2.3), ``.missing_value`` if it is to be
        completed without the attributes of the final state (PS3.4 Table F.7.2-1, note 2), ``.invalid_value`` if it is to become another
        study's.
    """
    held = _rows(tx, statement.sop_instance_uid)
    if not held:
        raise StepRefused("There is no step with this SOP Instance UID.", reason="unknown")
    if held[0]["request_id"] == statement.request_id:
        return
    state = statement.state or IN_PROGRESS
    try:
        new = follow(STEP, held[0]["state"], _EVENTS[state])
    except StateError:
        raise StepRefused("Performed Procedure Step Object may no longer be updated", reason="final") from None
    studies = tuple(row["study_instance_uid"] for row in held)
    if new != DISCONTINUED and statement.study_instance_uids and set(statement.study_instance_uids) != set(studies):
        raise StepRefused("The studies of a step cannot be changed.", reason="invalid_value")
    values = _changes(statement, held[0])
    if new == COMPLETED:
        _check_final(values)
    _write_down(tx, statement, new, studies, values)


def _changes(statement: Statement, held: Mapping[str, Any]) -> dict[str, Any]:
    """The columns after the change: what is stated, and of the rest what is held."""
    stated = {name: getattr(statement, name) for name in ("ended", "reason_code", "reason")}
    values = {name: held[name] if value is None else value for name, value in stated.items()}
    values["performed"] = held["performed"] if statement.performed is None else _plain(statement.performed)
    return values


def _check_final(values: Mapping[str, Any]) -> None:
    if not values["performed"]:
        raise StepRefused("Performed Series Sequence (0040,0340) is missing or empty.", reason="missing_value")
    if not values["ended"]:
        raise StepRefused("Performed Procedure Step End Date or Time is missing.", reason="missing_value")


def _write_down(tx: Transaction, statement: Statement, new: str, studies: tuple[str, ...], values: dict[str, Any]) -> None:
    detail: dict[str, Any] = {"series": len(values["performed"]), "instances": sum(map(len, values["performed"].values()))}
    if new == DISCONTINUED:
        detail |= {"reason_code": values["reason_code"], "reason": values["reason"]}
        detail |= {"faults": list(statement.faults)} if statement.faults else {}
        sent = sum(_sent(tx, uid) for uid in studies)
        detail |= {"sent_before": sent} if sent else {}
    at = _record(tx, _VERBS[new], statement, studies, detail)
    values |= {"state": new, "association_id": statement.association_id, "request_id": statement.request_id, "changed_at": at}
    if new != IN_PROGRESS:
        values["finished_at"] = at
    tx.execute(_STEP.update().where(_STEP.c.sop_instance_uid == statement.sop_instance_uid).values(**values))
    if new == DISCONTINUED:
        for uid in studies:
            stop_work(tx, uid)


def refuse(tx: Transaction, sop_instance_uid: str, association_id: str, error: StepRefused) -> None:
    """Write down what we did not take of a modality, and why."""
    about: About = {"association_id": association_id, "code": error.full_code}
    if sop_instance_uid:
        about["sop_instance_uid"] = sop_instance_uid
    record(tx, "step.refused", {"sentence": error.sentence}, **about)


def stop_work(tx: Transaction, study_instance_uid: str, revision: int | None = None) -> list[str]:
    """End what is to be done on a study whose step was discontinued; idempotent, and nothing happens to any other study.

    Jobs that are queued or running end as refused, and so do parcels that wait to be sent, with their objects. A parcel that is being sent
    is finished: its destination may hold part of it already. What an operator replays afterwards is not stopped again by itself.

    Parameters
    ----------
    revision : int, optional
        Only the work of this revision; by default of all.

    Returns
    -------
    list of str
        The ids of the work that was ended.
    """
    steps = of_study(tx, study_instance_uid)
    if not any(step.state == DISCONTINUED for step in steps):
        return []
    table = schema.work
    can_end = (table.c.state == "queued") | ((table.c.state == "running") & (table.c.kind == "infer"))
    chosen = (table.c.study_instance_uid == study_instance_uid) & can_end
    if revision is not None:
        chosen &= table.c.revision == revision
    ended = []
    for row in tx.execute(sa.select(table).where(chosen).order_by(table.c.id)).mappings().all():
        work = jobs.work_of(dict(row))
        error = why_stopped(study_instance_uid, steps, work.job.series_instance_uids)
        if error is None:
            continue
        if work.kind == "deliver":
            outbox.give_up(tx, work, error.sentence)
        jobs.discontinue(tx, work, row["state"], error)
        ended.append(work.id)
    return ended


def of_study(tx: Transaction, study_instance_uid: str) -> list[ProcedureStep]:
    """The steps that were scheduled for a study, in the order in which they changed last."""
    mine = sa.select(_STEP.c.sop_instance_uid).where(_STEP.c.study_instance_uid == study_instance_uid)
    query = sa.select(_STEP).where(_STEP.c.sop_instance_uid.in_(mine))
    rows = tx.execute(query.order_by(_STEP.c.changed_at, _STEP.c.sop_instance_uid, _STEP.c.study_instance_uid)).mappings().all()
    return [
        _step_of(uid, [row for row in rows if row["sop_instance_uid"] == uid]) for uid in Counter(row["sop_instance_uid"] for row in rows)
    ]


def summary(tx: Transaction, study_instance_uid: str) -> StepSummary:
    """What the steps of a study state about it; an empty summary when no modality ever told of it."""
    return summarise(study_instance_uid, of_study(tx, study_instance_uid))


def missing(tx: Transaction, study_instance_uid: str) -> frozenset[str]:
    """The SOP Instance UIDs that the completed steps of a study list and that we do not hold.

    Where a step was scheduled for several studies, what we hold of any of them counts.
    """
    stated = summary(tx, study_instance_uid)
    listed = frozenset().union(*stated.expected.values())
    if not listed:
        return listed
    table = schema.instance
    studies = {study_instance_uid, *stated.shared_with}
    held = tx.execute(sa.select(table.c.sop_instance_uid).where(table.c.study_instance_uid.in_(studies))).scalars()
    return listed - frozenset(held)


def is_discontinued(tx: Transaction, study_instance_uid: str) -> bool:
    """Whether modalities told of the study, and every step of it is discontinued."""
    return summary(tx, study_instance_uid).is_discontinued


def stopped(tx: Transaction, study_instance_uid: str, series_instance_uids: Iterable[str] | None = None) -> Discontinued | None:
    """Why no result may be made of these series of a study, or None; see ``node.core.step.why_stopped``."""
    series = None if series_instance_uids is None else tuple(series_instance_uids)
    return why_stopped(study_instance_uid, of_study(tx, study_instance_uid), series)


def _sent(tx: Transaction, study_instance_uid: str) -> int:
    """How many objects on a study have been delivered: an operator may have to call them back."""
    of_it = sa.select(schema.work.c.id).where(schema.work.c.study_instance_uid == study_instance_uid)
    delivered = schema.delivery.c.state.in_(DELIVERED) & schema.delivery.c.job_id.in_(of_it)
    return int(tx.execute(sa.select(sa.func.count()).select_from(schema.delivery).where(delivered)).scalar_one())


def _rows(tx: Transaction, sop_instance_uid: str) -> list[dict[str, Any]]:
    mine = sa.select(_STEP).where(_STEP.c.sop_instance_uid == sop_instance_uid).order_by(_STEP.c.study_instance_uid)
    return [dict(row) for row in tx.execute(mine).mappings()]


def _step_of(sop_instance_uid: str, rows: list[sa.RowMapping]) -> ProcedureStep:
    return ProcedureStep(
        sop_instance_uid=sop_instance_uid,
        study_instance_uids=tuple(row["study_instance_uid"] for row in rows),
        performed={series: tuple(uids) for series, uids in rows[0]["performed"].items()},
        **{name: rows[0][name] for name in _FIELDS},
    )


def _plain(performed: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    return {series: list(uids) for series, uids in performed.items()}


def _record(tx: Transaction, verb: str, statement: Statement, studies: Iterable[str], detail: Mapping[str, Any]) -> datetime:
    """One row for each study, so that the history of each tells of the step."""
    about: About = {"association_id": statement.association_id, "sop_instance_uid": statement.sop_instance_uid}
    return record_all(tx, [Entry(f"step.{verb}", detail, {**about, "study_instance_uid": uid}) for uid in studies])
