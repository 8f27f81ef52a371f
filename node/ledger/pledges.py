"""Our own requests for storage commitment: written down before they are asked, because the report may come to another process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from node.core.commitment import NO_SUCH_INSTANCE, Pledge, Promise
from node.core.job import Work
from node.core.result import Receipt
from node.core.states import PLEDGE, follow
from node.ledger import jobs, receipts, schema
from node.ledger.audit import About, record
from node.ledger.engine import Transaction, database_now

_TABLE = schema.pledge


def begin(tx: Transaction, parcel: Work, transaction_uid: str, referenced: Sequence[str]) -> None:
    """Write down that a destination is about to be asked for these SOP Instance UIDs; the same once."""
    if _row(tx, transaction_uid) is not None:
        return
    values: dict[str, Any] = {"transaction_uid": transaction_uid, "work_id": parcel.id, "destination": parcel.destination}
    values["attempt"] = parcel.attempt
    detail = {"transaction_uid": transaction_uid, "instances": list(referenced)}
    at = record(tx, "pledge.begun", detail, **jobs.about(parcel))
    tx.execute(_TABLE.insert().values(**values, referenced=list(referenced), state="asking", asked_at=at))


def asked(tx: Transaction, parcel: Work, transaction_uid: str) -> None:
    """Write down that the destination has taken the request; its report may be here already."""
    row = _row(tx, transaction_uid)
    if row is not None and row["state"] == "asking":
        record(tx, "pledge.asked", {"transaction_uid": transaction_uid}, **jobs.about(parcel))
        _set(tx, transaction_uid, state=follow(PLEDGE, "asking", "ask"))


def expire(tx: Transaction, parcel: Work, transaction_uid: str, sentence: str) -> None:
    """Wait no longer for a report, and say why."""
    row = _row(tx, transaction_uid)
    if row is not None and row["state"] in ("asking", "asked"):
        record(tx, "pledge.expired", {"transaction_uid": transaction_uid, "sentence": sentence}, **jobs.about(parcel))
        _set(tx, transaction_uid, state=follow(PLEDGE, row["state"], "expire"), reason=sentence)


def latest(tx: Transaction, parcel: Work) -> Pledge | None:
    """What was asked in this attempt of a parcel, behind the last object that was sent; None when nothing was."""
    sent_at = sa.select(sa.func.max(schema.delivery.c.sent_at)).where(schema.delivery.c.work_id == parcel.id).scalar_subquery()
    since = (_TABLE.c.work_id == parcel.id) & (_TABLE.c.attempt == parcel.attempt) & (_TABLE.c.asked_at >= sent_at)
    row = tx.execute(sa.select(_TABLE).where(since).order_by(_TABLE.c.asked_at.desc()).limit(1)).mappings().one_or_none()
    if row is None:
        return None
    age_s = (database_now(tx) - row["asked_at"]).total_seconds()
    return Pledge(transaction_uid=row["transaction_uid"], state=row["state"], age_s=age_s, failed=row["failed"] or {})


def hear(tx: Transaction, promise: Promise, dispatch: jobs.Dispatch, *, resend: int) -> bool:
    """Write down what a destination says to a request of ours, and have the parcel go on; False when we have asked no such thing.

    A report that comes twice changes nothing.
    """
    row = _row(tx, promise.transaction_uid)
    parcel = jobs.find(tx, row["work_id"]) if row is not None else None
    if row is None or parcel is None:
        return False
    if row["state"] == "reported":
        return True
    asked_for = set(row["referenced"])
    failed = {uid: reason for uid, reason in promise.failed.items() if uid in asked_for}
    about: About = jobs.about(parcel)
    detail: dict[str, Any] = {"transaction_uid": promise.transaction_uid, "calling_ae": promise.calling_ae}
    detail |= {"committed": sorted(promise.committed & asked_for), "failed": {uid: f"0x{reason:04X}" for uid, reason in failed.items()}}
    at = record(tx, "pledge.reported", detail, **about)
    _set(tx, promise.transaction_uid, state=follow(PLEDGE, row["state"], "report"), failed=failed, reported_at=at)
    receipts.keep(tx, parcel, _receipts(promise, asked_for), resend=resend)
    jobs.hasten(tx, parcel.id, dispatch)
    return True


def _receipts(promise: Promise, asked_for: set[str]) -> dict[str, Receipt]:
    """What a report says of each object; of one that failed for another reason than its absence, nothing is known."""
    kept = {uid: Receipt(event="commit", sentence="Committed by the destination.") for uid in promise.committed & asked_for}
    gone = "The destination does not hold it (failure reason 0x0112)."
    return kept | {uid: Receipt(event="lose", sentence=gone) for uid, reason in promise.failed.items() if reason == NO_SUCH_INSTANCE}


def _row(tx: Transaction, transaction_uid: str) -> dict[str, Any] | None:
    found = tx.execute(sa.select(_TABLE).where(_TABLE.c.transaction_uid == transaction_uid)).mappings().one_or_none()
    return dict(found) if found is not None else None


def _set(tx: Transaction, transaction_uid: str, **values: object) -> None:
    tx.execute(_TABLE.update().where(_TABLE.c.transaction_uid == transaction_uid).values(**values))
