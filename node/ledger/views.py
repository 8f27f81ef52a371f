"""What people ask the ledger: counts, and the history of one study. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from node.ledger import quarantine, schema
from node.ledger.engine import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One row of the audit log."""

    n: int
    at: datetime
    event: str
    actor: str
    association_id: str | None
    study_instance_uid: str | None
    revision: int | None
    series_instance_uid: str | None
    sop_instance_uid: str | None
    work_id: str | None
    destination: str | None
    code: str | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that an operator should look at."""

    work_id: str
    kind: str
    state: str
    study_instance_uid: str
    code: str | None
    reason: str | None


def history(tx: Transaction, uid: str) -> list[AuditRow]:
    """Every audit row on a study, series or instance, or on an association, with what brought it and who asked us to keep it, in order."""
    table = schema.audit
    columns = [table.c[name] for name in AuditRow.__dataclass_fields__]
    direct = sa.or_(
        *(table.c[name] == uid for name in ("study_instance_uid", "series_instance_uid", "sop_instance_uid", "association_id", "work_id"))
    )
    brought_by = sa.select(table.c.association_id).where(direct, table.c.association_id.is_not(None)).distinct()
    by_association = table.c.association_id.in_(brought_by) & table.c.event.like("association.%")
    asked_for_by = sa.select(table.c.work_id).where(direct, table.c.event.like("commitment.%")).distinct()
    by_commitment = table.c.work_id.in_(asked_for_by) & table.c.event.like("commitment.%")
    rows = tx.execute(sa.select(*columns).where(direct | by_association | by_commitment).order_by(table.c.n)).mappings()
    return [AuditRow(**row) for row in rows]


def since(tx: Transaction, n: int) -> list[AuditRow]:
    """Every audit row after number ``n``, in order."""
    columns = [schema.audit.c[name] for name in AuditRow.__dataclass_fields__]
    rows = tx.execute(sa.select(*columns).where(schema.audit.c.n > n).order_by(schema.audit.c.n)).mappings()
    return [AuditRow(**row) for row in rows]


def of_event(tx: Transaction, event: str, after: int = 0) -> list[AuditRow]:
    """Every audit row of one event behind row ``after``, in order."""
    columns = [schema.audit.c[name] for name in AuditRow.__dataclass_fields__]
    mine = (schema.audit.c.event == event) & (schema.audit.c.n > after)
    return [AuditRow(**row) for row in tx.execute(sa.select(*columns).where(mine).order_by(schema.audit.c.n)).mappings()]


def last_number(tx: Transaction) -> int:
    """The number of the last audit row; 0 when there is none."""
    return int(tx.execute(sa.select(sa.func.coalesce(sa.func.max(schema.audit.c.n), 0))).scalar_one())


def counts(tx: Transaction) -> dict[str, dict[str, int]]:
    """How many studies, jobs, parcels and deliveries are in which state, how many instances are held, and which circuits are open."""
    held = tx.execute(sa.select(sa.func.count()).select_from(schema.instance)).scalar_one()
    apart = tx.execute(sa.select(sa.func.count()).where(schema.instance.c.quarantined == quarantine.MIXED)).scalar_one()
    found: dict[str, dict[str, int]] = {"instance": {"held": held} | ({"in quarantine": apart} if apart else {})}
    for name, table in (
        ("study", schema.study),
        ("delivery", schema.delivery),
        ("commitment", schema.commitment),
    ):
        rows = tx.execute(sa.select(table.c.state, sa.func.count()).group_by(table.c.state))
        found[name] = {str(state): int(count) for state, count in rows}
    away = schema.circuit.c.state != "closed"
    rows = tx.execute(sa.select(schema.circuit.c.state, sa.func.count()).where(away).group_by(schema.circuit.c.state))
    circuits = {str(state): int(count) for state, count in rows}
    found |= {"circuit": circuits} if circuits else {}
    for kind, noun in (("infer", "job"), ("deliver", "parcel")):
        rows = tx.execute(sa.select(schema.work.c.state, sa.func.count()).where(schema.work.c.kind == kind).group_by(schema.work.c.state))
        found[noun] = {str(state): int(count) for state, count in rows}
    return found


def troubles(tx: Transaction, *, most: int = 20) -> list[Trouble]:
    """The latest work that ended without a result, or waits after a failure."""
    table = schema.work
    columns = [table.c["id"].label("work_id"), *(table.c[name] for name in ("kind", "state", "study_instance_uid", "code", "reason"))]
    bad = table.c.state.in_(("refused", "failed")) | (table.c.state.in_(("queued", "running")) & table.c.reason.is_not(None))
    rows = tx.execute(sa.select(*columns).where(bad).order_by(table.c.queued_at.desc()).limit(most)).mappings()
    return [Trouble(**row) for row in rows]


def is_at_rest(tx: Transaction) -> bool:
    """Whether nothing is open, queued, running or being sent."""
    open_studies = sa.select(sa.func.count()).where(schema.study.c.state.in_(("open", "complete")))
    open_work = sa.select(sa.func.count()).where(schema.work.c.state.in_(("queued", "running")))
    return not tx.execute(open_studies).scalar_one() and not tx.execute(open_work).scalar_one()


def all_rows(tx: Transaction, table: str) -> list[dict[str, Any]]:
    """Every row of one of the tables, for those who check the whole ledger."""
    return [dict(row) for row in tx.execute(sa.select(schema.metadata.tables[table])).mappings()]
