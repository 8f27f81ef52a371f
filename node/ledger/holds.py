"""What an operator has stopped: everything, a pipeline or a destination. What is held is kept and counted, and nothing of it begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

import sqlalchemy as sa

from node.ledger import schema
from node.ledger.audit import About, record
from node.ledger.engine import Transaction

HoldKind: TypeAlias = Literal["everything", "pipeline", "destination"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One thing that is stopped; ``name`` is empty for everything."""

    kind: HoldKind
    name: str
    by: str
    reason: str
    held_at: datetime

    @property
    def what(self) -> str:
        """What is stopped, in words."""
        return f"{self.kind} {self.name}".rstrip()


def listed(tx: Transaction) -> list[Hold]:
    """Everything that is stopped."""
    table = schema.hold
    columns = [table.c[name] for name in Hold.__dataclass_fields__]
    rows = tx.execute(sa.select(*columns).order_by(table.c.kind, table.c.name)).mappings()
    return [Hold(**row) for row in rows]


def put(tx: Transaction, kind: HoldKind, name: str, by: str, reason: str) -> bool:
    """Stop something; False when it is stopped already."""
    if tx.execute(sa.select(schema.hold.c.kind).where(_is(kind, name))).scalar_one_or_none() is not None:
        return False
    at = record(tx, "schedule.paused", {"what": f"{kind} {name}".rstrip(), "by": by, "why": reason}, **_about(kind, name))
    tx.execute(schema.hold.insert().values(kind=kind, name=name, by=by, reason=reason, held_at=at))
    return True


def lift(tx: Transaction, kind: HoldKind, name: str, by: str) -> bool:
    """Let something go on; False when it was not stopped."""
    if not tx.execute(schema.hold.delete().where(_is(kind, name))).rowcount:
        return False
    record(tx, "schedule.resumed", {"what": f"{kind} {name}".rstrip(), "by": by}, **_about(kind, name))
    return True


def record_drained(tx: Transaction, kind: HoldKind, name: str, by: str) -> None:
    """Write down that nothing of what was stopped runs any more."""
    record(tx, "schedule.drained", {"what": f"{kind} {name}".rstrip(), "by": by}, **_about(kind, name))


def covers(kind: HoldKind, name: str) -> sa.ColumnElement[bool]:
    """The work that a hold is about."""
    if kind == "everything":
        return sa.true()
    if kind == "pipeline":
        return (schema.work.c.kind == "infer") & (schema.work.c.pipeline == name)
    return (schema.work.c.kind == "deliver") & (schema.work.c.destination == name)


def running(tx: Transaction, kind: HoldKind, name: str) -> int:
    """How much of it runs."""
    return int(tx.execute(sa.select(sa.func.count()).where(covers(kind, name), schema.work.c.state == "running")).scalar_one())


def _is(kind: str, name: str) -> sa.ColumnElement[bool]:
    return (schema.hold.c.kind == kind) & (schema.hold.c.name == name)


def _about(kind: HoldKind, name: str) -> About:
    return {"destination": name} if kind == "destination" else {}
