"""A courier with its ledger, spool and work loop, a parcel to bring, and a destination that answers as it is told."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from ssl import SSLContext
from typing import Self

from pydicom import dcmread
from pynetdicom import AE, evt

from node.core.commitment import Promise, Reference
from node.core.errors import PeerRefused
from node.core.job import Job, Work
from node.core.remote import Destination, Receiver, SenderDestination, WebDestination
from node.core.result import Answer, Delivery, StoredObject
from node.deliver.confirm import Confirmer, ConfirmPolicy
from node.deliver.courier import Courier
from node.deliver.stow import WebClient
from node.dimse import scu
from node.dimse.associate import Caller
from node.dimse.contexts import storage_sop_classes, transfer_syntaxes
from node.dimse.pledge import ask_for_commitment
from node.dimse.readback import find_instances
from node.dimse.status import judge
from node.ledger import audit, jobs, outbox, pledges, views
from node.ledger.circuits import CircuitPolicy
from node.ledger.engine import Ledger
from node.spool.local import LocalSpool
from node.work import engine as work_engine
from node.work.lease import Heart
from node.work.loop import Loop, Outcome, Pause
from node.work.retry import RetryPolicy
from tests.databases import prepare_database
from tests.peers import HOST, free_port

OURS = Caller(ae_title="RADNODE", connect_s=3, answer_s=10)
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


class Post:
    """Owes the objects in ``files`` to the destination "pacs" and brings them; the work loop around the courier is the real one.

    Parameters
    ----------
    confirm : str
        How the destination is asked whether it has what it was sent.
    lost_after_s, report_s, resend : float, float, int
        As in the configuration.
    answer_s : float
        How long the destination may take.
    trip_after, open_s : int, float
        After so many failures it is left alone, for so long.
    tls : SSLContext, optional
        How a DICOMweb server is called.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[Path],
        destination: Receiver | SenderDestination,
        *,
        attempts: int = 3,
        names=("pacs",),
        confirm: str = "none",
        lost_after_s: float = 0.0,
        report_s: float = 60.0,
        resend: int = 2,
        answer_s: float = 10.0,
        trip_after: int = 100,
        open_s: float = 60.0,
        tls: SSLContext | None = None,
    ) -> None:
        self.folder, self.url = folder, f"sqlite:///{folder / 'ledger.db'}"
        self.destination = replace(destination, confirm=confirm)
        self._circuit = CircuitPolicy(trip_after=trip_after, first_s=open_s, most_s=open_s, probe_s=60.0)
        self._web, self._tls = WebClient(3, answer_s, judge), tls
        self._files, self._attempts, self._names, self._caller = files, attempts, names, replace(OURS, answer_s=answer_s)
        self._policy = ConfirmPolicy(lost_after_s=lost_after_s, report_s=report_s, resend=resend, first_s=0.1, most_s=1.0)

    def __enter__(self) -> Self:
        prepare_database(self.url)
        with ExitStack() as stack:
            self.ledger = Ledger(self.url, actor="deliver@test")
            stack.callback(self.ledger.close)
            engine = stack.enter_context(work_engine.Engine(self.url))
            self.spool = stack.enter_context(LocalSpool(self.folder / "spool", "work"))
            self._stack = stack.pop_all()
        self.engine = engine
        confirmer = Confirmer(self.ledger, self._policy, self._ask, self._look)
        self.courier = Courier(self.ledger, self.spool, {"pacs": self.destination}, self._send, confirmer, self._sender_of, self._circuit)
        policy = RetryPolicy(attempts=self._attempts, crashes=3, first_s=0.1, most_s=1)
        heart = Heart(self.ledger, 60, lambda work_id: None)
        self.loop = Loop(self.ledger, engine, heart, policy, self._do, self.courier.give_up, identity="test", lease_s=60)
        self.objects = [self._put(path) for path in self._files]
        study = str(dcmread(self._files[0], stop_before_pixels=True).StudyInstanceUID)
        task = _job_of(self.objects[0], study)
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

    def deliver(self, most: int = 20) -> dict:
        """One attempt after the other, without the pauses between them, until the parcel is settled."""
        for _ in range(most):
            row = self.bring()
            if row["state"] != "queued":
                return row
        raise AssertionError(f"not settled after {most} attempts: {[(row.event, row.detail) for row in self.events('')]}")

    def owe_another(self) -> str:
        """Owe the same objects under other UIDs, as of another job; the id of that parcel."""
        task = _job_of(self.objects[0], "1.2.3.4")
        others = [replace(stored, sop_instance_uid=f"{stored.sop_instance_uid[:60]}.9") for stored in self.objects]
        self.ledger.write(lambda tx: outbox.owe(tx, task, others, self._names, self.engine.dispatch))
        return f"{task.job_id}:{self._names[0]}"

    def replay(self) -> None:
        """As ``radnode replay`` does."""
        parcel = self.ledger.write(lambda tx: jobs.replay(tx, self.parcel, "tester", self.engine.dispatch))
        self.ledger.write(lambda tx: outbox.replay(tx, parcel))

    def hear(self, promise: Promise) -> bool:
        """A report on storage commitment has come."""
        return self.ledger.write(lambda tx: pledges.hear(tx, promise, self.engine.dispatch, resend=self._policy.resend))

    def evidence(self) -> list[str]:
        """What the SQL view says of each object."""
        with self.ledger.reading() as tx:
            found = dict(tx.exec_driver_sql("SELECT sop_instance_uid, evidence FROM delivered").all())
        return [found[stored.sop_instance_uid] for stored in self.objects]

    def rows(self, table: str) -> list[dict]:
        return self._rows(table)

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

    def _send(self, destination: Receiver, deliveries: Sequence[Delivery]) -> dict[str, Answer]:
        if isinstance(destination, WebDestination):
            return self._web.store(destination, [(one.object, self.spool.path(one.object.key)) for one in deliveries], self._tls)
        files = [scu.read_outgoing(self.spool.path(delivery.object.key)) for delivery in deliveries]
        return scu.store(self._caller, destination, [file for file in files if file is not None])

    def _ask(self, destination: Destination, transaction_uid: str, references: Sequence[Reference]) -> None:
        ask_for_commitment(self._caller, destination, transaction_uid, references, self.hear, wait_s=1.0)

    def _sender_of(self, task: Work, destination: SenderDestination) -> Receiver:
        raise PeerRefused("Nobody has sent this study.", reason="unknown_sender")

    def _look(self, destination: Receiver, study_instance_uid: str, objects: Sequence[StoredObject]) -> frozenset[str]:
        if isinstance(destination, WebDestination):
            return self._web.find(destination, study_instance_uid, objects, self._tls)
        return find_instances(self._caller, destination, study_instance_uid, objects)

    def _do(self, task: Work) -> Outcome:
        parcel = self.courier.bring(task)
        pause = None if parcel.pause_s is None else Pause(delay_s=parcel.pause_s, sentence=parcel.sentence)
        return Outcome(settle=lambda tx: self.courier.settle(tx, task, parcel), error=parcel.error, pause=pause)


def _job_of(stored: StoredObject, study_instance_uid: str) -> Work:
    job = Job(
        node_ae="RADNODE",
        study_instance_uid=study_instance_uid,
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
        self._ae.start_server((HOST, self.port), block=False, evt_handlers=self.handlers())
        return self

    def handlers(self) -> list[tuple[evt.EventType, Callable]]:
        """What it does."""
        return [(evt.EVT_C_STORE, self._answer)]

    def __exit__(self, *_: object) -> None:
        self._ae.shutdown()

    def _answer(self, event: evt.Event) -> int:
        self.requests.append(str(event.request.AffectedSOPInstanceUID))
        status = self._statuses.pop(0) if self._statuses else 0x0000
        if status is None:
            event.assoc.abort()
            return 0x0000
        return status
