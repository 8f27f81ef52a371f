"""What the tests of the ledger put into it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from node.core.job import Job, Ticket, Work
from node.core.result import StoredObject
from node.core.study import Accepted, Arrival, Evidence, Instance, Peer
from node.ledger import instances, jobs, leases, schema, studies, views

#: For a test that concerns one of the two databases only.
only_sqlite = pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("kind", ["postgresql"], indirect=True)

PEER = Peer(calling_ae="CT1", called_ae="RADNODE", address="127.0.0.1")
ARRIVAL = Arrival(
    peer=PEER,
    association_id="association-1",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
    sop_instance_uid="1.2.3.1.1",
    transfer_syntax_uid="1.2.840.10008.1.2.1",
)
EVIDENCE = Evidence(rule="quiet", instances=1, series=1, quiet_s=30.0, open_associations=0)
STUDY_UID = "1.2.3"
JOB = Job(
    node_ae="RADNODE",
    study_instance_uid=STUDY_UID,
    revision=1,
    series_instance_uids=("1.2.3.1", "1.2.3.2"),
    pipeline="ct_lungs",
    model_digest="a" * 64,
    input_sha256="b" * 64,
    queued_at=datetime(2026, 11, 20, 10, tzinfo=UTC),
)


class Tickets(list[Ticket]):
    """The engine's side of a hand-over: whatever was dispatched, in order."""

    def __call__(self, tx: sa.Connection, ticket: Ticket) -> None:
        assert tx.in_transaction()
        self.append(ticket)


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """Work that is running, and by whom."""

    work: Work
    token: str


def make_instance(number=1, study=STUDY_UID, series="1.2.3.1", content="x", **changes):
    uid = f"{series}.{number}"
    found = Instance(
        sop_instance_uid=uid,
        sop_class_uid=ARRIVAL.sop_class_uid,
        transfer_syntax_uid=ARRIVAL.transfer_syntax_uid,
        series_instance_uid=series,
        study_instance_uid=study,
        patient_id="P1",
        modality="CT",
        key=f"instances/{study}/{uid}-{content}.dcm",
        sha256=content * 64,
        size=10,
    )
    return replace(found, **changes)


def accepted(instance, association=ARRIVAL.association_id):
    return Accepted(instance=instance, arrival=replace(ARRIVAL, association_id=association))


def accept(ledger, *batch, association=ARRIVAL.association_id):
    ledger.write(lambda tx: instances.accept_all(tx, [accepted(instance, association) for instance in batch]))


def only_study(ledger):
    """The one open study, however recently something came for it."""
    with ledger.reading() as tx:
        (found,) = studies.quiet(tx, -1)
    return found


def complete(ledger, study=None):
    """Judge the one open study complete."""
    study = study or only_study(ledger)
    return ledger.write(lambda tx: studies.complete(tx, study, EVIDENCE))


def enqueue(ledger, tickets, job=JOB, priority=100):
    return ledger.write(lambda tx: jobs.enqueue(tx, job, priority, tickets))


def ready(ledger, tickets, job=JOB):
    """Bring a job to where it can be claimed."""
    accept(ledger, make_instance())
    complete(ledger)
    assert enqueue(ledger, tickets, job)


def claim(ledger, work_id, dispatch, token, lease_s=60.0):
    work = ledger.write(lambda tx: leases.claim(tx, work_id, dispatch, token, lease_s))
    return Claimed(work=work, token=token) if work else None


def claimed(ledger, tickets, token="worker/1", lease_s=60.0, job=JOB):
    """Bring a job to where it is running."""
    ready(ledger, tickets, job)
    found = claim(ledger, job.id, 1, token, lease_s)
    assert found is not None
    return found


def make_object(kind, number=1):
    uid = f"2.25.{number}{len(kind)}"
    classes = {"SEG": "1.2.840.10008.5.1.4.1.1.66.4", "SR": "1.2.840.10008.5.1.4.1.1.88.33"}
    return StoredObject(
        kind=kind,
        sop_class_uid=classes[kind],
        sop_instance_uid=uid,
        series_instance_uid=f"{uid}.0",
        key=f"results/{JOB.id}/1/{kind}-{uid}.dcm",
        sha256="c" * 64,
    )


def rows(ledger, table):
    with ledger.reading() as tx:
        return views.all_rows(tx, table)


def row(ledger, table, **match):
    (found,) = [found for found in rows(ledger, table) if all(found[key] == value for key, value in match.items())]
    return found


def events(ledger, prefix=""):
    with ledger.reading() as tx:
        return [found.event for found in views.since(tx, 0) if found.event.startswith(prefix)]


def snapshot(ledger):
    """Everything that the ledger holds."""
    return {name: sorted(rows(ledger, name), key=repr) for name in schema.metadata.tables}


def execute(ledger, text, **values):
    """Change something behind the ledger's back."""
    with ledger.writing() as tx:
        return tx.execute(sa.text(text), values)
