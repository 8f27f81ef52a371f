"""What is known of an object behind its destination's Success: committed, found, lost, or nothing.

Success says that the object was taken (PS3.4 section B.2.3), not that it will be there tomorrow: archives have said it and lost the object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from node.core.job import Work
from node.core.result import Receipt, Unconfirmed
from node.core.states import DELIVERY, follow
from node.ledger import outbox, schema
from node.ledger.audit import record
from node.ledger.engine import Transaction, database_now

_VERB = {"commit": "committed", "find": "found", "lose": "lost"}


def unconfirmed(tx: Transaction, parcel: Work) -> list[Unconfirmed]:
    """The objects of a parcel that the destination has said Success to, and of which no more is known."""
    table = schema.delivery
    sent = (table.c.work_id == parcel.id) & (table.c.state == "sent")
    rows = tx.execute(sa.select(table).where(sent).order_by(table.c.kind, table.c.sop_instance_uid)).mappings().all()
    now = database_now(tx)
    return [
        Unconfirmed(delivery=outbox.delivery_of(dict(row)), age_s=(now - row["sent_at"]).total_seconds() if row["sent_at"] else 0.0)
        for row in rows
    ]


def keep(tx: Transaction, parcel: Work, learned: Mapping[str, Receipt], *, resend: int) -> None:
    """Write down what was learned of objects that were sent (SOP Instance UID -> Receipt).

    Parameters
    ----------
    resend : int
        So often an object that was lost is sent again; then it is parked.
    """
    table = schema.delivery
    for found in unconfirmed(tx, parcel):
        delivery = found.delivery
        receipt = learned.get(delivery.object.sop_instance_uid)
        if receipt is None:
            continue
        subject = outbox.about(parcel, delivery.object)
        at = record(tx, f"delivery.{_VERB[receipt.event]}", {"sentence": receipt.sentence}, **subject)
        values: dict[str, Any] = {"state": follow(DELIVERY, delivery.state, receipt.event), "reason": receipt.sentence or None}
        if receipt.event == "lose":
            losses = tx.execute(sa.select(table.c.losses).where(outbox.is_row_of(delivery))).scalar_one() + 1
            values["losses"] = losses
            if losses > resend:
                sentence = (
                    f"The destination said Success {losses} times and does not have it: {receipt.sentence} Mend it there, then replay."
                )
                record(tx, "delivery.refused", {"status": None, "sentence": sentence}, **subject)
                values |= {"state": follow(DELIVERY, delivery.state, "refuse"), "reason": sentence}
        else:
            values["confirmed_at"] = at
        tx.execute(table.update().where(outbox.is_row_of(delivery)).values(**values))


def leave(tx: Transaction, parcel: Work, sentence: str) -> None:
    """Write down that nothing more can be learned of what was sent, and why."""
    for found in unconfirmed(tx, parcel):
        record(tx, "delivery.unconfirmed", {"sentence": sentence}, **outbox.about(parcel, found.delivery.object))
        tx.execute(schema.delivery.update().where(outbox.is_row_of(found.delivery)).values(reason=sentence))
