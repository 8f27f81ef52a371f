"""A migrated database of either kind with the engine's tables in it, and workers that are processes of their own."""

import os
import subprocess
import sys
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node.core.job import Job, Priority
from node.core.study import Accepted, Arrival, Evidence, Instance, Peer
from node.ledger import audit, instances, jobs, studies, views
from node.ledger.engine import Ledger
from node.work.engine import Engine
from tests.databases import prepare_database
from tests.peers import wait_until

LEASE_S = 2.0
JOB = Job(
    node_ae="RADNODE",
    study_instance_uid="1.2.3",
    revision=1,
    series_instance_uids=("1.2.3.1",),
    pipeline="quick",
    model_digest="a" * 64,
    input_sha256="b" * 64,
    queued_at=datetime(2026, 11, 20, 10, tzinfo=UTC),
)
PEER = Peer(calling_ae="CT1", called_ae="RADNODE", address="::1")
UIDS = {"sop_class_uid": "1", "sop_instance_uid": "1.1", "transfer_syntax_uid": "1"}
ARRIVAL = Arrival(peer=PEER, association_id="a", **UIDS)
IDENTITY = {"study_instance_uid": "1.2.3", "series_instance_uid": "1.2.3.1", "patient_id": "P", "modality": "CT"}
INSTANCE = Instance(key="k", sha256="s", size=0, **UIDS, **IDENTITY)
EVIDENCE = Evidence(rule="quiet", instances=1, series=1, quiet_s=1.0, open_associations=0)


class Worker:
    """One worker process."""

    def __init__(self, url, folder, name, host=None):
        self.folder, self.name = folder, name
        program = [sys.executable, Path(__file__).with_name("worker.py"), url, folder, str(LEASE_S), name, *([host] if host else [])]
        with (folder / f"{name}.err").open("w") as errors:
            self.process = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)

    @property
    def log(self):
        path = self.folder / f"{self.name}.log"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, line, seconds=30):
        errors = (self.folder / f"{self.name}.err").read_text
        wait_until(
            lambda: any(said.startswith(line) for said in self.log), seconds=seconds, sentence=f"{self.name}: no {line!r}: {errors()}"
        )

    def go(self):
        """Let its slow jobs end."""
        (self.folder / f"{self.name}.go").touch()

    def send(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


class Node:
    """The database, and what a test does to it."""

    def __init__(self, url, folder, ledger, engine, stack):
        self.url, self.folder, self.ledger, self.engine, self.stack = url, folder, ledger, engine, stack

    def worker(self, name, host=None):
        found = Worker(self.url, self.folder, name, host)
        self.stack.callback(found.kill)
        return found

    def job(self, pipeline):
        return replace(JOB, pipeline=pipeline)

    def enqueue(self, *pipelines, priority=Priority.ROUTINE, delay_s=0.0):
        def dispatch(tx, ticket):
            self.engine.dispatch(tx, replace(ticket, delay_s=delay_s))

        with self.ledger.writing() as tx:
            for pipeline in pipelines:
                jobs.enqueue(tx, self.job(pipeline), priority, dispatch)

    def row(self, pipeline):
        with self.ledger.reading() as tx:
            return next(row for row in views.all_rows(tx, "work") if row["pipeline"] == pipeline)

    def wait_for(self, pipeline, state, seconds=30):
        wait_until(lambda: self.row(pipeline)["state"] == state, seconds=seconds, sentence=f"{pipeline} is not {state}")
        return self.row(pipeline)

    def events(self, pipeline=None, prefix=""):
        wanted = None if pipeline is None else self.job(pipeline).id
        with self.ledger.reading() as tx:
            return [row for row in views.since(tx, 0) if row.event.startswith(prefix) and wanted in (None, row.work_id)]

    def results(self):
        return [(row.detail["by"], row.detail["pipeline"]) for row in self.events(prefix="test.result")]


@pytest.fixture(params=["sqlite", "postgresql"])
def node(request, tmp_path):
    url = f"sqlite:///{tmp_path}/radnode.db" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")
    prepare_database(url)
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(url, actor="test")))
        engine = stack.enter_context(Engine(url))
        with ledger.writing() as tx:
            instances.accept_all(tx, [Accepted(instance=INSTANCE, arrival=ARRIVAL)])
            (study,) = studies.quiet(tx, -1)
            studies.complete(tx, study, EVIDENCE)
        with ExitStack() as workers:
            yield Node(url, tmp_path, ledger, engine, workers)
        with ledger.reading() as tx:
            assert list(audit.broken_rows(tx)) == []
