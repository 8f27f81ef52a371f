"""Instances that are kept apart from their study, because they are of another patient than it is.

They were answered Success and are durable; but nothing is made of them, and nothing of the study until an operator has said that they
stay out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from node.core.errors import IdentityConflict, StateError
from node.core.study import Accepted
from node.ledger import schema, studies
from node.ledger.engine import Transaction

#: What is written of an instance that waits for an operator, and of one that an operator has set aside.
MIXED, SET_ASIDE = f"{IdentityConflict.code}.mixed", f"{IdentityConflict.code}.set_aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Instances of one study that are kept apart: how many, since when, from whom, and whether an operator has decided."""

    study_instance_uid: str
    calling_ae: str
    code: str
    instances: int
    first_at: datetime


def find_foreign(tx: Transaction, new: Sequence[Accepted]) -> frozenset[str]:
    """The SOP Instance UIDs of ``new`` that are of another patient than their study, whose patient is that of its first instance."""
    patients = dict(studies.patients_of(tx, {accepted.instance.study_instance_uid for accepted in new}))
    foreign: set[str] = set()
    for accepted in new:
        instance = accepted.instance
        if patients.setdefault(instance.study_instance_uid, instance.patient_id) != instance.patient_id:
            foreign.add(instance.sop_instance_uid)
    return frozenset(foreign)


def is_blocked(tx: Transaction, study_instance_uid: str) -> bool:
    """Whether a study has an instance of another patient that no operator has decided on."""
    table = schema.instance
    mine = (table.c.study_instance_uid == study_instance_uid) & (table.c.quarantined == MIXED)
    return tx.execute(sa.select(sa.literal(1)).where(mine).limit(1)).scalar_one_or_none() is not None


def set_aside(tx: Transaction, study_instance_uid: str, who: str) -> int:
    """Let what is of another patient stay out for good, and have the study judged anew, because an operator asked; return how many.

    Raises
    ------
    StateError
        If nothing of the study waits for this decision.
    """
    table = schema.instance
    mine = (table.c.study_instance_uid == study_instance_uid) & (table.c.quarantined == MIXED)
    uids = list(tx.execute(sa.select(table.c.sop_instance_uid).where(mine).order_by(table.c.sop_instance_uid)).scalars())
    if not uids:
        raise StateError(f"Nothing of {study_instance_uid} waits in quarantine; radnode quarantine lists what does.")
    tx.execute(table.update().where(mine).values(quarantined=SET_ASIDE))
    studies.release(tx, study_instance_uid, {"by": who, "set_aside": uids})
    return len(uids)


def listed(tx: Transaction) -> list[Foreign]:
    """Everything that is kept apart, what waits for an operator first."""
    table = schema.instance
    first_at = sa.func.min(table.c.received_at).label("first_at")
    columns = (table.c.study_instance_uid, table.c.calling_ae, table.c.quarantined.label("code"))
    chosen = sa.select(*columns, sa.func.count().label("instances"), first_at).where(table.c.quarantined.is_not(None))
    rows = tx.execute(chosen.group_by(*columns).order_by(table.c.quarantined, first_at)).mappings()
    return [Foreign(**row) for row in rows]
