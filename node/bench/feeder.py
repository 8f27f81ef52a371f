"""Studies without pixels, for ``radnode bench work``: rows in the ledger, entered by the functions that the listener uses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from node.app.schedule import open_work_engine
from node.config import Config
from node.core.errors import StateError
from node.core.job import Job, Priority
from node.core.study import Accepted, Arrival, Evidence, Instance, Peer
from node.core.uids import derive_uid
from node.ledger import instances, jobs, studies, views
from node.ledger.engine import Ledger, Transaction
from node.ledger.views import AuditRow
from node.work.engine import Engine

_PEER = Peer(calling_ae="BENCH", called_ae="RADNODE", address="127.0.0.1")
_CT = "1.2.840.10008.5.1.4.1.1.2"
_SYNTAX = "1.2.840.10008.1.2.1"
_EVIDENCE = Evidence(rule="quiet", instances=1, series=1, quiet_s=1.0, open_associations=0)
_AT_ONCE = 1000


class Feeder:
    """Enters studies and their jobs."""

    def __init__(self, ledger: Ledger, engine: Engine) -> None:
        self._ledger, self._engine = ledger, engine

    def open(self, name: str) -> str:
        """Open a study of one instance; return its UID."""
        uid = derive_uid("bench", name)
        about = {"sop_class_uid": _CT, "sop_instance_uid": f"{uid}.1.1", "transfer_syntax_uid": _SYNTAX}
        arrival = Arrival(peer=_PEER, association_id="bench", **about)
        named = {"study_instance_uid": uid, "series_instance_uid": f"{uid}.1", "patient_id": "BENCH-1", "modality": "CT"}
        instance = Instance(key=f"bench/{name}", sha256="0" * 64, size=0, **about, **named)
        self._ledger.write(lambda tx: instances.accept_all(tx, [Accepted(instance=instance, arrival=arrival)]))
        return uid

    def complete(self, uid: str, priority: Priority, more: int = 1) -> tuple[str, float]:
        """Judge a study complete and enter its jobs; return the id of the last, and how long the transaction took.

        The jobs ask for series that the study does not have, so that nothing is read for them.
        """
        began = time.perf_counter()
        with self._ledger.writing() as tx:
            study = studies.find_open(tx, uid)
            if study is None:
                raise StateError(f"Study {uid} is not open.")
            studies.complete(tx, study, _EVIDENCE)
            job_id = self._enter(tx, uid, 0, priority)
        spent = time.perf_counter() - began
        for first in range(1, more, _AT_ONCE):
            with self._ledger.writing() as tx:
                for number in range(first, min(more, first + _AT_ONCE)):
                    self._enter(tx, uid, number, priority)
        return job_id, spent

    def _enter(self, tx: Transaction, uid: str, number: int, priority: Priority) -> str:
        job = Job(
            node_ae="RADNODE",
            study_instance_uid=uid,
            revision=1,
            series_instance_uids=(f"{uid}.2.{number}",),
            pipeline="bench",
            model_digest="0" * 64,
            input_sha256="0" * 64,
            queued_at=jobs.clock(tx),
        )
        jobs.enqueue(tx, job, priority, self._engine.dispatch, why="bench")
        return job.id

    def rows(self, event: str, since: int = 0) -> list[AuditRow]:
        """The audit rows of one event behind row ``since``."""
        with self._ledger.reading() as tx:
            return views.of_event(tx, event, since)

    def last(self) -> int:
        """The number of the last audit row."""
        with self._ledger.reading() as tx:
            return views.last_number(tx)


@contextmanager
def feeding(config: Config) -> Iterator[Feeder]:
    """Open a feeder on a node's ledger."""
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(config.database_url, actor="bench")))
        yield Feeder(ledger, stack.enter_context(open_work_engine(config)))


def write_config(folder: Path, database: str, destination_port: int | None) -> Path:
    """A configuration with the shipped settings, for a node in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = f'[node]\ndata = "{folder}/data"\ndatabase = "{database}"\n[log]\nlevel = "info"\nformat = "json"\n[pipelines]\nenabled = []\n'
    if destination_port is not None:
        text += f'[[destination]]\nname = "pacs"\nae_title = "BENCH"\nhost = "127.0.0.1"\nport = {destination_port}\n'
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path
