"""The node's front door in this process: listener, receiver, spool and ledger, with nothing behind them."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from pydicom import Dataset, dcmread
from pydicom.uid import UID
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.dsutils import split_dataset

from node.core.remote import Destination
from node.core.result import Answer
from node.core.study import Instance
from node.dimse import scu
from node.dimse.associate import Caller
from node.dimse.scp import Door, Listener
from node.dimse.visit import Service
from node.intake.receive import Receiver
from node.ledger import audit, views
from node.ledger.engine import Ledger
from tests.databases import prepare_database
from tests.integration.desk import flush, open_desk
from tests.peers import HOST, free_port, wait_until

OURS = Caller(ae_title="SENDER", connect_s=10, answer_s=60)


class Station:
    """A listener on a free port. The options are those of `Door`, ``min_free_bytes`` and ``url``."""

    def __init__(self, folder: Path, *, url: str = "", min_free_bytes: int = 0, port: int = 0, **door) -> None:
        self.folder, self.url = folder, url or f"sqlite:///{folder / 'ledger.db'}"
        self.port = port or free_port()
        self._min_free_bytes = min_free_bytes
        values = {
            "called_ae": frozenset({"RADNODE"}),
            "calling_ae": frozenset(),
            "unknown_storage": True,
            "max_associations": 64,
            "max_pdu": 131072,
            "idle_s": 30.0,
            "slowest": 1000,
            "largest": 1 << 31,
            "fast": True,
        }
        self.door = Door(host=HOST, port=self.port, ae_title="RADNODE", **(values | door))

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        prepare_database(self.url)
        self._stack = ExitStack()
        self.ledger = Ledger(self.url, actor="listen@test")
        self._stack.callback(self.ledger.close)
        self.desk = self._stack.enter_context(open_desk(self.ledger, self.folder / "spool", min_free_bytes=self._min_free_bytes))
        self.spool, self.presence = self.desk.spool, self.desk.presence
        self.receiver = Receiver(self.desk)
        listener = Listener(self.door, self.receiver, services=self.services())
        listener.start()
        self._stack.callback(listener.stop)
        self.listener = listener
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def services(self) -> Sequence[Service]:
        """What is offered beside Verification and Storage: nothing here."""
        return ()

    @property
    def peer(self) -> Destination:
        return Destination(name="station", ae_title="RADNODE", host=HOST, port=self.port)

    def send(self, *paths: Path, stop_at_failure: bool = False) -> dict[str, Answer]:
        """Send files with our own SCU, byte for byte."""
        files = [scu.read_outgoing(path) for path in paths]
        return scu.store(OURS, self.peer, [file for file in files if file], stop_at_failure=stop_at_failure)

    def connect(self, *contexts: tuple[str, str], calling: str = "SENDER", called: str = "RADNODE") -> Association:
        ae = AE(calling)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
        proposed = [build_context(abstract, syntax) for abstract, syntax in contexts or [("1.2.840.10008.1.1", "1.2.840.10008.1.2")]]
        return ae.associate(HOST, self.port, contexts=proposed, ae_title=called)

    def flush(self) -> None:
        """Wait until what was answered is in the ledger too."""
        flush(self.desk)

    def events(self, prefix: str = "") -> list[views.AuditRow]:
        """What is written down; what was answered before is among it."""
        self.flush()
        with self.ledger.reading() as tx:
            return [row for row in views.since(tx, 0) if row.event.startswith(prefix)]

    def names(self, prefix: str = "") -> list[str]:
        return [row.event for row in self.events(prefix)]

    def wait_for(self, event: str, count: int = 1) -> list[views.AuditRow]:
        """Return the audit rows of an event, as soon as there are so many."""
        return wait_until(
            lambda: found if len(found := self.events(event)) >= count else None,
            seconds=15,
            sentence=f"{count} x {event} in {self.names()}",
        )

    def held(self) -> dict[str, Instance]:
        self.flush()
        with self.ledger.reading() as tx:
            rows = views.all_rows(tx, "instance")
        return {row["sop_instance_uid"]: Instance(**{name: row[name] for name in Instance.__dataclass_fields__}) for row in rows}

    def bytes_of(self, instance: Instance) -> bytes:
        """The data set that lies in the spool."""
        return data_set_bytes(self.spool.path(instance.key))

    def in_incoming(self) -> list[str]:
        """What is on its way in, or left behind."""
        return sorted(path.name for path in (self.spool.root / "incoming").glob("*/*") if path.name != ".lock" and _size(path))

    def check(self) -> None:
        """Nothing is in limbo: each row has its file with its digest, each file its row, the audit chain is whole."""
        held = self.held()
        evidence = {row.detail["key"] for row in self.events("instance.conflict")}
        assert set(self.spool.list()) == {instance.key for instance in held.values()} | evidence
        for instance in held.values():
            path = self.spool.path(instance.key)
            _, offset = split_dataset(path)
            assert self.spool.sha256(instance.key, skip=offset) == instance.sha256
            assert dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == instance.transfer_syntax_uid
        wait_until(lambda: self.in_incoming() == [], seconds=10, sentence=f"{self.in_incoming()} wait for nothing")
        with self.ledger.reading() as tx:
            assert list(audit.broken_rows(tx)) == []


def data_set_bytes(path: Path) -> bytes:
    """The data set of a file, without what stands before it."""
    _, offset = split_dataset(path)
    return path.read_bytes()[offset:]


def write_file(folder: Path, name: str, data_set: Dataset, **meta: str) -> Path:
    """Write a data set whose File Meta Information, and so the command, may say something else."""
    path = folder / f"{name}.dcm"
    data_set.ensure_file_meta()
    data_set.preamble = bytes(128)
    data_set.file_meta.TransferSyntaxUID = UID(meta.get("syntax", "1.2.840.10008.1.2.1"))
    data_set.file_meta.MediaStorageSOPClassUID = UID(meta.get("sop_class", str(data_set.get("SOPClassUID", ""))))
    data_set.file_meta.MediaStorageSOPInstanceUID = UID(meta.get("instance", str(data_set.get("SOPInstanceUID", ""))))
    data_set.save_as(path)
    return path


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):  # settled meanwhile
        return path.stat().st_size
    return 0
