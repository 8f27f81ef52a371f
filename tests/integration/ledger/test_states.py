"""No state changes without its audit row in the same transaction, and the database takes no state that the tables do not know."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from node.core.errors import GeometryError, TimedOut
from node.core.result import Answer
from node.core.step import Statement
from node.ledger import instances, jobs, leases, outbox, schema, steps, studies
from tests.integration.ledger.made import (
    EVIDENCE,
    JOB,
    Tickets,
    accept,
    accepted,
    claim,
    claimed,
    complete,
    execute,
    make_instance,
    make_object,
    only_study,
    ready,
    rows,
    snapshot,
)


def prepare_open(ledger):
    accept(ledger, make_instance())
    study = only_study(ledger)
    return {
        "study.completed": lambda tx: studies.complete(tx, study, EVIDENCE),
        "instance.received": lambda tx: instances.accept_all(tx, [accepted(make_instance(2))]),
        "instance.duplicate": lambda tx: instances.accept_all(tx, [accepted(make_instance(1), "association-2")]),
    }


def prepare_complete(ledger):
    accept(ledger, make_instance())
    complete(ledger)
    return {
        "study.reopened": lambda tx: instances.accept_all(tx, [accepted(make_instance(2))]),
        "study.processed": lambda tx: studies.close_if_ended(tx, JOB.study_instance_uid, 1),
        "job.queued": lambda tx: jobs.enqueue(tx, JOB, 100, Tickets()),
    }


def prepare_queued(ledger):
    ready(ledger, Tickets())
    with ledger.reading() as tx:
        work = jobs.find(tx, JOB.id)
    return {
        "job.claimed": lambda tx: leases.claim(tx, JOB.id, 1, "worker/1", 60),
        "job.rescued": lambda tx: leases.rescue(tx, work, None, "engine lost it", Tickets()),
    }


def prepare_running(ledger):
    held = claimed(ledger, Tickets(), lease_s=-1)
    work, token = held.work, held.token
    return {
        "job.finished": lambda tx: jobs.settle(tx, work, token, None, {"voxels": 1}),
        "job.refused": lambda tx: jobs.settle(tx, work, token, GeometryError("Gap."), {}),
        "job.retried": lambda tx: jobs.try_again(tx, work, token, TimedOut("Late."), 5.0, Tickets()),
        "job.rescued": lambda tx: leases.rescue(tx, work, token, "lease expired", Tickets()),
        "delivery.owed": lambda tx: outbox.owe(tx, work, [make_object("SEG")], ["pacs"], Tickets()),
    }


def prepare_refused(ledger):
    held = claimed(ledger, Tickets())
    ledger.write(lambda tx: jobs.settle(tx, held.work, held.token, GeometryError("Gap."), {}))
    return {"job.replayed": lambda tx: jobs.replay(tx, JOB.id, "admin", Tickets())}


def prepare_owed(ledger):
    held = claimed(ledger, Tickets())
    ledger.write(lambda tx: outbox.owe(tx, held.work, [make_object("SEG")], ["pacs"], Tickets()))
    parcel = claim(ledger, f"{JOB.id}:pacs", 1, "courier/1").work
    return {"delivery.started": lambda tx: outbox.start(tx, parcel), "delivery.refused": lambda tx: outbox.give_up(tx, parcel, "No.")}


def prepare_sending(ledger):
    held = claimed(ledger, Tickets())
    ledger.write(lambda tx: outbox.owe(tx, held.work, [make_object("SEG")], ["pacs"], Tickets()))
    parcel = claim(ledger, f"{JOB.id}:pacs", 1, "courier/1").work
    (delivery,) = ledger.write(lambda tx: outbox.start(tx, parcel))
    uid = delivery.object.sop_instance_uid

    def answer(event, status):
        return lambda tx: outbox.answer(tx, parcel, {uid: Answer(event=event, dimse_status=status, sentence="So.")})

    return {
        "delivery.sent": answer("accept", 0),
        "delivery.postponed": answer("retry", 0xA700),
        "delivery.refused": answer("refuse", 0xC000),
    }


def prepare_step(ledger):
    said = Statement(request_id="r1", sop_instance_uid="1.9.1", association_id="a1", calling_ae="CT1", study_instance_uids=("1.2.3",))
    ready(ledger, Tickets())
    ledger.write(lambda tx: steps.create(tx, said))
    change = replace(said, request_id="r2", performed={"1.2.3.1": ("1.2.3.1.1",)}, ended="20261120 1030")
    return {
        "step.created": lambda tx: steps.create(tx, replace(said, sop_instance_uid="1.9.2")),
        "step.updated": lambda tx: steps.set_(tx, change),
        "step.completed": lambda tx: steps.set_(tx, replace(change, state="COMPLETED")),
        "step.discontinued": lambda tx: steps.set_(tx, replace(change, state="DISCONTINUED")),
        "job.refused": lambda tx: steps.set_(tx, replace(change, state="DISCONTINUED")),
    }


STAGES = {
    prepare_open: ["study.completed", "instance.received", "instance.duplicate"],
    prepare_complete: ["study.reopened", "study.processed", "job.queued"],
    prepare_queued: ["job.claimed", "job.rescued"],
    prepare_running: ["job.finished", "job.refused", "job.retried", "job.rescued", "delivery.owed"],
    prepare_refused: ["job.replayed"],
    prepare_owed: ["delivery.started", "delivery.refused"],
    prepare_step: ["step.created", "step.updated", "step.completed", "step.discontinued", "job.refused"],
    prepare_sending: ["delivery.sent", "delivery.postponed", "delivery.refused"],
}
every_change = pytest.mark.parametrize(("prepare", "event"), [(stage, event) for stage, found in STAGES.items() for event in found])


def without_audit(everything):
    return {name: table for name, table in everything.items() if name != "audit"}


@every_change
def test_every_change_has_its_audit_row(prepare, event, ledger):
    change = prepare(ledger)[event]
    before = snapshot(ledger)
    ledger.write(change)
    after = snapshot(ledger)
    assert without_audit(after) != without_audit(before)
    new = [row["event"] for row in after["audit"] if row not in before["audit"]]
    assert event in new


@every_change
def test_what_is_rolled_back_leaves_neither_a_change_nor_an_audit_row(prepare, event, ledger):
    change = prepare(ledger)[event]
    before = snapshot(ledger)

    def change_and_fail(tx):
        change(tx)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.write(change_and_fail)
    assert snapshot(ledger) == before


@every_change
def test_when_the_audit_row_cannot_be_written_nothing_is_changed(prepare, event, ledger):
    change = prepare(ledger)[event]
    before = snapshot(ledger)
    sqlite = "CREATE TRIGGER full_now BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full_now'); END"
    postgresql = "ALTER TABLE audit ADD CONSTRAINT full_now CHECK (n < 0) NOT VALID"

    def change_without_an_audit_log(tx):
        tx.execute(sa.text(sqlite if ledger.is_sqlite else postgresql))  # goes with the transaction
        change(tx)

    with pytest.raises(sa.exc.IntegrityError, match="full_now"):
        ledger.write(change_without_an_audit_log)
    assert snapshot(ledger) == before


@pytest.mark.parametrize("state", ["", "lost", "Queued"])
@pytest.mark.parametrize("table", ["study", "work", "delivery", "procedure_step"])
def test_the_database_takes_no_state_that_is_not_in_the_table(table, state, ledger):
    held = claimed(ledger, Tickets())
    ledger.write(lambda tx: outbox.owe(tx, held.work, [make_object("SEG")], ["pacs"], Tickets()))
    said = Statement(request_id="r1", sop_instance_uid="1.9.1", association_id="a1", calling_ae="CT1", study_instance_uids=("1.2.3",))
    ledger.write(lambda tx: steps.create(tx, said))
    before = snapshot(ledger)
    with pytest.raises(sa.exc.IntegrityError):
        execute(ledger, f"UPDATE {table} SET state = :state", state=state)
    assert snapshot(ledger) == before


@pytest.mark.parametrize(
    "values",
    [{"kind": "other"}, {"destination": "pacs"}, {"kind": "deliver"}],
    ids=["neither", "a job to somewhere", "a parcel to nowhere"],
)
def test_the_database_takes_no_work_that_is_neither_a_job_nor_a_parcel(values, ledger):
    ready(ledger, Tickets())
    with pytest.raises(sa.exc.IntegrityError), ledger.writing() as tx:
        tx.execute(schema.work.update().values(**values))


def test_the_database_holds_each_instance_and_each_revision_once(ledger):
    accept(ledger, make_instance())
    for name in ("instance", "study"):
        (found,) = rows(ledger, name)
        with pytest.raises(sa.exc.IntegrityError), ledger.writing() as tx:
            tx.execute(schema.metadata.tables[name].insert().values(**found))
    assert datetime.now(UTC) > found["opened_at"]
