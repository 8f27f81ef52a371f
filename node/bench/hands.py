"""A worker whose device does nothing: the real queue around it, for ``radnode bench work``.

    python -m node.bench.hands CONFIG SECONDS

Each job takes SECONDS and makes two small objects, under the SOP classes of a Segmentation and a Structured Report, which go through the
spool and the outbox as those of any job.
"""

from __future__ import annotations

import hashlib
import sys
import time
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import structlog
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, Comprehensive3DSRStorage, ExplicitVRLittleEndian, SegmentationStorage

from node.app.remotes import destinations_of
from node.app.role import Role, policy_of, run_queue, stop_on_signals
from node.config.read import read_config
from node.core.job import Work
from node.core.result import ObjectKind, StoredObject
from node.ledger import outbox
from node.logs import configure_logs
from node.spool.draft import Draft
from node.work.lease import Heart
from node.work.loop import Loop, Outcome

log = structlog.get_logger(__name__)

_KINDS: tuple[tuple[ObjectKind, UID], ...] = (("SEG", SegmentationStorage), ("SR", Comprehensive3DSRStorage))


class Hands:
    """Does jobs without doing anything."""

    def __init__(self, role: Role, seconds: float) -> None:
        self._role, self._seconds = role, seconds
        self._destinations = list(destinations_of(role.config))

    def do(self, work: Work) -> Outcome:
        """Wait, and leave two objects; ``began_at`` and ``ended_at`` are by the machine's clock."""
        began_at = time.time()
        time.sleep(self._seconds)
        ended_at = time.time()
        stored, drafts = zip(*(self._store(work, kind, sop_class) for kind, sop_class in _KINDS), strict=True)

        def settled() -> None:
            for draft in drafts:
                draft.settle()

        def dropped() -> None:
            for draft in drafts:
                draft.withdraw()

        return Outcome(
            settle=lambda tx: outbox.owe(tx, work, stored, self._destinations, self._role.engine.dispatch),
            settled=settled,
            dropped=dropped,
            summary={"began_at": began_at, "ended_at": ended_at},
        )

    def _store(self, work: Work, kind: ObjectKind, sop_class: UID) -> tuple[StoredObject, Draft]:
        uid, content = work.job.derive_uid(kind, "instance"), _encode(work, kind, sop_class)
        key = f"results/{work.job_id}/{work.dispatch}/{kind}-{uid}.dcm"
        stored = StoredObject(
            kind=kind,
            sop_class_uid=sop_class,
            sop_instance_uid=uid,
            series_instance_uid=work.job.derive_uid(kind, "series"),
            key=key,
            sha256=hashlib.sha256(content).hexdigest(),
        )
        return stored, self._role.spool.put_atomic(key, content)


def _encode(work: Work, kind: ObjectKind, sop_class: UID) -> bytes:
    data_set = Dataset()
    data_set.SOPClassUID, data_set.SOPInstanceUID = sop_class, UID(work.job.derive_uid(kind, "instance"))
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = UID(work.job.study_instance_uid), UID(work.job.derive_uid(kind, "series"))
    data_set.PatientID, data_set.Modality = "BENCH-1", kind
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = BytesIO()
    data_set.save_as(content, enforce_file_format=True)
    return content.getvalue()


def main(path: Path, seconds: float) -> None:
    """Work until stopped."""
    config = read_config(path)
    configure_logs("info", "json", "work")
    stop = stop_on_signals()
    with ExitStack() as stack:
        role = Role(config, "work", stack)
        section = config.work
        heart = Heart(role.ledger, section.lease_s, lambda work_id: log.warning("job.lost", work_id=work_id))
        do = Hands(role, seconds).do
        loop = Loop(
            role.ledger,
            role.engine,
            heart,
            policy_of(section),
            do,
            lambda *_: None,
            identity=role.identity,
            lease_s=section.lease_s,
        )
        run_queue(role, "infer", heart, loop, section, stop)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
