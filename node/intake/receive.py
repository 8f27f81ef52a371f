"""An arrival becomes a durable instance, or is refused with a reason; only then is the sender answered.

The order is the promise: identity checked, bytes on disk under their final name, row committed, answer. A failure before the commit leaves
nothing that was answered for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import structlog

from node.core.errors import ConflictingDuplicate, NotEnoughDisk, NotUnderstood, RefusedByUs, StorageError
from node.core.study import Arrival, Instance, Peer
from node.core.uids import is_valid_uid
from node.intake.header import file_meta, read_header
from node.intake.presence import Presence
from node.ledger import instances
from node.ledger.engine import Ledger, Transaction
from node.spool.local import Draft, LocalSpool

log = structlog.get_logger(__name__)

#: How long a sender is kept waiting for a database that does not answer, before it is told to come again. Senders give up after
#: 30 s or more; a refusal that they hear is better than a time-out that they must guess about.
_PATIENCE_S = 5.0
#: The same for what is only noted: a refusal must still reach the sender in time.
_PATIENCE_FOR_NOTES_S = 1.0


class Receiver:
    """The station behind the listener.

    Parameters
    ----------
    min_free_bytes : int
        Below this much free disk nothing is taken.
    presence : Presence
        Which associations are open, for the assembler.
    """

    def __init__(self, ledger: Ledger, spool: LocalSpool, presence: Presence, min_free_bytes: int) -> None:
        self._ledger, self._spool, self._presence = ledger, spool, presence
        self._min_free_bytes = min_free_bytes

    def receive(self, arrival: Arrival) -> int:
        """Take ``arrival`` or refuse it; return the status of the C-STORE response (PS3.4 Table B.2-1)."""
        try:
            self._take(arrival)
        except RefusedByUs as refusal:
            self._note_refusal(arrival, refusal)
            return refusal.status
        return 0x0000

    def open(self, association_id: str, peer: Peer) -> None:
        """Note that an association was accepted."""
        self._presence.enter(association_id)
        self._note(lambda tx: instances.record_association(tx, "accepted", association_id, peer))

    def reject(self, association_id: str, peer: Peer, reason: str) -> None:
        """Note that an association was rejected."""
        log.warning("association.rejected", calling_ae=peer.calling_ae, called_ae=peer.called_ae, address=peer.address, reason=reason)
        self._note(lambda tx: instances.record_association(tx, "rejected", association_id, peer, reason=reason))

    def close(self, association_id: str, peer: Peer, how: str, count: int) -> None:
        """Note that an association has ended."""
        self._presence.leave(association_id)
        self._note(lambda tx: instances.record_association(tx, how, association_id, peer, instances=count))

    def _take(self, arrival: Arrival) -> None:
        if not is_valid_uid(arrival.sop_instance_uid) or not is_valid_uid(arrival.sop_class_uid):
            raise NotUnderstood("The C-STORE command names no valid SOP Class or Instance UID (PS3.5 section 9.1).", reason="malformed_uid")
        if self._spool.free_bytes() - len(arrival.data_set) < self._min_free_bytes:
            raise NotEnoughDisk("The disk is nearly full; make room, then send again.", reason="watermark")
        meta = file_meta(arrival)
        header = read_header(arrival, meta)
        digest = hashlib.sha256(arrival.data_set).hexdigest()
        # The digest in the name keeps two senders of one UID with different bytes from writing over each other; the same bytes under
        # another transfer syntax mean something else.
        name = hashlib.sha256(arrival.transfer_syntax_uid.encode() + digest.encode()).hexdigest()
        key = f"instances/{header.study_instance_uid}/{header.sop_instance_uid}-{name[:16]}.dcm"
        instance = Instance(
            sop_instance_uid=header.sop_instance_uid,
            sop_class_uid=header.sop_class_uid,
            transfer_syntax_uid=arrival.transfer_syntax_uid,
            series_instance_uid=header.series_instance_uid,
            study_instance_uid=header.study_instance_uid,
            patient_id=header.patient_id,
            modality=header.modality,
            key=key,
            sha256=digest,
            size=len(arrival.data_set),
        )
        self._presence.touch(arrival.association_id, instance.study_instance_uid)
        self._enter(instance, arrival, self._spool.put_atomic(key, meta, arrival.data_set))

    def _enter(self, instance: Instance, arrival: Arrival, draft: Draft) -> None:
        try:
            self._ledger.write(lambda tx: instances.accept(tx, instance, arrival), patience_s=_PATIENCE_S)
        except ConflictingDuplicate:
            draft.withdraw()
            raise
        except StorageError as error:
            # The COMMIT may have come through although its answer did not: the file stays, and recovery asks the ledger.
            raise NotEnoughDisk(error.sentence, reason="database") from error
        draft.settle()

    def _note_refusal(self, arrival: Arrival, refusal: RefusedByUs) -> None:
        log.warning("instance.refused", code=refusal.full_code, sentence=refusal.sentence, association_id=arrival.association_id)
        self._note(lambda tx: instances.refuse(tx, arrival, refusal.full_code, refusal.sentence))

    def _note(self, change: Callable[[Transaction], None]) -> None:
        try:
            self._ledger.write(change, patience_s=_PATIENCE_FOR_NOTES_S)
        except StorageError as error:
            log.error("audit.lost", code=error.full_code, sentence=error.sentence)
