"""What may go, what never may, and what is left of it."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from node.core.errors import EncodeError
from node.core.result import Answer
from node.core.retention import Terms
from node.ledger import commitments, holdings, instances, jobs, outbox, purges, quarantine, spooled
from tests.integration.ledger.made import (
    JOB,
    STUDY_UID,
    Tickets,
    accept,
    claim,
    claimed,
    complete,
    events,
    execute,
    make_instance,
    make_object,
    row,
    rows,
)

NOW = Terms(source_s=0, result_s=0, unused_s=0, failed_s=0, quarantine_s=0, confirmed=("sent", "committed"), least_s=-5)
ACCEPTED = Answer(event="accept", dimse_status=0, sentence="Success")
OBJECTS = [make_object("SEG"), make_object("SR")]


@pytest.fixture
def tickets():
    return Tickets()


def ripe(ledger, terms=NOW, **more):
    with ledger.reading() as tx:
        return [(one.what, one.rule) for one in purges.ripe(tx, terms, **more)]


def purge_all(ledger, terms=NOW, **more):
    with ledger.reading() as tx:
        found = purges.ripe(tx, terms, **more)
    return [ledger.write(lambda tx, one=one: purges.purge(tx, one, terms, **more)) for one in found]


def finish(ledger, tickets, destinations=("pacs",)):
    """A job is done, and its objects are owed."""
    held = claimed(ledger, tickets)

    def settle(tx):
        outbox.owe(tx, held.work, OBJECTS, list(destinations), tickets)
        jobs.settle(tx, held.work, held.token, None, {})

    ledger.write(settle)


def deliver(ledger, destination="pacs", answer=ACCEPTED):
    parcel = claim(ledger, f"{JOB.id}:{destination}", 1, f"courier-{destination}/1")

    def bring(tx):
        outbox.start(tx, parcel.work)
        outbox.answer(tx, parcel.work, {stored.sop_instance_uid: answer for stored in OBJECTS})
        jobs.settle(tx, parcel.work, parcel.token, None, {})

    ledger.write(bring)


def test_nothing_goes_that_is_open_owed_or_worked_on(ledger, tickets):
    accept(ledger, make_instance())
    assert ripe(ledger) == [], "an open study"
    complete(ledger)
    ledger.write(lambda tx: jobs.enqueue(tx, JOB, 100, tickets))
    assert ripe(ledger) == [], "a job that waits"
    held = claim(ledger, JOB.id, 1, "worker/1")
    assert ripe(ledger) == [], "a job that runs"

    def settle(tx):
        outbox.owe(tx, held.work, OBJECTS, ["pacs", "backup"], tickets)
        jobs.settle(tx, held.work, held.token, None, {})

    ledger.write(settle)
    assert ripe(ledger) == [], "owed to two"
    deliver(ledger)
    assert ripe(ledger) == ripe(ledger, emergency=True) == [], "and delivered to one of them"
    deliver(ledger, "backup")
    assert ripe(ledger) == [("source", "source_days"), ("result", "result_days")]
    assert ripe(ledger, replace(NOW, confirmed=("committed",))) == [], "sent is not committed"
    assert ripe(ledger, replace(NOW, least_s=3600.0)) == [], "too young, whatever the rules say"
    assert ripe(ledger, Terms(least_s=-5)) == [], "no rule, no purge"
    assert ripe(ledger, replace(NOW, source_s=3600)) == [("result", "result_days")]


def test_a_refused_delivery_keeps_everything(ledger, tickets):
    finish(ledger, tickets)
    deliver(ledger, answer=Answer(event="refuse", dimse_status=0xA900, sentence="no"))
    assert ripe(ledger) == ripe(ledger, emergency=True) == []


def test_bytes_are_forgotten_with_their_audit_row_and_wait_as_waste(ledger, tickets):
    finish(ledger, tickets)
    deliver(ledger)
    with ledger.reading() as tx:
        before = spooled.known_keys(tx)
    assert purge_all(ledger) == [1, 2]
    assert events(ledger, "source.") == ["source.purged"]
    assert events(ledger, "result.") == ["result.purged"]
    assert purge_all(ledger) == []
    with ledger.reading() as tx:
        keys = purges.waste(tx)
        assert set(keys) == before == spooled.known_keys(tx), "files whose turn is still to come are no orphans"
        assert not any(spooled.is_known(tx, key) for key in keys)
    with ledger.beating() as tx:
        purges.gone(tx, keys)
    with ledger.reading() as tx:
        assert purges.waste(tx) == []
        assert spooled.known_keys(tx) == set()


def test_a_purge_that_was_planned_is_judged_again_when_it_happens(ledger, tickets):
    finish(ledger, tickets)
    deliver(ledger)
    with ledger.reading() as tx:
        planned = purges.ripe(tx, NOW)
    accept(ledger, make_instance(9), association="association-2")
    assert [ledger.write(lambda tx, one=one: purges.purge(tx, one, NOW)) for one in planned] == [0, 0]
    assert rows(ledger, "waste") == []


def test_what_was_purged_is_neither_offered_nor_answered_for(ledger, tickets):
    finish(ledger, tickets)
    deliver(ledger)
    uids = [make_instance().sop_instance_uid, OBJECTS[0].sop_instance_uid]
    with ledger.reading() as tx:
        assert len(holdings.instances(tx, {"STUDY": [STUDY_UID]})) == 3
        assert [one.is_purged for one in commitments.holdings(tx, uids).values()] == [False, False]
    purge_all(ledger)
    with ledger.reading() as tx:
        assert holdings.instances(tx, {"STUDY": [STUDY_UID]}) == []
        assert holdings.groups(tx, "STUDY", {}, [STUDY_UID]) == []
        assert [one.is_purged for one in commitments.holdings(tx, uids).values()] == [True, True]
        assert purges.is_purged(tx, STUDY_UID)


def test_results_that_outlive_their_source_still_have_their_patient(ledger, tickets):
    finish(ledger, tickets)
    deliver(ledger)
    purge_all(ledger, replace(NOW, result_s=None))
    with ledger.reading() as tx:
        assert {group.patient_id for group in holdings.groups(tx, "STUDY", {}, [STUDY_UID])} == {"P1"}


def test_a_study_of_which_nothing_is_owed_has_its_own_rule(ledger):
    accept(ledger, make_instance())
    complete(ledger)
    execute(ledger, "UPDATE study SET state = 'processed', processed_at = last_activity_at")
    assert ripe(ledger) == [("source", "unused_days")]
    assert ripe(ledger, replace(NOW, unused_s=None)) == ripe(ledger, emergency=True) == []


def test_a_study_whose_job_failed_has_its_own_rule(ledger, tickets):
    held = claimed(ledger, tickets)
    ledger.write(lambda tx: jobs.settle(tx, held.work, held.token, EncodeError("wrong"), {}))
    assert ripe(ledger) == [("source", "failed_days")]
    assert ripe(ledger, replace(NOW, failed_s=None)) == []
    purge_all(ledger)
    assert events(ledger, "source.") == ["source.purged"]


def test_quarantine_goes_by_its_own_rule_only(ledger):
    accept(ledger, make_instance(1))
    accept(ledger, make_instance(2, patient_id="P2"))
    complete(ledger)
    execute(ledger, "UPDATE study SET state = 'processed', processed_at = last_activity_at")
    assert row(ledger, "instance", sop_instance_uid="1.2.3.1.2")["quarantined"] == quarantine.MIXED
    assert ripe(ledger) == [("source", "unused_days"), ("quarantine", "quarantine_days")]
    purge_all(ledger, replace(NOW, quarantine_s=None))
    assert row(ledger, "instance", sop_instance_uid="1.2.3.1.2")["purged_at"] is None
    purge_all(ledger)
    assert row(ledger, "instance", sop_instance_uid="1.2.3.1.2")["purged_at"] is not None


def test_an_emergency_takes_what_was_delivered_longest_ago_first(ledger, tickets):
    finish(ledger, tickets)
    deliver(ledger)
    kept_for_ever = Terms(confirmed=("sent",), least_s=-5)
    assert ripe(ledger, kept_for_ever) == []
    assert ripe(ledger, kept_for_ever, emergency=True) == [("source", "emergency"), ("result", "emergency")]
    assert purge_all(ledger, kept_for_ever, emergency=True) == [1, 2]


def test_what_comes_again_is_held_again_under_another_key(ledger, tickets):
    finish(ledger, tickets)
    deliver(ledger)
    purge_all(ledger)
    first = make_instance()
    accept(ledger, first, association="association-2")
    assert row(ledger, "instance")["purged_at"] is not None, (
        "the same key: no bytes came with it, it was judged a duplicate before the purge"
    )
    again = replace(first, key="instances/1.2.3/again.dcm")
    for _ in range(2):
        accept(ledger, again, association="association-3")
    assert row(ledger, "instance")["purged_at"] is None
    assert row(ledger, "instance")["key"] == again.key
    assert events(ledger, "instance.") == ["instance.received", "instance.duplicate", "instance.restored"]
    with ledger.reading() as tx:
        assert spooled.is_known(tx, again.key)
        assert not spooled.is_known(tx, first.key)
        assert instances.held(tx, first.sop_instance_uid) == again
        assert tx.execute(sa.text("SELECT count(*) FROM waste WHERE key = :key"), {"key": again.key}).scalar_one() == 0
