"""Which keys of the spool the ledger knows."""

from __future__ import annotations

import sqlalchemy as sa

from node.ledger import schema
from node.ledger.engine import Transaction


def is_known(tx: Transaction, key: str) -> bool:
    """Whether any row refers to ``key``."""
    if key in _evidence(tx):
        return True
    for table in (schema.instance, schema.delivery):
        if tx.execute(sa.select(sa.literal(1)).where(table.c.key == key, table.c.purged_at.is_(None)).limit(1)).scalar_one_or_none():
            return True
    return False


def known_keys(tx: Transaction) -> set[str]:
    """Every key that any row refers to, those included whose bytes are on their way out."""
    tables = (schema.instance, schema.delivery)
    rows = {key for table in tables for key in tx.execute(sa.select(table.c.key).where(table.c.purged_at.is_(None))).scalars()}
    return rows | _evidence(tx) | set(tx.execute(sa.select(schema.waste.c.key)).scalars())


def _evidence(tx: Transaction) -> set[str]:
    """What is kept because it contradicts something that is held, or because the disk has not kept it whole."""
    is_evidence = schema.audit.c.event.in_(("instance.conflict", "instance.damaged"))
    details = tx.execute(sa.select(schema.audit.c.detail).where(is_evidence)).scalars()
    return {detail["key"] for detail in details}
