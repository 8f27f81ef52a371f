"""Instances: what was accepted, once, under its identity."""

from __future__ import annotations

import sqlalchemy as sa

from node.core.errors import ConflictingDuplicate
from node.core.study import Arrival, Instance, Peer
from node.ledger import schema, studies
from node.ledger.audit import record
from node.ledger.engine import Transaction


def held(tx: Transaction, sop_instance_uid: str) -> Instance | None:
    """Return the instance that is held under this UID, if any."""
    row = tx.execute(sa.select(*_columns()).where(schema.instance.c.sop_instance_uid == sop_instance_uid)).mappings().one_or_none()
    return Instance(**row) if row else None


def accept(tx: Transaction, instance: Instance, arrival: Arrival) -> bool:
    """Enter ``instance``, and open its study or keep it open.

    Returns
    -------
    bool
        False when the same bytes were held already; they are counted, and the sender may be told Success.

    Raises
    ------
    ConflictingDuplicate
        When other bytes are held under this SOP Instance UID.
    """
    known = held(tx, instance.sop_instance_uid)
    if known is not None:
        return _count_duplicate(tx, known, instance, arrival)
    at = record(
        tx,
        "instance.received",
        {"sop_class_uid": instance.sop_class_uid, "sha256": instance.sha256, "size": instance.size, "calling_ae": arrival.peer.calling_ae},
        association_id=arrival.association_id,
        study_instance_uid=instance.study_instance_uid,
        series_instance_uid=instance.series_instance_uid,
        sop_instance_uid=instance.sop_instance_uid,
    )
    revision = studies.receive(tx, instance.study_instance_uid, at)
    row = {column.name: getattr(instance, column.name) for column in _columns()}
    extra = {"revision": revision, "calling_ae": arrival.peer.calling_ae, "association_id": arrival.association_id, "received_at": at}
    tx.execute(schema.instance.insert().values(**row, **extra))
    return True


def _count_duplicate(tx: Transaction, known: Instance, again: Instance, arrival: Arrival) -> bool:
    if any(getattr(known, name) != getattr(again, name) for name in ("sha256", "study_instance_uid", "transfer_syntax_uid")):
        raise ConflictingDuplicate("Another data set is held under this SOP Instance UID. Nothing was changed; correct the sender.")
    mine = schema.instance.c.sop_instance_uid == known.sop_instance_uid
    tx.execute(schema.instance.update().where(mine).values(duplicates=schema.instance.c.duplicates + 1))
    record(
        tx,
        "instance.duplicate",
        {"calling_ae": arrival.peer.calling_ae},
        association_id=arrival.association_id,
        study_instance_uid=known.study_instance_uid,
        sop_instance_uid=known.sop_instance_uid,
    )
    return False


def refuse(tx: Transaction, arrival: Arrival, code: str, sentence: str) -> None:
    """Write down that an arrival was answered a failure status, and why.

    The UIDs are stored only as far as they fit, and without NUL, which PostgreSQL takes nowhere; a malformed one is evidence, not a key.
    """
    detail = {
        "sentence": sentence,
        "sop_class_uid": _storable(arrival.sop_class_uid),
        "size": len(arrival.data_set),
        "calling_ae": arrival.peer.calling_ae,
    }
    uid = _storable(arrival.sop_instance_uid)
    record(tx, "instance.refused", detail, association_id=arrival.association_id, sop_instance_uid=uid, code=code)


def _storable(uid: str) -> str:
    return uid.replace("\0", "\N{REPLACEMENT CHARACTER}")[:64]  # PostgreSQL stores no NUL


def record_association(tx: Transaction, event: str, association_id: str, peer: Peer, **detail: object) -> None:
    """Write down what became of an association: accepted, rejected, released or aborted."""
    said = {"calling_ae": peer.calling_ae, "called_ae": peer.called_ae, "address": peer.address, **detail}
    record(tx, f"association.{event}", said, association_id=association_id)


def of_study(tx: Transaction, study_instance_uid: str, revision: int) -> list[Instance]:
    """Every instance of a study up to and including ``revision``, in a stable order."""
    table = schema.instance
    mine = (table.c.study_instance_uid == study_instance_uid) & (table.c.revision <= revision)
    rows = tx.execute(sa.select(*_columns()).where(mine).order_by(table.c.series_instance_uid, table.c.sop_instance_uid)).mappings()
    return [Instance(**row) for row in rows]


def of_series(tx: Transaction, series_instance_uids: list[str], study_instance_uid: str, revision: int) -> list[Instance]:
    """The instances of some series of a study at ``revision``, in a stable order."""
    wanted = set(series_instance_uids)
    return [found for found in of_study(tx, study_instance_uid, revision) if found.series_instance_uid in wanted]


def _columns() -> list[sa.Column[object]]:
    return [schema.instance.c[name] for name in Instance.__dataclass_fields__]
