"""What operators order, and shadow mode: each leaves a true state and a line in the audit log."""

import pytest

from node.core.errors import StateError
from node.core.job import Priority
from node.ledger import jobs, leases, orders, outbox
from tests.integration.ledger.made import JOB, STUDY_UID, Tickets, claim, claimed, enqueue, events, make_object, ready, row, rows

WHO = "anna@ws1"


def cancel(ledger, target=JOB.id, why="wrong patient"):
    return ledger.write(lambda tx: orders.cancel(tx, target, WHO, why))


def finish_with(ledger, tickets, shadow=(), destinations=("pacs", "archive")):
    found = claimed(ledger, tickets)
    with ledger.writing() as tx:
        outbox.owe(tx, found.work, [make_object("SEG"), make_object("SR")], destinations, tickets, shadow)
        outbox.owe(tx, found.work, [make_object("SEG"), make_object("SR")], destinations, tickets, shadow)
        assert jobs.settle(tx, found.work, found.token, None, {})


@pytest.mark.parametrize("target", [JOB.id, STUDY_UID])
def test_a_job_that_waits_is_cancelled_and_can_be_brought_back(target, ledger):
    tickets = Tickets()
    ready(ledger, tickets)
    assert [work.id for work in cancel(ledger, target)] == [JOB.id]
    found = row(ledger, "work", id=JOB.id)
    assert (found["state"], found["code"], found["handed_at"]) == ("refused", "CANCELLED", None)
    assert "anna@ws1: wrong patient" in found["reason"]
    assert row(ledger, "study")["state"] == "processed"
    assert claim(ledger, JOB.id, 1, "w/1") is None
    with pytest.raises(StateError, match="Nothing of"):
        cancel(ledger, target)
    with ledger.reading() as tx:
        assert orders.ended_badly(tx, target) == [JOB.id]
    ledger.write(lambda tx: jobs.replay(tx, JOB.id, WHO, tickets))
    assert row(ledger, "work", id=JOB.id)["state"] == "queued"
    assert events(ledger, "job.") == ["job.queued", "job.cancelled", "job.replayed"]


def test_a_job_that_runs_loses_its_lease_with_the_cancellation_and_its_result_is_fenced(ledger):
    found = claimed(ledger, Tickets())
    cancel(ledger)
    with ledger.writing() as tx:
        assert leases.renew(tx, {JOB.id: found.token}, 60.0) == {JOB.id}
        assert not jobs.settle(tx, found.work, found.token, None, {})


def test_a_parcel_that_waits_is_cancelled_and_one_on_its_way_is_not(ledger):
    tickets = Tickets()
    finish_with(ledger, tickets)
    assert claim(ledger, f"{JOB.id}:pacs", 1, "c/1")
    with pytest.raises(StateError, match="being sent"):
        cancel(ledger, f"{JOB.id}:pacs")
    assert [work.id for work in cancel(ledger, STUDY_UID)] == [f"{JOB.id}:archive"]
    states = {(one["destination"], one["state"]) for one in rows(ledger, "delivery")}
    assert states == {("archive", "refused"), ("pacs", "waiting")}
    assert events(ledger, "parcel.cancelled") == ["parcel.cancelled"]


def test_another_priority_counts_the_time_that_was_waited_and_voids_the_old_ticket(ledger):
    tickets = Tickets()
    ready(ledger, tickets)
    before = row(ledger, "work", id=JOB.id)
    ledger.write(lambda tx: orders.prioritise(tx, STUDY_UID, Priority.STAT, WHO, tickets))
    after = row(ledger, "work", id=JOB.id)
    assert after["rank"] < before["rank"]
    assert (after["priority"], after["priority_reason"]) == (1, "operator anna@ws1")
    assert tickets[-1].work_id == JOB.id
    assert events(ledger, "job.prioritised") == ["job.prioritised"]
    with pytest.raises(StateError, match="Nothing of 9"):
        ledger.write(lambda tx: orders.prioritise(tx, "9", Priority.STAT, WHO, tickets))


def test_why_a_job_has_its_priority_and_who_sent_its_study_is_kept(ledger):
    ready(ledger, Tickets())
    other = JOB.__class__(**{**{name: getattr(JOB, name) for name in JOB.__dataclass_fields__}, "pipeline": "other"})
    ledger.write(lambda tx: jobs.enqueue(tx, other, Priority.STAT, Tickets(), why="rule 1: calling AE ER_CT"))
    found = row(ledger, "work", id=other.id)
    assert (found["source"], found["lane"], found["priority_reason"]) == ("CT1", "other|CT1", "rule 1: calling AE ER_CT")


def test_a_destination_in_shadow_is_owed_nothing_and_what_it_would_get_is_kept(ledger):
    tickets = Tickets()
    finish_with(ledger, tickets, shadow={"archive"})
    assert {(one["destination"], one["state"]) for one in rows(ledger, "delivery")} == {("archive", "shadow"), ("pacs", "waiting")}
    assert [one["destination"] for one in rows(ledger, "work") if one["kind"] == "deliver"] == ["pacs"]
    assert events(ledger, "delivery.") == ["delivery.owed"] * 2 + ["delivery.withheld"] * 2 or events(ledger, "delivery.withheld")
    assert len(events(ledger, "delivery.withheld")) == 2


def test_of_a_study_that_is_replayed_the_parcels_of_replayed_jobs_are_left_out(ledger):
    tickets = Tickets()
    finish_with(ledger, tickets)
    cancel(ledger, STUDY_UID)
    with ledger.reading() as tx:
        assert orders.ended_badly(tx, STUDY_UID) == [f"{JOB.id}:archive", f"{JOB.id}:pacs"]
    assert enqueue(ledger, tickets, JOB) is False
