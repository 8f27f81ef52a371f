"""After a crash: files that were answered for, but whose rows were never committed, get their rows before the port opens again.

The file alone tells everything: its name holds a digest that proves it whole, its File Meta Information says who sent it, to whom and in
which association (``header.file_meta``).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import structlog
from pydicom.filereader import read_file_meta_info

from node.core.errors import RefusedByUs
from node.core.study import Accepted, Arrival, Peer
from node.intake.header import UNREADABLE, read_header
from node.intake.receive import describe
from node.ledger import instances, spooled
from node.ledger.audit import record
from node.ledger.engine import Ledger, Transaction
from node.spool.incoming import HEAD
from node.spool.local import LocalSpool

log = structlog.get_logger(__name__)


def adopt_all(ledger: Ledger, spool: LocalSpool) -> int:
    """Settle everything that listeners which are gone have left in ``incoming/``.

    Returns
    -------
    int
        How many rows were rebuilt.
    """
    adopted: list[str] = []

    def keep(key: str) -> bool:
        return ledger.write(lambda tx: spooled.is_known(tx, key) or _adopt(tx, spool, key, adopted))

    removed = spool.recover(keep)
    if adopted or removed:
        log.info("spool.recovered", adopted=len(adopted), removed=removed)
    return len(adopted)


def _adopt(tx: Transaction, spool: LocalSpool, key: str, adopted: list[str]) -> bool:
    if key.startswith("quarantine/"):
        return any(_keep_evidence(tx, spool, place) for place in (key, f"instances/{key.removeprefix('quarantine/')}"))
    accepted = read_accepted(spool.path(key), key)
    if accepted is None:
        return False
    instance = accepted.instance
    instances.accept_all(tx, [accepted])
    record(
        tx,
        "instance.adopted",
        {"key": key},
        association_id=accepted.arrival.association_id,
        study_instance_uid=instance.study_instance_uid,
        sop_instance_uid=instance.sop_instance_uid,
    )
    adopted.append(key)
    return True


def _keep_evidence(tx: Transaction, spool: LocalSpool, key: str) -> bool:
    """Keep what contradicts something that was answered for: in quarantine, or where it lay before that was known."""
    accepted = read_accepted(spool.path(key), key)
    if accepted is None:
        return False
    if not spooled.is_known(tx, key):
        instances.record_conflict(tx, accepted, key)
    return True


def read_accepted(path: Path, key: str) -> Accepted | None:
    """Read back what was accepted; None when the file is not whole, so that it cannot have been answered for."""
    try:
        meta = read_file_meta_info(path)
        private, _, address = bytes(meta.PrivateInformation).rstrip(b"\0").decode().partition(" ")
        arrival = Arrival(
            peer=Peer(
                calling_ae=str(meta.SourceApplicationEntityTitle), called_ae=str(meta.ReceivingApplicationEntityTitle), address=address
            ),
            association_id=private,
            sop_class_uid=str(meta.MediaStorageSOPClassUID),
            sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
            transfer_syntax_uid=str(meta.TransferSyntaxUID),
        )
        content = path.read_bytes()[132 + 12 + int(meta.FileMetaInformationGroupLength) :]
        header = read_header(arrival, content[:HEAD], lambda: content)
    except (*UNREADABLE, RefusedByUs):
        return None
    instance = describe(header, arrival.transfer_syntax_uid, hashlib.sha256(content).hexdigest(), len(content))
    is_whole = key in (instance.key, instances.quarantine_key(instance))
    return Accepted(instance=instance, arrival=arrival) if is_whole else None
