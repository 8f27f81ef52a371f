"""The desk at which every instance is received, by whichever door it comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from node.app.role import Role
from node.intake.adopt import adopt_all
from node.intake.presence import Presence
from node.intake.receive import Desk
from node.intake.recent import Recent
from node.intake.room import Room
from node.intake.scribe import Scribe
from node.ledger import instances
from node.ledger.inquiry import Inquiry


@contextmanager
def open_desk(role: Role, presence: Presence) -> Iterator[Desk]:
    """Settle what a crash has left, then receive; at the end every row is written."""
    adopt_all(role.ledger, role.spool)
    scribe, inquiry = Scribe(role.ledger, role.spool.keep), Inquiry(role.ledger, instances.HELD)
    scribe.start()
    try:
        yield Desk(
            inquiry=inquiry,
            spool=role.spool,
            scribe=scribe,
            presence=presence,
            recent=Recent(),
            room=Room(role.spool.free_bytes, role.config.listen.min_free_bytes),
        )
    finally:
        scribe.stop()
        inquiry.close()
