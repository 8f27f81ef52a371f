"""An arrival becomes a durable instance, or is refused with a reason; only then is the sender answered.

The order is the promise: identity checked, duplicates judged, bytes on disk under a seal, answer. Final name and row follow
(``scribe``), and are made up for from the file should the process die before they are there (``adopt``).
"""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, replace

import structlog

from node.core.errors import ConflictingDuplicate, NotEnoughDisk, NotUnderstood, RefusedByUs, StorageError
from node.core.study import Accepted, Arrival, Instance, Peer
from node.core.uids import is_valid_uid
from node.intake.header import Header, file_meta, read_header, seal_of
from node.intake.presence import Presence
from node.intake.recent import Recent
from node.intake.room import Room
from node.intake.scribe import Fact, Scribe
from node.ledger import instances
from node.ledger.inquiry import Inquiry
from node.spool.draft import Draft
from node.spool.incoming import Incoming
from node.spool.spool import Spool

log = structlog.get_logger(__name__)

#: A refusal waits this long for its audit row; the sender hears it in any case.
_PATIENCE_FOR_NOTES_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What every reception works with.

    Attributes
    ----------
    presence : Presence
        Which associations are open, for the assembler.
    recent : Recent
        What was accepted lately, whether its row is committed or not.
    room : Room
        Whether anything may be taken.
    """

    inquiry: Inquiry
    spool: Spool
    scribe: Scribe
    presence: Presence
    recent: Recent
    room: Room


class Receiver:
    """The station behind the listener."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def begin(self, arrival: Arrival) -> Reception:
        """Begin to take an instance; what is wrong with it is said at its end, when the protocol lets us answer."""
        return Reception(self._desk, arrival)

    def open(self, association_id: str, peer: Peer) -> None:
        """Note that an association was accepted."""
        self._desk.presence.enter(association_id)
        self._note("accepted", association_id, peer)

    def reject(self, association_id: str, peer: Peer, reason: str) -> None:
        """Note that an association was rejected."""
        log.warning("association.rejected", calling_ae=peer.calling_ae, called_ae=peer.called_ae, address=peer.address, reason=reason)
        self._note("rejected", association_id, peer, reason=reason)

    def close(self, association_id: str, peer: Peer, how: str, count: int) -> None:
        """Note that an association has ended; it holds its studies open until its last row is written."""
        done = self._note(how, association_id, peer, instances=count)
        if done is None:
            self._desk.presence.leave(association_id)
        else:
            done.add_done_callback(lambda _: self._desk.presence.leave(association_id))

    def _note(self, event: str, association_id: str, peer: Peer, **detail: object) -> Future[None] | None:
        try:
            self._desk.scribe.check_room()
        except NotEnoughDisk as error:
            log.error("audit.lost", code=error.full_code, sentence=error.sentence)
            return None
        return self._desk.scribe.hand_over(Fact(write=lambda tx: instances.record_association(tx, event, association_id, peer, **detail)))


class Reception:
    """One instance on its way in."""

    def __init__(self, desk: Desk, arrival: Arrival) -> None:
        self._desk, self._arrival = desk, arrival
        self._incoming: Incoming | None = None
        self._refusal: RefusedByUs | None = None
        self._size = 0
        self._comes_again = False
        try:
            self._incoming = self._open()
        except RefusedByUs as refusal:
            self._refusal = refusal

    def write(self, fragment: memoryview) -> None:
        """Take the next bytes of the data set; after a refusal they are only counted."""
        self._size += len(fragment)
        if self._incoming is None:
            return
        try:
            if not self._desk.room.is_there(len(fragment)):
                self._incoming.discard()
                raise _nearly_full()
            self._incoming.write(fragment)
        except NotEnoughDisk as refusal:
            self._incoming, self._refusal = None, refusal

    def finish(self) -> int:
        """Make the instance durable; return the status of the C-STORE response (PS3.4 Table B.2-1)."""
        if self._refusal is None and self._incoming is not None:
            try:
                self._accept(self._incoming)
            except RefusedByUs as refusal:
                self._refusal = refusal
        if self._refusal is None:
            return 0x0000
        self.abandon()
        self._note_refusal(self._refusal)
        return self._refusal.status

    def abandon(self) -> None:
        """Nothing more will come of it."""
        if self._incoming is not None:
            self._incoming.discard()

    def _open(self) -> Incoming:
        arrival = self._arrival
        if not is_valid_uid(arrival.transfer_syntax_uid):
            raise NotUnderstood("This is no DICOM file that says how it is encoded (PS3.10 section 7.1).", reason="no_file_meta")
        if not is_valid_uid(arrival.sop_instance_uid) or not is_valid_uid(arrival.sop_class_uid):
            raise NotUnderstood("The request names no valid SOP Class or Instance UID (PS3.5 section 9.1).", reason="malformed_uid")
        if not self._desk.room.is_there():
            raise _nearly_full()
        return self._desk.spool.open_incoming(file_meta(arrival))

    def _accept(self, incoming: Incoming) -> None:
        header = read_header(self._arrival, incoming.head, incoming.read)
        instance = describe(header, self._arrival.transfer_syntax_uid, incoming.sha256(), incoming.size)
        accepted = Accepted(instance=instance, arrival=self._arrival)
        self._desk.scribe.check_room()
        self._desk.presence.touch(self._arrival.association_id, instance.study_instance_uid)
        if self._is_held(accepted):
            incoming.discard()
            self._hand_over(accepted, None)
            return
        if self._comes_again:
            instance = replace(instance, key=instances.key_again(accepted))
            accepted = replace(accepted, instance=instance)
        incoming.seal(seal_of(instance.sha256, is_evidence=False))
        if not self._desk.recent.add(instance):
            # Another association has brought other bytes under this UID while ours were on their way.
            self._keep_as_evidence(accepted, incoming)
            raise _conflict()
        self._hand_over(accepted, self._desk.spool.leave(incoming, instance.key))

    def _is_held(self, accepted: Accepted) -> bool:
        """Whether these very bytes are held, durably, under this UID.

        Raises
        ------
        ConflictingDuplicate
            If others are.
        NotEnoughDisk
            If the ledger cannot be asked.
        """
        instance = accepted.instance
        is_same = self._desk.recent.is_same(instance)
        if is_same is None:
            try:
                held = self._desk.inquiry.ask(uid=instance.sop_instance_uid)
            except StorageError as error:
                raise NotEnoughDisk(error.sentence, reason="database") from error
            if not held:
                return False
            before, was_purged = instances.of_row(held[0])
            is_same = before.is_same_as(instance)
            if is_same and was_purged:
                self._comes_again = True
                return False
        if is_same:
            return True
        if self._incoming is not None:
            self._keep_as_evidence(accepted, self._incoming)
        raise _conflict()

    def _hand_over(self, accepted: Accepted, draft: Draft | None) -> None:
        self._incoming = None
        self._desk.scribe.hand_over(Fact(accepted=accepted, draft=draft))

    def _keep_as_evidence(self, accepted: Accepted, incoming: Incoming) -> None:
        key = instances.quarantine_key(accepted.instance)
        incoming.seal(seal_of(accepted.instance.sha256, is_evidence=True))
        self._incoming = None
        draft = self._desk.spool.leave(incoming, key)
        self._desk.scribe.hand_over(Fact(write=lambda tx: instances.record_conflict(tx, accepted, key), draft=draft))

    def _note_refusal(self, refusal: RefusedByUs) -> None:
        log.warning("instance.refused", code=refusal.full_code, sentence=refusal.sentence, association_id=self._arrival.association_id)
        fact = Fact(write=lambda tx: instances.refuse(tx, self._arrival, self._size, refusal.full_code, refusal.sentence))
        try:
            self._desk.scribe.check_room()
            self._desk.scribe.hand_over(fact).result(_PATIENCE_FOR_NOTES_S)
        except (NotEnoughDisk, NotYet) as error:
            log.error("audit.late", error=type(error).__name__)


def describe(header: Header, transfer_syntax_uid: str, sha256: str, size: int) -> Instance:
    """Make the instance of its header, with the key under which it lies in the spool.

    The digest in the name keeps two senders of one UID with different bytes from writing over each other, and lets a file whose row was
    never written be proven whole. The same bytes under another transfer syntax mean something else.
    """
    name = hashlib.sha256(transfer_syntax_uid.encode() + sha256.encode()).hexdigest()
    return Instance(
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        series_instance_uid=header.series_instance_uid,
        study_instance_uid=header.study_instance_uid,
        patient_id=header.patient_id,
        modality=header.modality,
        key=f"instances/{header.study_instance_uid}/{header.sop_instance_uid}-{name[:16]}.dcm",
        sha256=sha256,
        size=size,
    )


def _nearly_full() -> NotEnoughDisk:
    return NotEnoughDisk("The disk is nearly full; make room, then send again.", reason="watermark")


def _conflict() -> ConflictingDuplicate:
    return ConflictingDuplicate("Another data set is held under this SOP Instance UID. Both are kept; correct the sender.")
