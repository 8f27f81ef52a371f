"""A courier with its ledger, spool and work loop, a parcel to bring, and a destination that answers as it is told."""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydicom import dcmread
from pynetdicom import AE, evt

from node.core.job import Job, Work
from node.core.result import Answer, Delivery, Destination, StoredObject
from node.deliver.courier import Courier
from node.dimse import scu
from node.dimse.contexts import storage_sop_classes, transfer_syntaxes
from node.ledger import audit, jobs, outbox, views
from node.ledger.engine import Ledger
from node.ledger.migrate import migrating
from node.spool.local import LocalSpool
from node.work import engine as work_engine
from node.work.lease import Heart
from node.work.loop import Loop, Outcome
from node.work.retry import RetryPolicy
from tests.peers import HOST, free_port

OURS = scu.Caller(ae_title="RADNODE", connect_s=3, answer_s=10)
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


class Post:
    """Owes the objects in ``files`` to the destination "pacs" and brings them; the work loop around the courier is the real one."""

    def __init__(self, folder: Path, files: Sequence[Path], destination: Destination, *, attempts: int = 3, names=("pacs",)) -> None:
        self.folder, self.url, self.destination = folder, f"sqlite:///{folder / 'ledger.db'}", destination
        self._files, self._attempts, self._names = files, attempts, names

    def __enter__(self) -> Self:
        with migrating(self.url):
            work_engine.prepare(self.url, 0.25, {"infer": 1, "deliver": 1})
        with ExitStack() as stack:
            self.ledger = Ledger(self.url, actor="deliver@test")
            stack.callback(self.ledger.close)
            engine = stack.enter_context(work_engine.Engine(self.url))
            self.spool = stack.enter_context(LocalSpool(self.folder / "spool", "work"))
            self._stack = stack.pop_all()
        self.courier = Courier(self.ledger, self.spool, {"pacs": self.destination}, self._send)
        policy = RetryPolicy(attempts=self._attempts, crashes=3, first_s=0.1, most_s=1)
        heart = Heart(self.ledger, 60, lambda work_id: None)
        self.loop = Loop(self.ledger, engine, heart, policy, self._do, self.courier.give_up, identity="test", lease_s=60)
        self.objects = [self._put(path) for path in self._files]
        task = _job_of(self.objects[0])
        self.ledger.write(lambda tx: outbox.owe(tx, task, self.objects, self._names, engine.dispatch))
        self.parcel = f"{task.job_id}:{self._names[0]}"
        return self

    def __exit__(self, *_: object) -> None:
        with self.ledger.reading() as tx:
            assert list(audit.broken_rows(tx)) == []
        self._stack.close()

    def bring(self) -> dict:
        """One attempt, from the claim to what is written down; the row of the parcel after it."""
        self.loop.perform(self.parcel, self.row()["dispatch"])
        return self.row()

    def row(self) -> dict:
        return next(row for row in self._rows("work") if row["id"] == self.parcel)

    def states(self) -> list[str]:
        """Of each object, in the order in which they are to be sent."""
        found = {row["sop_instance_uid"]: row["state"] for row in self._rows("delivery")}
        return [found[stored.sop_instance_uid] for stored in self.objects]

    def events(self, prefix: str = "delivery") -> list[views.AuditRow]:
        with self.ledger.reading() as tx:
            return [row for row in views.since(tx, 0) if row.event.startswith(prefix)]

    def work(self) -> Work:
        with self.ledger.reading() as tx:
            return jobs.find(tx, self.parcel)

    def _rows(self, table: str) -> list[dict]:
        with self.ledger.reading() as tx:
            return views.all_rows(tx, table)

    def _put(self, path: Path) -> StoredObject:
        data_set = dcmread(path, stop_before_pixels=True)
        key = f"objects/{data_set.SOPInstanceUID}.dcm"
        self.spool.put_atomic(key, path.read_bytes()).settle()
        return StoredObject(
            kind="SEG" if data_set.Modality == "SEG" else "SR",
            sop_class_uid=str(data_set.SOPClassUID),
            sop_instance_uid=str(data_set.SOPInstanceUID),
            series_instance_uid=str(data_set.SeriesInstanceUID),
            key=key,
            sha256=self.spool.sha256(key),
        )

    def _send(self, destination: Destination, deliveries: Sequence[Delivery]) -> dict[str, Answer]:
        files = [scu.read_outgoing(self.spool.path(delivery.object.key)) for delivery in deliveries]
        return scu.store(OURS, destination, [file for file in files if file is not None])

    def _do(self, task: Work) -> Outcome:
        parcel = self.courier.bring(task)
        return Outcome(settle=lambda tx: outbox.answer(tx, task, parcel.answers), error=parcel.error)


def _job_of(stored: StoredObject) -> Work:
    job = Job(
        node_ae="RADNODE",
        study_instance_uid="1.2.3",
        revision=1,
        series_instance_uids=(stored.series_instance_uid,),
        pipeline="ct_lungs",
        model_digest="0" * 64,
        input_sha256="0" * 64,
        queued_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    return Work(id=job.id, kind="infer", job_id=job.id, job=job, destination=None, priority=100, attempt=1, dispatch=1, crashes=0)


class Pacs:
    """A Storage SCP on a real socket that answers each request with the next of ``statuses``, and aborts where one is None.

    Parameters
    ----------
    statuses : sequence of int or None
        After the last one everything is answered 0x0000.
    without : str
        A SOP class that it does not accept.
    """

    def __init__(self, *statuses: int | None, without: str = "", ae_title: str = "PACS", calling: Sequence[str] = ()) -> None:
        self.port, self.requests, self._statuses = free_port(), [], list(statuses)
        self._ae = AE(ae_title)
        self._ae.require_called_aet = True
        self._ae.require_calling_aet = list(calling)
        for uid in storage_sop_classes():
            if uid != without:
                self._ae.add_supported_context(uid, list(transfer_syntaxes()))

    @property
    def destination(self) -> Destination:
        return Destination(name="pacs", ae_title="PACS", host=HOST, port=self.port)

    def __enter__(self) -> Self:
        self._ae.start_server((HOST, self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._answer)])
        return self

    def __exit__(self, *_: object) -> None:
        self._ae.shutdown()

    def _answer(self, event: evt.Event) -> int:
        self.requests.append(str(event.request.AffectedSOPInstanceUID))
        status = self._statuses.pop(0) if self._statuses else 0x0000
        if status is None:
            event.assoc.abort()
            return 0x0000
        return status
