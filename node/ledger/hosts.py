"""Which hosts use this ledger, and where its bytes lie: refused, in words, where that cannot be safe."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa

from node.core.errors import WrongPlace
from node.ledger import schema
from node.ledger.audit import record
from node.ledger.engine import Transaction, database_now

#: A host that has not renewed for so long is taken to be gone.
LEASE_S = 60.0


def enter(tx: Transaction, name: str, boot: str, *, alone: bool) -> None:
    """Write down that a host uses this ledger.

    Parameters
    ----------
    boot : str
        Tells machines apart that share a name, and knows two containers of one machine for what they are.
    alone : bool
        The ledger is a file: no other machine may use it, however it got there.

    Raises
    ------
    WrongPlace
        If another machine uses such a ledger now.
    """
    table, now = schema.host, database_now(tx)
    rows = {row.name: row for row in tx.execute(sa.select(table))}
    others = [row for row in rows.values() if row.name != name and row.boot != boot and row.lease_until_at > now]
    if alone and others:
        left = max((row.lease_until_at - now).total_seconds() for row in others)
        raise WrongPlace(
            f"The ledger is a file of SQLite, and the host {others[0].name} uses it. Several hosts need PostgreSQL (node.database). "
            f"If that host is gone for good, start again in {left:.0f} s.",
            reason="second_host",
        )
    values = {"boot": boot, "lease_until_at": now + timedelta(seconds=LEASE_S)}
    if name in rows:
        tx.execute(table.update().where(table.c.name == name).values(**values))
        return
    at = record(tx, "host.joined", {"name": name})
    tx.execute(table.insert().values(name=name, first_at=at, **values))


def renew(tx: Transaction, name: str) -> None:
    """Say that a host is still there."""
    until = database_now(tx) + timedelta(seconds=LEASE_S)
    tx.execute(schema.host.update().where(schema.host.c.name == name).values(lease_until_at=until))


def settle_in(tx: Transaction, kind: str, place: str, marker: Callable[[], str | None], mark: Callable[[str], None]) -> None:
    """Compare the store with the ledger, by a name that is written into both; choose the store when there is none yet.

    Parameters
    ----------
    marker, mark : callable
        Read and write the name in the store.

    Raises
    ------
    WrongPlace
        If the bytes of this ledger lie elsewhere, or those of another ledger lie here.
    """
    chosen, found = tx.execute(sa.select(schema.store)).one_or_none(), marker()
    if chosen is None:
        name = found or str(uuid.uuid4())
        at = record(tx, "store.chosen", {"kind": kind, "place": place, "id": name})
        tx.execute(schema.store.insert().values(id=name, kind=kind, place=place, first_at=at))
        if found is None:
            mark(name)
    elif found != chosen.id:
        there = "no store of this ledger" if found is None else "the store of another ledger"
        raise WrongPlace(
            f"The ledger's bytes lie in {chosen.place} ({chosen.kind}), and {place} ({kind}) is {there}. Several hosts need a store that "
            f"all of them reach ([store]). After a move or a restore that is complete, write {chosen.id} into a file .radnode there.",
            reason="other_store",
        )
