"""Do we answer for an instance? Only when it lies whole on disk, and the ledger knows it (PS3.4 section J.3.2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog
from pydicom.filereader import read_file_meta_info

from node.core.commitment import CLASS_CONFLICT, NO_SUCH_INSTANCE, PROCESSING_FAILURE, Judged, Reference
from node.core.unreadable import UNREADABLE
from node.ledger import commitments
from node.ledger.commitments import Holding
from node.ledger.engine import Ledger
from node.spool.spool import Spool

log = structlog.get_logger(__name__)

#: Preamble, prefix and the group length, which says how much follows it before the data set (PS3.10 section 7.1).
_BEFORE_META = 144


def vouch(ledger: Ledger, spool: Spool, references: Sequence[Reference]) -> tuple[Judged, ...] | None:
    """Judge every instance, in the order in which they were asked for.

    The row of an instance follows the answer to its C-STORE by a moment, and by more when the database is away or its listener died;
    until then the instance lies in a slot of ``incoming/``. So whatever the ledger does not know is looked for there first, and in the
    ledger once more: a slot that is gone means that the row is there.

    Returns
    -------
    tuple of Judged or None
        None when the row of one of them is on its way: ask again.
    """
    uids = [reference.sop_instance_uid for reference in references]
    held = _look_up(ledger, uids)
    if unknown := set(uids) - set(held):
        on_their_way = {_instance_of(slot) for slot in spool.unsettled()}
        held |= _look_up(ledger, sorted(unknown))
        if (unknown - set(held)) & on_their_way:
            return None
    return tuple(_judge(spool, reference, held.get(reference.sop_instance_uid)) for reference in references)


def _look_up(ledger: Ledger, uids: Sequence[str]) -> dict[str, Holding]:
    with ledger.reading() as tx:
        return commitments.holdings(tx, uids)


def _instance_of(slot: Path) -> str | None:
    """Which instance lies in a slot; None when it is settled by now, or as good as empty, so that nobody was answered for it."""
    try:
        return str(read_file_meta_info(slot).MediaStorageSOPInstanceUID)
    except UNREADABLE:
        return None


def _judge(spool: Spool, reference: Reference, holding: Holding | None) -> Judged:
    if holding is None:
        return Judged(reference=reference, reason=NO_SUCH_INSTANCE)
    if holding.sop_class_uid != reference.sop_class_uid:
        reason = CLASS_CONFLICT
    elif holding.is_purged:
        reason = NO_SUCH_INSTANCE  # we had it, and cannot answer for it any more (PS3.3 section C.14.1.1)
    elif holding.quarantined:
        reason = PROCESSING_FAILURE  # its sender is not to forget it before somebody has looked at it
    else:
        reason = 0 if _is_whole(spool, reference, holding) else PROCESSING_FAILURE
    return Judged(reference=reference, reason=reason, study_instance_uid=holding.study_instance_uid)


def _is_whole(spool: Spool, reference: Reference, holding: Holding) -> bool:
    """Whether the file is there: of what was sent to us with its length, of the few objects that we made with their digest."""
    try:
        if holding.size is None:
            spool.head(holding.key, 1)  # a copy of ours is no proof
            whole = spool.sha256(holding.key) == holding.sha256
        else:
            whole = _length_of_data_set(spool, holding.key) == holding.size
    except OSError:
        whole = False
    if not whole:
        log.error("instance.damaged", sop_instance_uid=reference.sop_instance_uid, key=holding.key)
    return whole


def _length_of_data_set(spool: Spool, key: str) -> int:
    head, size = spool.head(key, _BEFORE_META)
    return size - _BEFORE_META - int.from_bytes(head[-4:], "little")
