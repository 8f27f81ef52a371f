"""Which keys of the spool the ledger knows."""

from __future__ import annotations

import sqlalchemy as sa

from node.ledger import schema
from node.ledger.engine import Transaction


def is_known(tx: Transaction, key: str) -> bool:
    """Whether any row refers to ``key``."""
    for table in (schema.instance, schema.delivery):
        if tx.execute(sa.select(sa.literal(1)).where(table.c.key == key).limit(1)).scalar_one_or_none():
            return True
    return False


def known_keys(tx: Transaction) -> set[str]:
    """Every key that any row refers to."""
    return {key for table in (schema.instance, schema.delivery) for key in tx.execute(sa.select(table.c.key)).scalars()}
