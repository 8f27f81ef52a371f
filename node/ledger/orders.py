"""What operators order on single works, or on all of a study: cancel, another priority, replay."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from node.core.errors import Cancelled, StateError
from node.core.job import Priority, Work
from node.core.schedule import rank_of
from node.core.states import WORK, follow
from node.ledger import jobs, outbox, schedule, schema, studies
from node.ledger.audit import record
from node.ledger.engine import Transaction

_WORK = schema.work


def cancel(tx: Transaction, target: str, who: str, why: str) -> list[Work]:
    """End work that waits, and jobs that run, without a result.

    A job that runs loses its lease: its worker notices at the next beat of its heart, kills the process that computes, and is fenced.

    Parameters
    ----------
    target : str
        The id of a job or parcel, or a Study Instance UID: everything of that study, of any revision, that waits or is a running job.

    Raises
    ------
    StateError
        If there is nothing to cancel, or it is a parcel on its way: what is being sent cannot be called back.
    """
    found = _find(tx, target, ("queued", "running"))
    on_their_way = [row for row in found if row["kind"] == "deliver" and row["state"] == "running"]
    if on_their_way and (len(found) == 1):
        raise StateError(f"{on_their_way[0]['id']} is being sent at this moment and cannot be called back.")
    if not found:
        raise StateError(f"Nothing of {target} waits or runs; radnode history tells what became of it.")
    return [_cancel(tx, row, who, why) for row in found if row not in on_their_way]


def _cancel(tx: Transaction, row: dict[str, Any], who: str, why: str) -> Work:
    work = jobs.work_of(row)
    error = Cancelled(f"Cancelled by {who}{f': {why}' if why else ''}; radnode replay brings it back.")
    if work.kind == "deliver":
        outbox.give_up(tx, work, error.sentence)
    subject = jobs.about(work)
    subject["code"] = error.full_code
    at = record(tx, f"{work.noun}.cancelled", {"by": who, "was": row["state"], "sentence": error.sentence}, **subject)
    values = {"state": follow(WORK, row["state"], "cancel"), "finished_at": at, "code": error.full_code, "reason": error.sentence}
    values |= {"lease_token": None, "lease_until_at": None, "handed_at": None}
    tx.execute(_WORK.update().where(_WORK.c.id == work.id).values(**values))
    if work.kind == "infer":
        studies.close_if_ended(tx, work.job.study_instance_uid, work.job.revision)
    return work


def prioritise(tx: Transaction, target: str, priority: Priority, who: str, dispatch: jobs.Dispatch) -> list[Work]:
    """Give work that waits another priority; the time that it has waited counts on.

    Raises
    ------
    StateError
        If nothing of ``target``, an id or a Study Instance UID, waits.
    """
    found = _find(tx, target, ("queued",))
    if not found:
        raise StateError(f"Nothing of {target} waits; radnode history tells what became of it.")
    changed = []
    for row in found:
        mine = _WORK.c.id == row["id"]
        work = jobs.work_of(row)
        detail = {"by": who, "was": work.priority, "priority": int(priority)}
        record(tx, f"{work.noun}.prioritised", detail, **jobs.about(work))
        values = {"priority": int(priority), "rank": rank_of(priority, row["queued_at"]), "priority_reason": f"operator {who}"}
        tx.execute(_WORK.update().where(mine).values(**values))
        schedule.take_back(tx, mine)
        changed.append(work)
    for work in changed:
        dispatch(tx, jobs.ticket_of(work))
    return changed


def ended_badly(tx: Transaction, target: str) -> list[str]:
    """The ids of what was refused or failed of ``target``: itself, or all of the latest revision of a study.

    Parcels come after jobs; those of a job that is replayed too are left out, because the job will bring its own.
    """
    found = _find(tx, target, ("refused", "failed"))
    latest = max((row["revision"] for row in found), default=0)
    found = [row for row in found if row["revision"] == latest]
    again = {row["id"] for row in found if row["kind"] == "infer"}
    return [row["id"] for row in found if row["kind"] == "infer" or row["job_id"] not in again]


def _find(tx: Transaction, target: str, states: tuple[str, ...]) -> list[dict[str, Any]]:
    mine = ((_WORK.c.id == target) | (_WORK.c.study_instance_uid == target)) & _WORK.c.state.in_(states)
    rows = tx.execute(sa.select(_WORK).where(mine).order_by(_WORK.c.kind.desc(), _WORK.c.queued_at, _WORK.c.id)).mappings()
    return [dict(row) for row in rows]
