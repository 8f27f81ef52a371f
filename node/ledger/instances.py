"""Instances: what was accepted, once, under its identity."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from node.core.errors import ConflictingDuplicate, StorageError
from node.core.study import Accepted, Arrival, Instance, Peer, Source
from node.ledger import quarantine, schema, studies
from node.ledger.audit import About, Entry, record, record_all
from node.ledger.engine import Transaction

_NAMES = tuple(Instance.__dataclass_fields__)
_COLUMNS = [schema.instance.c[name] for name in _NAMES]
_PURGED = sa.case((schema.instance.c.purged_at.is_not(None), sa.literal_column("1")), else_=sa.literal_column("0"))
#: What is held under a UID, and whether its bytes were purged; ``of_row`` reads the answer.
HELD = sa.select(*_COLUMNS, _PURGED).where(schema.instance.c.sop_instance_uid == sa.bindparam("uid"))
_HELD_BY = sa.select(*_COLUMNS, _PURGED, schema.instance.c.association_id).where(
    schema.instance.c.sop_instance_uid.in_(sa.bindparam("uids", expanding=True))
)


def held(tx: Transaction, sop_instance_uid: str) -> Instance | None:
    """Return the instance that is held under this UID, if any."""
    row = tx.execute(HELD, {"uid": sop_instance_uid}).one_or_none()
    return of_row(row)[0] if row else None


def of_row(row: Sequence[Any]) -> tuple[Instance, bool]:
    """Make the instance of a row of ``HELD``, and say whether its bytes were purged."""
    return Instance(**dict(zip(_NAMES, row[:-1], strict=True))), bool(row[-1])


def accept_all(tx: Transaction, batch: Sequence[Accepted]) -> None:
    """Enter instances that were answered Success, and open their studies or keep them open.

    Idempotent: what the same association brought is entered once, should the answer to a COMMIT be lost. The same bytes from another
    association are counted. Other bytes under a UID that is held can only come here when two listeners accepted both within the same
    moment: the later is kept as evidence, and the audit log says so. What is of another patient than its study is entered and kept apart.
    What was purged and has come again is held again, under the key that it came with.
    """
    known = _held_by_association(tx, {accepted.instance.sop_instance_uid for accepted in batch})
    new: list[Accepted] = []
    entries: list[Entry] = []
    again: list[str] = []
    restored: list[Accepted] = []
    for accepted in batch:
        uid = accepted.instance.sop_instance_uid
        if uid not in known:
            known[uid] = (accepted.instance, False, "")
            new.append(accepted)
            entries.append(_received(accepted))
            continue
        before, was_purged, association_id = known[uid]
        if not before.is_same_as(accepted.instance):
            entries.append(_conflict(accepted, accepted.instance.key))
        elif was_purged and before.key != accepted.instance.key:
            known[uid] = (accepted.instance, False, accepted.arrival.association_id)
            restored.append(accepted)
            entries.append(_restored(accepted))
        elif association_id != accepted.arrival.association_id:
            again.append(uid)
            entries.append(_again(accepted))
    if entries:
        foreign = quarantine.find_foreign(tx, new) if new else frozenset()
        entries += [_quarantined(accepted) for accepted in new if accepted.instance.sop_instance_uid in foreign]
        at = record_all(tx, entries)
        _insert(tx, new, foreign, at)
        _count(tx, again)
        for accepted in restored:
            mine = schema.instance.c.sop_instance_uid == accepted.instance.sop_instance_uid
            values = {"key": accepted.instance.key, "received_at": at, "association_id": accepted.arrival.association_id}
            tx.execute(schema.instance.update().where(mine).values(purged_at=None, **values))


def _held_by_association(tx: Transaction, uids: Collection[str]) -> dict[str, tuple[Instance, bool, str]]:
    rows = tx.execute(_HELD_BY, {"uids": list(uids)})
    return {row[0]: (*of_row(row[:-1]), row[-1]) for row in rows}


def _insert(tx: Transaction, new: Sequence[Accepted], foreign: Collection[str], at: datetime) -> None:
    own = [accepted for accepted in new if accepted.instance.sop_instance_uid not in foreign]
    first = {accepted.instance.study_instance_uid: accepted for accepted in reversed(own)}
    revisions = {
        study: studies.receive(
            tx, study, at, count, calling_ae=first[study].arrival.peer.calling_ae, patient_id=first[study].instance.patient_id
        )
        for study, count in Counter(accepted.instance.study_instance_uid for accepted in own).items()
    }
    for study in {accepted.instance.study_instance_uid for accepted in new} - set(revisions):
        revisions[study] = studies.latest_revision(tx, study)
    rows = [
        {
            **{name: getattr(accepted.instance, name) for name in _NAMES},
            "revision": revisions[accepted.instance.study_instance_uid],
            "calling_ae": accepted.arrival.peer.calling_ae,
            "called_ae": accepted.arrival.peer.called_ae,
            "quarantined": quarantine.MIXED if accepted.instance.sop_instance_uid in foreign else None,
            "association_id": accepted.arrival.association_id,
            "received_at": at,
            "duplicates": 0,
        }
        for accepted in new
    ]
    if rows:
        tx.execute(schema.instance.insert(), rows)


def _count(tx: Transaction, uids: Iterable[str]) -> None:
    for uid, count in Counter(uids).items():
        mine = schema.instance.c.sop_instance_uid == uid
        tx.execute(schema.instance.update().where(mine).values(duplicates=schema.instance.c.duplicates + count))


def _received(accepted: Accepted) -> Entry:
    instance = accepted.instance
    sent = {"sop_class_uid": instance.sop_class_uid, "sha256": instance.sha256, "size": instance.size}
    return Entry("instance.received", {**sent, "calling_ae": accepted.arrival.peer.calling_ae}, _about(accepted))


def _again(accepted: Accepted) -> Entry:
    return Entry("instance.duplicate", {"calling_ae": accepted.arrival.peer.calling_ae}, _about(accepted))


def _conflict(accepted: Accepted, key: str) -> Entry:
    evidence = {"key": key, "sha256": accepted.instance.sha256, "calling_ae": accepted.arrival.peer.calling_ae}
    about = _about(accepted)
    about["code"] = ConflictingDuplicate.code
    return Entry("instance.conflict", evidence, about)


def _restored(accepted: Accepted) -> Entry:
    return Entry("instance.restored", {"key": accepted.instance.key, "calling_ae": accepted.arrival.peer.calling_ae}, _about(accepted))


def _quarantined(accepted: Accepted) -> Entry:
    about = _about(accepted)
    about["code"] = quarantine.MIXED
    return Entry("instance.quarantined", {"calling_ae": accepted.arrival.peer.calling_ae}, about)


def _about(accepted: Accepted) -> About:
    instance = accepted.instance
    return {
        "association_id": accepted.arrival.association_id,
        "study_instance_uid": instance.study_instance_uid,
        "series_instance_uid": instance.series_instance_uid,
        "sop_instance_uid": instance.sop_instance_uid,
    }


def quarantine_key(instance: Instance) -> str:
    """Where bytes are kept that contradict those held under the same UID."""
    return f"quarantine/{instance.key.removeprefix('instances/')}"


def key_again(accepted: Accepted) -> str:
    """Where bytes are kept that were purged and come again: never under the old key, of which a file may still be on its way out."""
    stem = accepted.instance.key.removesuffix(".dcm")
    return f"{stem}-{hashlib.sha256(accepted.arrival.association_id.encode()).hexdigest()[:8]}.dcm"


def is_purged(tx: Transaction, sop_instance_uid: str) -> bool:
    """Whether we held this and let its bytes go."""
    row = tx.execute(HELD, {"uid": sop_instance_uid}).one_or_none()
    return row is not None and of_row(row)[1]


def record_conflict(tx: Transaction, accepted: Accepted, key: str) -> None:
    """Write down that bytes were refused because others are held under their UID, and where they are kept."""
    record_all(tx, [_conflict(accepted, key)])


def record_damaged(tx: Transaction, key: str, kept: str, error: StorageError) -> None:
    """Write down that bytes which were answered for are no longer whole: what they were called, and where they are kept."""
    record(tx, "instance.damaged", {"key": kept, "was": key, "sentence": error.sentence}, code=error.full_code)


def refuse(tx: Transaction, arrival: Arrival, size: int, code: str, sentence: str) -> None:
    """Write down that an arrival was answered a failure status, and why.

    The UIDs are stored only as far as they fit, and without NUL, which PostgreSQL takes nowhere; a malformed one is evidence, not a key.
    """
    detail = {"sentence": sentence, "sop_class_uid": _storable(arrival.sop_class_uid), "size": size, "calling_ae": arrival.peer.calling_ae}
    uid = _storable(arrival.sop_instance_uid)
    record(tx, "instance.refused", detail, association_id=arrival.association_id, sop_instance_uid=uid, code=code)


def _storable(uid: str) -> str:
    return uid.replace("\0", "\N{REPLACEMENT CHARACTER}")[:64]  # PostgreSQL stores no NUL


def record_association(tx: Transaction, event: str, association_id: str, peer: Peer, **detail: object) -> None:
    """Write down what became of an association: accepted, rejected, released or aborted."""
    said = {"calling_ae": peer.calling_ae, "called_ae": peer.called_ae, "address": peer.address, **detail}
    record(tx, f"association.{event}", said, association_id=association_id)


def of_study(tx: Transaction, study_instance_uid: str, revision: int) -> list[Instance]:
    """Every instance that belongs to a study up to and including ``revision``, in a stable order; none that is kept apart from it."""
    table = schema.instance
    mine = (table.c.study_instance_uid == study_instance_uid) & (table.c.revision <= revision) & table.c.quarantined.is_(None)
    rows = tx.execute(sa.select(*_COLUMNS).where(mine).order_by(table.c.series_instance_uid, table.c.sop_instance_uid)).mappings()
    return [Instance(**row) for row in rows]


def sources_of(tx: Transaction, study_instance_uid: str, revision: int) -> list[Source]:
    """Who sent the instances of a study, and to which of our titles; the title is empty where it was not kept."""
    table = schema.instance
    mine = (table.c.study_instance_uid == study_instance_uid) & (table.c.revision <= revision)
    rows = tx.execute(
        sa.select(table.c.calling_ae, table.c.called_ae).where(mine).distinct().order_by(table.c.calling_ae, table.c.called_ae)
    )
    return [Source(calling_ae=row.calling_ae, called_ae=row.called_ae or "") for row in rows]


def of_series(tx: Transaction, series_instance_uids: list[str], study_instance_uid: str, revision: int) -> list[Instance]:
    """The instances of some series of a study at ``revision``, in a stable order."""
    wanted = set(series_instance_uids)
    return [found for found in of_study(tx, study_instance_uid, revision) if found.series_instance_uid in wanted]
