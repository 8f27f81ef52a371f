"""Requests for storage commitment: asked, judged, reported or given up (PS3.4 Annex J).

A report that is owed is a row, so it outlives the listener that was asked. Whoever brings it holds a lease on the row, by the database's
clock; of several listeners one brings it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from node.core.commitment import DUPLICATE_TRANSACTION, Commitment, CommitmentRequest, Judged, Reference, Refusal, Report
from node.core.states import COMMITMENT, follow
from node.core.study import Peer
from node.ledger import schema
from node.ledger.audit import About, Entry, record, record_all
from node.ledger.engine import Transaction, database_now

_TABLE = schema.commitment
#: SQLite takes some tens of thousands of parameters in one statement, older ones 999.
_MOST_AT_ONCE = 900
_MOST_DUE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What the ledger knows of an instance that we hold.

    Attributes
    ----------
    size : int or None
        Length of the data set; None of an object that we made.
    quarantined : str or None
        Why it is kept apart from its study, if it is.
    is_purged : bool
        Its bytes were let go, by a rule.
    """

    sop_class_uid: str
    study_instance_uid: str
    key: str
    sha256: str
    size: int | None
    quarantined: str | None
    is_purged: bool


def ask(tx: Transaction, request: CommitmentRequest, home: str, *, report_in_s: float, keep_s: float) -> None:
    """Write a request down; its report is owed from then on.

    A Transaction UID that its requester has used before gets the answer that it got then when it asks for the same, and is judged a
    duplicate in every instance when it asks for something else.

    Parameters
    ----------
    home : str
        The listener that was asked. For ``keep_s`` seconds nobody else reports, because the requester's association is there.
    report_in_s : float
        When the report is due.
    """
    if tx.execute(sa.select(_TABLE.c.id).where(_TABLE.c.id == request.id)).scalar_one_or_none():
        return  # the answer to an earlier COMMIT was lost
    mine = (_TABLE.c.calling_ae == request.peer.calling_ae) & (_TABLE.c.transaction_uid == request.transaction_uid)
    earlier = tx.execute(sa.select(_TABLE).where(mine).order_by(_TABLE.c.asked_at)).mappings().all()
    referenced = [[reference.sop_class_uid, reference.sop_instance_uid] for reference in request.references]
    same = next((row for row in earlier if sorted(row["referenced"]) == sorted(referenced)), None)
    detail = {**_peer_of(request.peer), "transaction_uid": request.transaction_uid, "instances": len(referenced)}
    event = "commitment.repeated" if same else "commitment.requested"
    about: About = {"association_id": request.association_id, "work_id": same["id"] if same else request.id}
    at = record(tx, event, detail, **about)
    values: dict[str, Any] = {
        "called_ae": request.peer.called_ae,
        "address": request.peer.address,
        "association_id": request.association_id,
    }
    values |= {"asked_at": at, "due_at": at + timedelta(seconds=report_in_s), "attempts": 0, "code": None, "reason": None}
    values |= {"lease_token": home, "lease_until_at": at + timedelta(seconds=report_in_s + keep_s)}
    if same:
        state = follow(COMMITMENT, same["state"], "repeat")
        tx.execute(_TABLE.update().where(_TABLE.c.id == same["id"]).values(state=state, **values))
        return
    values |= {"id": request.id, "transaction_uid": request.transaction_uid, "calling_ae": request.peer.calling_ae}
    values |= {"referenced": referenced, "state": "waiting"}
    tx.execute(_TABLE.insert().values(**values))
    if earlier:
        judged = [Judged(reference=reference, reason=DUPLICATE_TRANSACTION) for reference in request.references]
        _judge(tx, request, judged)


def refuse(tx: Transaction, peer: Peer, association_id: str, refusal: Refusal) -> None:
    """Write down that a request was answered a failure status, and why."""
    detail = {**_peer_of(peer), "status": f"0x{refusal.status:04X}", "sentence": refusal.sentence}
    record(tx, "commitment.refused", detail, association_id=association_id)


def are_due(tx: Transaction) -> bool:
    """Whether a report is due, whoever holds it."""
    due = sa.select(_TABLE.c.id).where(_TABLE.c.state == "waiting", _TABLE.c.due_at <= database_now(tx))
    return tx.execute(due.limit(1)).first() is not None


def claim(tx: Transaction, home: str, token: str, lease_s: float, is_gone: Callable[[str], bool]) -> Commitment | None:
    """Take the report that has been due longest, for ``lease_s`` seconds; None when there is none to be had.

    Parameters
    ----------
    home, token : str
        The listener, whose own rows are free to it, and a name that nobody else has.
    is_gone : callable
        Tells whether the process that holds a lease is known to be gone.
    """
    now = database_now(tx)
    due = sa.select(_TABLE).where(_TABLE.c.state == "waiting", _TABLE.c.due_at <= now).order_by(_TABLE.c.due_at).limit(_MOST_DUE)
    for row in tx.execute(due).mappings().all():
        holder, until = row["lease_token"], row["lease_until_at"]
        if holder not in (None, home) and until > now and not is_gone(holder):
            continue
        same_holder = _TABLE.c.lease_token == holder if holder else _TABLE.c.lease_token.is_(None)
        mine = (_TABLE.c.id == row["id"]) & (_TABLE.c.state == "waiting") & (_TABLE.c.due_at == row["due_at"]) & same_holder
        values = {"lease_token": token, "lease_until_at": now + timedelta(seconds=lease_s)}
        if tx.execute(_TABLE.update().where(mine).values(**values)).rowcount:
            return _commitment_of(dict(row), (now - row["asked_at"]).total_seconds())
    return None


def holdings(tx: Transaction, uids: Sequence[str]) -> dict[str, Holding]:
    """What is held of these SOP Instance UIDs: instances that were sent to us, and objects that we made."""
    found: dict[str, Holding] = {}
    made, work, sent = schema.delivery, schema.work, schema.instance

    def gone(table: sa.Table) -> sa.ColumnElement[bool]:
        return table.c.purged_at.is_not(None).label("is_purged")

    columns = ("sop_instance_uid", "sop_class_uid", "key", "sha256")
    for some in (uids[place : place + _MOST_AT_ONCE] for place in range(0, len(uids), _MOST_AT_ONCE)):
        owned = sa.select(
            *(made.c[name] for name in columns),
            work.c.study_instance_uid,
            sa.null().label("size"),
            sa.null().label("quarantined"),
            gone(made),
        )
        owned = owned.join(work, made.c.work_id == work.c.id).where(made.c.sop_instance_uid.in_(some))
        held = sa.select(*(sent.c[name] for name in (*columns, "study_instance_uid", "size", "quarantined")), gone(sent)).where(
            sent.c.sop_instance_uid.in_(some)
        )
        for query in (owned, held):
            rows = tx.execute(query).mappings()
            found |= {row["sop_instance_uid"]: Holding(**{name: row[name] for name in Holding.__dataclass_fields__}) for row in rows}
    return found


def judge(tx: Transaction, commitment: Commitment, token: str, judged: Sequence[Judged]) -> bool:
    """Write down what the requester will be told; False when the lease was lost."""
    if not _holds(tx, commitment, token):
        return False
    _judge(tx, commitment.request, judged)
    return True


def report(tx: Transaction, commitment: Commitment, token: str, told: Mapping[str, object]) -> bool:
    """Write down that the requester was told, and how; False when the lease was lost."""
    if not _holds(tx, commitment, token):
        return False
    at = record(tx, "commitment.reported", {**_asked(commitment), **told}, **_about(commitment.request))
    _end(tx, commitment, state=follow(COMMITMENT, "waiting", "report"), reported_at=at, code=None, reason=None)
    return True


def postpone(tx: Transaction, commitment: Commitment, token: str, code: str, sentence: str, *, wait_s: float) -> bool:
    """Write down why the requester could not be told yet, to be tried again; False when the lease was lost."""
    if not _holds(tx, commitment, token):
        return False
    about = _about(commitment.request)
    about["code"] = code
    at = record(tx, "commitment.postponed", {**_asked(commitment), "sentence": sentence}, **about)
    _end(tx, commitment, due_at=at + timedelta(seconds=wait_s), code=code, reason=sentence)
    return True


def defer(tx: Transaction, commitment: Commitment, token: str, home: str, wait_s: float) -> None:
    """Look again soon: rows of instances that were answered for are on their way. Nothing has changed, so nothing is recorded."""
    mine = (_TABLE.c.id == commitment.request.id) & (_TABLE.c.lease_token == token)
    tx.execute(_TABLE.update().where(mine).values(due_at=database_now(tx) + timedelta(seconds=wait_s), lease_token=home))


def give_up(tx: Transaction, commitment: Commitment, token: str, code: str, sentence: str) -> bool:
    """Write down that the requester will not be told, and why; False when the lease was lost."""
    if not _holds(tx, commitment, token):
        return False
    about = _about(commitment.request)
    about["code"] = code
    record(tx, "commitment.failed", {**_asked(commitment), "sentence": sentence}, **about)
    _end(tx, commitment, state=follow(COMMITMENT, "waiting", "fail"), code=code, reason=sentence)
    return True


def _holds(tx: Transaction, commitment: Commitment, token: str) -> bool:
    mine = (_TABLE.c.id == commitment.request.id) & (_TABLE.c.lease_token == token) & (_TABLE.c.state == "waiting")
    return tx.execute(sa.select(_TABLE.c.id).where(mine)).first() is not None


def _end(tx: Transaction, commitment: Commitment, **values: object) -> None:
    """End one attempt, and the lease with it."""
    fixed = {"attempts": commitment.attempts + 1, "lease_token": None, "lease_until_at": None}
    tx.execute(_TABLE.update().where(_TABLE.c.id == commitment.request.id).values(**fixed, **values))


def _judge(tx: Transaction, request: CommitmentRequest, judged: Sequence[Judged]) -> None:
    record_all(tx, list(_entries(request, judged)))
    tx.execute(_TABLE.update().where(_TABLE.c.id == request.id).values(result=[one.reason for one in judged]))


def _entries(request: CommitmentRequest, judged: Sequence[Judged]) -> Iterator[Entry]:
    """One row for each study, so that its history tells what was answered for, and one for what we know nothing of."""
    for study in dict.fromkeys(one.study_instance_uid for one in judged):
        here = [one for one in judged if one.study_instance_uid == study]
        detail: dict[str, Any] = {"transaction_uid": request.transaction_uid}
        detail["committed"] = [one.reference.sop_instance_uid for one in here if not one.reason]
        detail["failed"] = {one.reference.sop_instance_uid: f"0x{one.reason:04X}" for one in here if one.reason}
        about = _about(request)
        if study is not None:
            about["study_instance_uid"] = study
        yield Entry("commitment.judged", detail, about)


def _asked(commitment: Commitment) -> dict[str, object]:
    request = commitment.request
    return {"calling_ae": request.peer.calling_ae, "transaction_uid": request.transaction_uid, "attempt": commitment.attempts + 1}


def _peer_of(peer: Peer) -> dict[str, str]:
    return {"calling_ae": peer.calling_ae, "called_ae": peer.called_ae, "address": peer.address}


def _about(request: CommitmentRequest) -> About:
    return {"association_id": request.association_id, "work_id": request.id}


def _commitment_of(row: Mapping[str, Any], age_s: float) -> Commitment:
    references = tuple(Reference(*pair) for pair in row["referenced"])
    request = CommitmentRequest(
        id=row["id"],
        transaction_uid=row["transaction_uid"],
        peer=Peer(calling_ae=row["calling_ae"], called_ae=row["called_ae"], address=row["address"]),
        association_id=row["association_id"],
        references=references,
    )
    told = None
    if row["result"] is not None:
        judged = (Judged(reference=reference, reason=reason) for reference, reason in zip(references, row["result"], strict=True))
        told = Report(transaction_uid=row["transaction_uid"], judged=tuple(judged))
    return Commitment(request=request, report=told, attempts=row["attempts"], age_s=age_s)
