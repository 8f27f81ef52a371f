"""After a crash: files that were answered for, but whose rows were never committed, get their rows before the port opens again.

The file alone tells everything: its seal holds a digest that proves it whole, its File Meta Information says who sent it, to whom and in
which association (``header.file_meta``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from pydicom.filereader import read_file_meta_info

from node.core.errors import RefusedByUs, StorageError
from node.core.study import Accepted, Arrival, Peer
from node.core.unreadable import UNREADABLE
from node.intake.header import read_header, read_private
from node.intake.receive import describe
from node.ledger import instances, spooled
from node.ledger.audit import record
from node.ledger.engine import Ledger, Transaction
from node.spool.incoming import HEAD
from node.spool.spool import Spool

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A file that was whole when its sender was answered.

    Attributes
    ----------
    is_evidence : bool
        The answer was a refusal: it contradicts what is held.
    """

    accepted: Accepted
    is_evidence: bool

    @property
    def key(self) -> str:
        """Where it belongs."""
        instance = self.accepted.instance
        return instances.quarantine_key(instance) if self.is_evidence else instance.key


def adopt_all(ledger: Ledger, spool: Spool) -> int:
    """Settle everything that listeners which are gone have left in ``incoming/``.

    Returns
    -------
    int
        How many rows were rebuilt.
    """
    adopted: list[str] = []

    def adopt(slot: Path) -> bool:
        found = read_sealed(slot)
        if found is None:
            return _keep_damaged(ledger, spool, slot)
        sealed = ledger.write(lambda tx: _renamed(tx, found))
        spool.keep([spool.draft_of(slot, sealed.key)])
        ledger.write(lambda tx: _adopt(tx, sealed, adopted))
        return True

    removed = spool.recover(lambda key: ledger.write(lambda tx: spooled.is_known(tx, key)), adopt)
    if adopted or removed:
        log.info("spool.recovered", adopted=len(adopted), removed=removed)
    return len(adopted)


def _keep_damaged(ledger: Ledger, spool: Spool, slot: Path) -> bool:
    """Set aside what is not whole although it was once; False when it never was, so that nobody was answered.

    A file gets its key behind the answer to its sender. When one with a key does not bear out its seal, the disk has not kept it.
    """
    key = spool.named(slot)
    if key is None:
        return False
    kept = f"quarantine/damaged/{slot.stem}.dcm"
    spool.keep([spool.draft_of(slot, kept)])
    sentence = "It was whole when its sender was answered, and is no longer: look after the disk, and have it sent again."
    error = StorageError(sentence, reason="damaged")
    log.error("instance.damaged", code=error.full_code, sentence=sentence, key=key, kept=kept)
    ledger.write(lambda tx: None if spooled.is_known(tx, kept) else instances.record_damaged(tx, key, kept, error))
    spool.delete(key)
    return True


def _renamed(tx: Transaction, sealed: Sealed) -> Sealed:
    """What came again after it was purged has the key that its listener gave it."""
    accepted = sealed.accepted
    if sealed.is_evidence or not instances.is_purged(tx, accepted.instance.sop_instance_uid):
        return sealed
    return replace(sealed, accepted=replace(accepted, instance=replace(accepted.instance, key=instances.key_again(accepted))))


def _adopt(tx: Transaction, sealed: Sealed, adopted: list[str]) -> None:
    if spooled.is_known(tx, sealed.key):
        return
    accepted, instance = sealed.accepted, sealed.accepted.instance
    if sealed.is_evidence:
        instances.record_conflict(tx, accepted, sealed.key)
        return
    instances.accept_all(tx, [accepted])
    record(
        tx,
        "instance.adopted",
        {"key": sealed.key},
        association_id=accepted.arrival.association_id,
        study_instance_uid=instance.study_instance_uid,
        sop_instance_uid=instance.sop_instance_uid,
    )
    adopted.append(sealed.key)


def read_sealed(path: Path) -> Sealed | None:
    """Read back what was answered for; None when the file is not whole, so that its sender cannot have been answered.

    Raises
    ------
    StorageError
        If the disk does not give it back: it may have been answered for, and nothing is taken away on a guess.
    """
    try:
        meta = read_file_meta_info(path)
        association_id, address, sha256, is_evidence = read_private(bytes(meta.PrivateInformation))
        arrival = Arrival(
            peer=Peer(
                calling_ae=str(meta.SourceApplicationEntityTitle), called_ae=str(meta.ReceivingApplicationEntityTitle), address=address
            ),
            association_id=association_id,
            sop_class_uid=str(meta.MediaStorageSOPClassUID),
            sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
            transfer_syntax_uid=str(meta.TransferSyntaxUID),
        )
        begins_at = 132 + 12 + int(meta.FileMetaInformationGroupLength)
        with path.open("rb") as file:
            file.seek(begins_at)
            head = file.read(HEAD)
            header = read_header(arrival, head, lambda most: (file.seek(begins_at), file.read(most))[1])
            file.seek(begins_at)
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror}); mend the disk, then start again.", reason="unreadable") from error
    except (*UNREADABLE, RefusedByUs):
        return None
    instance = describe(header, arrival.transfer_syntax_uid, sha256, path.stat().st_size - begins_at)
    return Sealed(accepted=Accepted(instance=instance, arrival=arrival), is_evidence=is_evidence)
