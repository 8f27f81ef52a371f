"""Letting bytes go: what may, and the transaction that forgets them.

Rows stay for ever; only what they point to goes. A key that was forgotten lies in ``waste`` until its bytes are gone, so that a crash
between the two loses nothing and leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from node.core.retention import Ripe, Terms
from node.ledger import schema
from node.ledger.audit import record
from node.ledger.engine import Transaction, database_now

_INSTANCE, _STUDY, _WORK, _DELIVERY = schema.instance, schema.study, schema.work, schema.delivery
_HELD = _INSTANCE.c.purged_at.is_(None)
_MOST = 200


def ripe(tx: Transaction, terms: Terms, *, study: str | None = None, emergency: bool = False) -> list[Ripe]:
    """What may go now, what was delivered or ended longest ago first.

    Never what is owed to anyone and not delivered, nor what open studies or work that is to be done may need.

    Parameters
    ----------
    study : str, optional
        Look at this one only.
    emergency : bool
        The disk is full: whatever was delivered may go before its time.
    """
    now = database_now(tx)
    rows = tx.execute(_facts(terms, study, now).limit(_MOST)).mappings()
    found = [each for row in rows for each in _judge(dict(row), terms, now, emergency)]
    if terms.quarantine_s is not None and not emergency:
        found += _quarantined(tx, max(terms.quarantine_s, terms.least_s), study, now)
    return found


def purge(tx: Transaction, chosen: Ripe, terms: Terms, *, emergency: bool = False) -> int:
    """Forget what may go of a study, if it still may; return how many objects that are."""
    still = ripe(tx, terms, study=chosen.study_instance_uid, emergency=emergency)
    one = next((each for each in still if each.what == chosen.what), None)
    if one is None:
        return 0
    table, mine = _rows_of(one)
    keys = tx.execute(sa.select(table.c.key).where(mine).distinct()).scalars().all()
    detail = {"rule": one.rule, "objects": one.objects, "bytes": one.size, "age_s": round(one.age_s)}
    if one.what == "source":
        at = record(tx, "source.purged", detail, study_instance_uid=one.study_instance_uid)
    elif one.what == "result":
        at = record(tx, "result.purged", detail, study_instance_uid=one.study_instance_uid)
    else:
        at = record(tx, "quarantine.purged", detail, study_instance_uid=one.study_instance_uid)
    tx.execute(table.update().where(mine).values(purged_at=at))
    tx.execute(schema.waste.insert(), [{"key": key, "since_at": at} for key in keys])
    return one.objects


def waste(tx: Transaction, most: int = 500) -> list[str]:
    """Keys whose bytes are still to go."""
    return list(tx.execute(sa.select(schema.waste.c.key).order_by(schema.waste.c.since_at).limit(most)).scalars())


def gone(tx: Transaction, keys: Sequence[str]) -> None:
    """Note that the bytes of some keys are gone. Their forgetting is in the audit log already."""
    tx.execute(schema.waste.delete().where(schema.waste.c.key.in_(list(keys))))


def is_purged(tx: Transaction, study_instance_uid: str) -> bool:
    """Whether instances of a study, which belong to it, have been purged: nothing may be made of the rest."""
    mine = (_INSTANCE.c.study_instance_uid == study_instance_uid) & _INSTANCE.c.purged_at.is_not(None) & _INSTANCE.c.quarantined.is_(None)
    return tx.execute(sa.select(sa.literal(1)).where(mine).limit(1)).first() is not None


def _facts(terms: Terms, study: str | None, now: datetime) -> sa.Select[Any]:
    """One row for each study that is at rest and of which something is left."""
    uid, before = _STUDY.c.study_instance_uid, now - timedelta(seconds=terms.least_s)
    held = _per_study(_INSTANCE.c.study_instance_uid, _INSTANCE, objects=sa.func.count(), size=sa.func.sum(_INSTANCE.c.size))
    held = held.add_columns(sa.func.max(_INSTANCE.c.received_at).label("at")).where(_HELD, _INSTANCE.c.quarantined.is_(None))
    work = _per_study(
        _WORK.c.study_instance_uid,
        _WORK,
        open=_count(_WORK.c.state.not_in(("done", "refused", "failed"))),
        bad=_count(_WORK.c.state != "done"),
        at=sa.func.max(_WORK.c.finished_at),
    )
    owed = _per_study(
        _WORK.c.study_instance_uid,
        _DELIVERY.join(_WORK, _WORK.c.id == _DELIVERY.c.work_id),
        all=sa.func.count(),
        open=_count(_DELIVERY.c.state.not_in(terms.confirmed)),
        left=_count(_DELIVERY.c.purged_at.is_(None)),
        at=sa.func.max(_DELIVERY.c.sent_at),
    )
    rest = _per_study(uid, _STUDY, open=_count(_STUDY.c.state != "processed"), at=sa.func.max(_STUDY.c.processed_at))
    if study is not None:
        rest = rest.where(uid == study)
        held = held.where(_INSTANCE.c.study_instance_uid == study)
        work, owed = (each.where(_WORK.c.study_instance_uid == study) for each in (work, owed))
    i, w, d, s = (each.subquery(name) for each, name in ((held, "i"), (work, "w"), (owed, "d"), (rest, "s")))
    joined = s.outerjoin(i, i.c.uid == s.c.uid).outerjoin(w, w.c.uid == s.c.uid).outerjoin(d, d.c.uid == s.c.uid)
    zero = sa.func.coalesce
    columns = [s.c.uid, i.c.objects, i.c.size, w.c.bad, d.c["all"].label("owed"), d.c.left]
    times = [i.c["at"].label("received_at"), w.c["at"].label("ended_at"), d.c["at"].label("sent_at"), s.c["at"].label("processed_at")]
    quiet = (s.c.open == 0) & (zero(w.c.open, 0) == 0) & (zero(d.c.open, 0) == 0) & (s.c["at"] <= before)
    something = (zero(i.c.objects, 0) > 0) | (zero(d.c.left, 0) > 0)
    return sa.select(*columns, *times).select_from(joined).where(quiet, something).order_by(zero(d.c["at"], s.c["at"]), s.c.uid)


def _per_study(uid: sa.Column[Any], source: sa.FromClause, **columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(uid.label("uid"), *(column.label(name) for name, column in columns.items())).select_from(source).group_by(uid)


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _judge(row: dict[str, Any], terms: Terms, now: datetime, emergency: bool) -> Iterator[Ripe]:
    times = [row[name] for name in ("received_at", "ended_at", "sent_at", "processed_at") if row[name] is not None]
    age = (now - max(times)).total_seconds()
    if row["bad"]:
        rule, limit = "failed_days", terms.failed_s
    elif row["owed"]:
        rule, limit = ("emergency", 0.0) if emergency else ("source_days", terms.source_s)
    else:
        rule, limit = "unused_days", terms.unused_s
    may_go = not emergency or rule == "emergency"
    if row["objects"] and may_go and limit is not None and age >= max(limit, terms.least_s):
        yield Ripe(study_instance_uid=row["uid"], what="source", rule=rule, age_s=age, objects=row["objects"], size=int(row["size"]))
    limit = 0.0 if emergency else terms.result_s
    if row["left"] and limit is not None and age >= max(limit, terms.least_s):
        rule = "emergency" if emergency else "result_days"
        yield Ripe(study_instance_uid=row["uid"], what="result", rule=rule, age_s=age, objects=int(row["left"]), size=0)


def _quarantined(tx: Transaction, limit: float, study: str | None, now: datetime) -> Iterator[Ripe]:
    newest = sa.func.max(_INSTANCE.c.received_at)
    found = _per_study(_INSTANCE.c.study_instance_uid, _INSTANCE, objects=sa.func.count(), size=sa.func.sum(_INSTANCE.c.size), at=newest)
    found = found.where(_HELD, _INSTANCE.c.quarantined.is_not(None)).having(newest <= now - timedelta(seconds=limit))
    if study is not None:
        found = found.where(_INSTANCE.c.study_instance_uid == study)
    for row in tx.execute(found.order_by(newest).limit(_MOST)):
        age = (now - row.at).total_seconds()
        yield Ripe(
            study_instance_uid=row.uid, what="quarantine", rule="quarantine_days", age_s=age, objects=row.objects, size=int(row.size)
        )


def _rows_of(one: Ripe) -> tuple[sa.Table, sa.ColumnElement[bool]]:
    if one.what == "result":
        of_study = sa.select(_WORK.c.id).where(_WORK.c.study_instance_uid == one.study_instance_uid)
        return _DELIVERY, _DELIVERY.c.work_id.in_(of_study) & _DELIVERY.c.purged_at.is_(None)
    mine = (_INSTANCE.c.study_instance_uid == one.study_instance_uid) & _HELD
    is_apart = _INSTANCE.c.quarantined.is_not(None)
    return _INSTANCE, mine & (is_apart if one.what == "quarantine" else ~is_apart)
