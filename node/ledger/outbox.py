"""The outbox: which object is owed to which destination, and what the destination answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from node.core.job import Work
from node.core.result import Answer, Delivery, StoredObject
from node.core.states import DELIVERED, DELIVERY, follow
from node.core.study import StudyCount
from node.ledger import jobs, schema
from node.ledger.audit import About, record
from node.ledger.engine import Transaction

_OBJECT_FIELDS = ("kind", "sop_class_uid", "sop_instance_uid", "series_instance_uid", "key", "sha256")


def owe(
    tx: Transaction,
    work: Work,
    objects: Sequence[StoredObject],
    destinations: Sequence[str],
    dispatch: jobs.Dispatch,
    shadow: Collection[str] = (),
) -> None:
    """Owe every object of a finished job to every destination, one parcel for each; idempotent.

    What would go to a destination in ``shadow`` is kept, and never sent.
    """
    for destination in destinations:
        if destination in shadow:
            _withhold(tx, work, objects, destination)
            continue
        parcel_id = f"{work.job_id}:{destination}"
        if jobs.find(tx, parcel_id) is not None:
            continue
        counts = {"attempt": 1, "dispatch": 1, "crashes": 0, "priority": work.priority}
        parcel = Work(id=parcel_id, kind="deliver", job_id=work.job_id, job=work.job, destination=destination, **counts)
        jobs.enter(tx, parcel, dispatch)
        for stored in objects:
            at = record(tx, "delivery.owed", {"kind": stored.kind, "sha256": stored.sha256}, **about(parcel, stored))
            row: dict[str, Any] = {name: getattr(stored, name) for name in _OBJECT_FIELDS}
            row |= {"destination": destination, "work_id": parcel_id, "job_id": work.job_id, "state": "waiting", "owed_at": at}
            tx.execute(schema.delivery.insert().values(**row))


def _withhold(tx: Transaction, work: Work, objects: Sequence[StoredObject], destination: str) -> None:
    """Keep the objects of a job in shadow mode, with a row for each, so that nothing takes them for waste."""
    table = schema.delivery
    for stored in objects:
        if tx.execute(
            sa.select(table.c.state).where((table.c.sop_instance_uid == stored.sop_instance_uid) & (table.c.destination == destination))
        ).scalar_one_or_none():
            continue
        subject = jobs.about(work)
        subject |= {"sop_instance_uid": stored.sop_instance_uid, "series_instance_uid": stored.series_instance_uid}
        subject["destination"] = destination
        at = record(tx, "delivery.withheld", {"kind": stored.kind, "sha256": stored.sha256}, **subject)
        row: dict[str, Any] = {name: getattr(stored, name) for name in _OBJECT_FIELDS}
        row |= {"destination": destination, "work_id": work.id, "job_id": work.job_id, "owed_at": at}
        tx.execute(table.insert().values(**row, state=follow(DELIVERY, "waiting", "withhold")))


def stored_at(tx: Transaction, destination: str, study_instance_uid: str) -> StudyCount:
    """How much of a study at a destination is results that we have sent there."""
    table, work = schema.delivery, schema.work
    ours = (work.c.study_instance_uid == study_instance_uid) & (table.c.destination == destination) & table.c.state.in_(DELIVERED)
    objects, series = (sa.func.count(sa.distinct(column)) for column in (table.c.sop_instance_uid, table.c.series_instance_uid))
    row = tx.execute(sa.select(objects, series).select_from(table.join(work, work.c.id == table.c.work_id)).where(ours)).one()
    return StudyCount(instances=row[0], series=row[1])


def unsent(tx: Transaction, parcel: Work) -> list[Delivery]:
    """The objects of a parcel that the destination has not accepted yet, SEG before the SR that refers to it."""
    table = schema.delivery
    waiting = (table.c.work_id == parcel.id) & table.c.state.in_(("waiting", "sending"))
    rows = tx.execute(sa.select(table).where(waiting).order_by(table.c.kind, table.c.sop_instance_uid)).mappings()
    return [delivery_of(dict(row)) for row in rows]


def start(tx: Transaction, parcel: Work) -> list[Delivery]:
    """Mark what is unsent of ``parcel`` as being sent, and return it."""
    found = unsent(tx, parcel)
    for delivery in found:
        values = {"state": follow(DELIVERY, delivery.state, "send"), "attempts": schema.delivery.c.attempts + 1}
        tx.execute(schema.delivery.update().where(is_row_of(delivery)).values(**values))
        record(tx, "delivery.started", {"attempt": delivery.attempt + 1}, **about(parcel, delivery.object))
    return found


def answer(tx: Transaction, parcel: Work, answers: Mapping[str, Answer]) -> None:
    """Write down what the destination said to each object (SOP Instance UID -> answer)."""
    verb = {"accept": "sent", "retry": "postponed", "refuse": "refused"}
    for delivery in unsent(tx, parcel):
        said = answers.get(delivery.object.sop_instance_uid)
        if said is None or (delivery.state == "waiting" and said.event != "refuse"):
            continue
        new = follow(DELIVERY, delivery.state, said.event)
        status = None if said.dimse_status is None else f"0x{said.dimse_status:04X}"
        at = record(tx, f"delivery.{verb[said.event]}", {"status": status, "sentence": said.sentence}, **about(parcel, delivery.object))
        values: dict[str, Any] = {"state": new, "dimse_status": said.dimse_status, "reason": said.sentence}
        if new == "sent":
            values["sent_at"] = at
        tx.execute(schema.delivery.update().where(is_row_of(delivery)).values(**values))


def give_up(tx: Transaction, parcel: Work, sentence: str) -> None:
    """Park whatever of ``parcel`` was not accepted, with the reason."""
    refusal = Answer(event="refuse", dimse_status=None, sentence=sentence)
    answer(tx, parcel, {delivery.object.sop_instance_uid: refusal for delivery in unsent(tx, parcel)})


def refusal(tx: Transaction, parcel: Work) -> str | None:
    """Why an object of ``parcel`` is parked; None when none is."""
    parked = (schema.delivery.c.work_id == parcel.id) & (schema.delivery.c.state == "refused")
    reasons = [row.reason or "" for row in tx.execute(sa.select(schema.delivery.c.reason).where(parked))]
    return reasons[0] if reasons else None


def replay(tx: Transaction, parcel: Work) -> None:
    """Take the refused objects of a replayed parcel up again; what was sent and not confirmed is asked for anew."""
    tx.execute(schema.pledge.update().where(schema.pledge.c.work_id == parcel.id).values(attempt=0))
    table = schema.delivery
    refused = tx.execute(sa.select(table).where((table.c.work_id == parcel.id) & (table.c.state == "refused"))).mappings().all()
    for delivery in (delivery_of(dict(row)) for row in refused):
        values = {"state": follow(DELIVERY, delivery.state, "replay"), "reason": None, "dimse_status": None, "losses": 0}
        tx.execute(table.update().where(is_row_of(delivery)).values(**values))
        record(tx, "delivery.replayed", {"kind": delivery.object.kind}, **about(parcel, delivery.object))


def delivery_of(row: Mapping[str, Any]) -> Delivery:
    """Make a Delivery of a row."""
    stored = StoredObject(**{name: row[name] for name in _OBJECT_FIELDS})
    return Delivery(job_id=row["job_id"], destination=row["destination"], object=stored, state=row["state"], attempt=row["attempts"])


def is_row_of(delivery: Delivery) -> sa.ColumnElement[bool]:
    """The condition that picks its row."""
    table = schema.delivery
    return (table.c.sop_instance_uid == delivery.object.sop_instance_uid) & (table.c.destination == delivery.destination)


def about(parcel: Work, stored: StoredObject) -> About:
    """What an audit row on one object of ``parcel`` is about."""
    found = jobs.about(parcel)
    found["sop_instance_uid"] = stored.sop_instance_uid
    found["series_instance_uid"] = stored.series_instance_uid
    return found
