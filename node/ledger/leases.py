"""Leases: who may work on what, until when, by the database's clock.

The engine alone never notices a dead worker on another machine, and can lose a claim whose COMMIT answer was lost. A lease on each row
closes both: whoever does not renew has lost the work, and a result that comes after that is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import sqlalchemy as sa

from node.core.job import Ticket, Work
from node.core.states import WORK, follow
from node.ledger import schema
from node.ledger.audit import record
from node.ledger.engine import Transaction, database_now
from node.ledger.jobs import Dispatch, about, work_of


def claim(tx: Transaction, work_id: str, dispatch: int, token: str, lease_s: float) -> Work | None:
    """Take ``work_id`` for ``lease_s`` seconds.

    Returns
    -------
    Work or None
        None when this hand-over is out of date, the work is settled, or another holds it.
    """
    row = tx.execute(sa.select(schema.work).where(schema.work.c.id == work_id)).mappings().one_or_none()
    if row is None or row["dispatch"] != dispatch or row["state"] not in ("queued", "running"):
        return None
    if row["state"] == "running":
        # Ours already: the answer to this very claim was lost. Anything else that runs under this hand-over is another's.
        return work_of(dict(row)) if row["lease_token"] == token else None
    work = work_of({**row, "crashes": row["crashes"] + 1})
    at = record(tx, f"{work.noun}.claimed", {"by": token, "attempt": work.attempt, "dispatch": dispatch}, **about(work))
    values = {"state": follow(WORK, row["state"], "claim"), "crashes": work.crashes, "lease_token": token, "started_at": at}
    values |= {"handed_at": row["handed_at"] or at, "due_at": None}
    until = at + timedelta(seconds=lease_s)
    tx.execute(schema.work.update().where(schema.work.c.id == work_id).values(**values, lease_until_at=until))
    return work


def renew(tx: Transaction, held: Mapping[str, str], lease_s: float) -> set[str]:
    """Renew every lease in ``held`` (work id -> token); return the ids that were lost to another."""
    until = database_now(tx) + timedelta(seconds=lease_s)
    lost = set()
    for work_id, token in held.items():
        mine = (schema.work.c.id == work_id) & (schema.work.c.lease_token == token) & (schema.work.c.state == "running")
        if not tx.execute(schema.work.update().where(mine).values(lease_until_at=until)).rowcount:
            lost.add(work_id)
    return lost


def shorten(tx: Transaction, longest_s: float) -> int:
    """Let no lease run for longer than ``longest_s`` from now; return how many would have.

    The database's clock was stepped back since they were given. A holder that lives renews its lease long before the shorter one ends.
    """
    latest = database_now(tx) + timedelta(seconds=longest_s)
    ahead = (schema.work.c.state == "running") & (schema.work.c.lease_until_at > latest)
    return int(tx.execute(schema.work.update().where(ahead).values(lease_until_at=latest)).rowcount)


def rescue(tx: Transaction, work: Work, seen_token: str | None, why: str, dispatch: Dispatch) -> bool:
    """Hand ``work`` to the engine once more, because whoever had it is gone.

    Compare and set: of all the reapers in a cluster exactly one succeeds. The old holder's token is replaced, which fences it.

    Returns
    -------
    bool
        False when another was faster, or the holder came back.
    """
    same_holder = schema.work.c.lease_token == seen_token if seen_token is not None else schema.work.c.lease_token.is_(None)
    mine = (schema.work.c.id == work.id) & (schema.work.c.dispatch == work.dispatch) & same_holder
    unheld = (
        (schema.work.c.lease_until_at.is_(None)) | (schema.work.c.lease_until_at < database_now(tx)) | sa.literal(why == "process gone")
    )
    number = work.dispatch + 1
    values = {"state": follow(WORK, "running", "rescue"), "dispatch": number, "lease_token": None, "lease_until_at": None}
    values |= {"handed_at": None, "due_at": None}
    open_states = schema.work.c.state.in_(("queued", "running"))
    if not tx.execute(schema.work.update().where(mine & unheld & open_states).values(**values)).rowcount:
        return False
    record(tx, f"{work.noun}.rescued", {"why": why, "from": seen_token, "attempt": work.attempt, "crashes": work.crashes}, **about(work))
    dispatch(tx, Ticket(work_id=work.id, kind=work.kind, dispatch=number, priority=work.priority, partition=work.destination))
    return True
