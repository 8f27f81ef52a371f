"""What destinations report on our requests for storage commitment, put together."""

from __future__ import annotations

from node.app.role import Role
from node.core.commitment import Promise
from node.dimse.pledge import Hear, PledgeService
from node.ledger import pledges

#: A destination hears by then whether its report is written down; if not, it reports again.
_PATIENCE_S = 10.0


def hear_of(role: Role) -> Hear:
    """What writes a report down, and has its parcel go on."""
    resend = role.config.deliver.resend

    def hear(promise: Promise) -> bool:
        return role.ledger.write(lambda tx: pledges.hear(tx, promise, role.engine.dispatch, resend=resend), patience_s=_PATIENCE_S)

    return hear


def pledge_service(role: Role) -> PledgeService:
    """The service for a listener."""
    return PledgeService(hear_of(role))
