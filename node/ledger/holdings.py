"""What is held and may be asked for: received instances, and the objects that were made of them.

Reads, and the audit rows of questions: nothing here changes a state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from node.core.query import Asked, Group, Holding, Level, Retrieval, Subject
from node.ledger import schema
from node.ledger.audit import About, record
from node.ledger.engine import Transaction

_COLUMN_OF: Mapping[Level, str] = {
    "PATIENT": "patient_id",
    "STUDY": "study_instance_uid",
    "SERIES": "series_instance_uid",
    "IMAGE": "sop_instance_uid",
}
#: What is in quarantine belongs to nobody that we know.
_KNOWN = schema.instance.c.quarantined.is_(None)
#: Which received instances may be asked for: of what was purged there is nothing to send.
_SHOWN = _KNOWN & schema.instance.c.purged_at.is_(None)
#: So many UIDs of a question are written down.
_MOST_UIDS = 20

#: Unique key at a level -> its values; each at most as many as a statement takes.
Within = Mapping[Level, Sequence[str]]


def keys_after(tx: Transaction, level: Level, within: Within, after: str, most: int) -> list[str]:
    """The next unique keys of ``level`` behind ``after``, in order; a few of them may hold nothing that may be asked for."""
    if level == "STUDY" and "STUDY" not in within:
        table = schema.study
        chosen = [table.c.study_instance_uid > after]
        if "PATIENT" in within:
            of_patient = _held({"PATIENT": within["PATIENT"]})
            chosen.append(table.c.study_instance_uid.in_(sa.select(of_patient.c.study_instance_uid)))
        column: sa.ColumnElement[str] = table.c.study_instance_uid
        return list(tx.execute(sa.select(column).where(*chosen).distinct().order_by(column).limit(most)).scalars())
    held = _held(within)
    column = held.c[_COLUMN_OF[level]]
    return list(tx.execute(sa.select(column).where(column > after).distinct().order_by(column).limit(most)).scalars())


def groups(tx: Transaction, level: Level, within: Within, entities: Sequence[str]) -> list[Group]:
    """What is held of some patients, studies, series or instances, one group for each SOP class in each series, in the entities' order."""
    held = _held({**within, level: entities})
    entity = held.c[_COLUMN_OF[level]].label("entity")
    by = [entity, *(held.c[name] for name in ("patient_id", "study_instance_uid", "series_instance_uid", "modality", "sop_class_uid"))]
    columns = [*by, sa.func.count().label("instances"), sa.func.min(held.c.key).label("key")]
    rows = tx.execute(sa.select(*columns).group_by(*by).order_by(*by)).mappings()
    return [Group(**row) for row in rows]


def instances(tx: Transaction, within: Within) -> list[Holding]:
    """Every instance that is held of some patients, studies, series or instances, in a stable order."""
    held = _held(within)
    columns = [held.c[name] for name in Holding.__dataclass_fields__]
    order = [held.c[name] for name in ("study_instance_uid", "series_instance_uid", "sop_instance_uid")]
    return [Holding(**row) for row in tx.execute(sa.select(*columns).order_by(*order)).mappings()]


def record_query(tx: Transaction, asked: Asked, subject: Subject, matches: int, how: str) -> None:
    """Write down that a C-FIND was answered, with how many matches, and how it ended."""
    record(tx, "query.answered", {**_told(asked, subject), "matches": matches, "how": how}, **_about(asked, subject))


def record_query_refused(tx: Transaction, asked: Asked, code: str, sentence: str) -> None:
    """Write down that a question was refused, and why."""
    detail = {**_told(asked, Subject(level="")), "sentence": sentence}
    record(tx, "query.refused", detail, association_id=asked.association_id, code=code)


def record_retrieval(tx: Transaction, asked: Asked, subject: Subject, found: Retrieval) -> None:
    """Write down what became of a C-MOVE or a C-GET."""
    status = None if found.status is None else f"0x{found.status:04X}"
    counts = {"completed": found.completed, "failed": found.failed, "warned": found.warned}
    detail = {**_told(asked, subject), "destination": found.destination[:16], **counts, "status": status, "sentence": found.reason}
    record(tx, "retrieve.finished", detail, **_about(asked, subject))


def _told(asked: Asked, subject: Subject) -> dict[str, object]:
    peer = asked.peer
    who = {"calling_ae": peer.calling_ae, "address": peer.address, "service": asked.service, "root": asked.root}
    return {
        **who,
        "level": subject.level,
        "keys": list(subject.keys),
        "uids": {key: uids[:_MOST_UIDS] for key, uids in subject.uids.items()},
    }


def _about(asked: Asked, subject: Subject) -> About:
    about: About = {"association_id": asked.association_id}
    studies = subject.uids.get("StudyInstanceUID", ())
    if len(studies) == 1:
        about["study_instance_uid"] = studies[0]
    return about


def _held(within: Within) -> sa.Subquery:
    """Everything that is held, or what of it is within; the conditions stand in each branch, where the indexes are."""
    return sa.union_all(_received(within), _made(within)).subquery("held")


def _received(within: Within) -> sa.Select[*tuple[Any, ...]]:
    table = schema.instance
    names = ("sop_instance_uid", "sop_class_uid", "transfer_syntax_uid", "series_instance_uid", "study_instance_uid")
    columns = {name: table.c[name] for name in (*names, "patient_id", "modality", "key")}
    return _select(columns, within).where(_SHOWN)


def _made(within: Within) -> sa.Select[*tuple[Any, ...]]:
    """Our results: once each, however many destinations they are owed to, and not again where one came back to us."""
    table, job, source = schema.delivery, schema.work, schema.instance
    of_study = (source.c.study_instance_uid == job.c.study_instance_uid) & _KNOWN
    patient = sa.select(sa.func.min(source.c.patient_id)).where(of_study).scalar_subquery()
    came_back = sa.exists().where(source.c.sop_instance_uid == table.c.sop_instance_uid, source.c.purged_at.is_(None))
    columns: dict[str, sa.ColumnElement[str]] = {
        "sop_instance_uid": table.c.sop_instance_uid,
        "sop_class_uid": table.c.sop_class_uid,
        "transfer_syntax_uid": sa.literal("", sa.String),
        "series_instance_uid": table.c.series_instance_uid,
        "study_instance_uid": job.c.study_instance_uid,
        "patient_id": sa.func.coalesce(patient, ""),
        "modality": table.c.kind,
        "key": table.c.key,
    }
    return (
        _select(columns, within)
        .select_from(table.join(job, job.c.id == table.c.work_id))
        .where(~came_back, table.c.purged_at.is_(None))
        .distinct()
    )


def _select(columns: Mapping[str, sa.ColumnElement[str]], within: Within) -> sa.Select[*tuple[Any, ...]]:
    chosen = [columns[_COLUMN_OF[level]].in_(list(values)) for level, values in within.items()]
    return sa.select(*(column.label(name) for name, column in columns.items())).where(*chosen)
