"""What people ask the ledger is answered from what was written, and asking changes nothing."""

import pytest

from node.core.errors import BundleMissing, GeometryError, TimedOut
from node.ledger import instances, jobs, outbox, views
from tests.integration.ledger.made import (
    JOB,
    PEER,
    Tickets,
    accept,
    accepted,
    claim,
    claimed,
    complete,
    enqueue,
    make_instance,
    make_object,
    ready,
    snapshot,
)


@pytest.fixture
def walked(ledger):
    """One study from the socket to the outbox, and another beside it."""
    for name, study in (("association-1", "1.2.3"), ("association-2", "7.7")):
        with ledger.writing() as tx:
            instances.record_association(tx, "accepted", name, PEER)
            instances.accept_all(tx, [accepted(make_instance(study=study, series=f"{study}.1"), name)])
            instances.record_association(tx, "released", name, PEER)
    with ledger.reading() as tx:
        study = next(study for study in views.all_rows(tx, "study") if study["study_instance_uid"] == "1.2.3")
    assert study["state"] == "open"
    tickets = Tickets()
    enqueue(ledger, tickets)
    held = claim(ledger, JOB.id, 1, "worker/1")
    with ledger.writing() as tx:
        outbox.owe(tx, held.work, [make_object("SEG")], ["pacs"], tickets)
        jobs.settle(tx, held.work, held.token, None, {})
    return ledger


def history(ledger, uid):
    with ledger.reading() as tx:
        return views.history(tx, uid)


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.3.1", "1.2.3.1.1", "association-1"])
def test_the_history_begins_with_the_association_that_brought_it(uid, walked):
    found = history(walked, uid)
    assert [row.event for row in found][:2] == ["association.accepted", "instance.received"]
    assert "association.released" in [row.event for row in found]
    assert [row.n for row in found] == sorted(row.n for row in found)
    assert not any(row.association_id == "association-2" or row.study_instance_uid == "7.7" for row in found)


def test_the_history_of_a_study_goes_to_the_outbox(walked):
    assert [row.event for row in history(walked, "1.2.3")] == [
        "association.accepted",
        "instance.received",
        "study.opened",
        "association.released",
        "job.queued",
        "job.claimed",
        "delivery.owed",
        "job.finished",
    ]


def test_the_history_of_a_job_is_what_was_done_to_it(walked):
    assert [row.event for row in history(walked, JOB.id)] == ["job.queued", "job.claimed", "job.finished"]


@pytest.mark.parametrize("uid", ["", "9.9.9", "' OR 1=1 --", "%"])
def test_what_is_not_known_has_no_history(uid, walked):
    assert history(walked, uid) == []


def test_following_the_log_begins_after_what_was_seen(walked):
    with walked.reading() as tx:
        everything = views.since(tx, 0)
        assert [row.n for row in everything] == list(range(1, len(everything) + 1))
        assert views.since(tx, 3) == everything[3:]
        assert views.since(tx, everything[-1].n) == []


def test_counts_are_by_kind_and_state(walked):
    with walked.reading() as tx:
        assert views.counts(tx) == {
            "instance": {"held": 2},
            "study": {"open": 2},
            "delivery": {"waiting": 1},
            "commitment": {},
            "job": {"done": 1},
            "parcel": {"queued": 1},
        }


def test_an_empty_ledger_counts_nothing_and_is_at_rest(ledger):
    with ledger.reading() as tx:
        assert views.counts(tx) == {"instance": {"held": 0}, "study": {}, "delivery": {}, "commitment": {}, "job": {}, "parcel": {}}
        assert views.is_at_rest(tx)
        assert views.troubles(tx) == []


def test_it_is_at_rest_only_when_nothing_is_to_be_done(ledger):
    def at_rest():
        with ledger.reading() as tx:
            return views.is_at_rest(tx)

    tickets = Tickets()
    accept(ledger, make_instance())
    assert not at_rest(), "a study is open"
    complete(ledger)
    assert not at_rest(), "a study is to be processed"
    enqueue(ledger, tickets)
    held = claim(ledger, JOB.id, 1, "worker/1")
    with ledger.writing() as tx:
        outbox.owe(tx, held.work, [make_object("SEG")], ["pacs"], tickets)
        jobs.settle(tx, held.work, held.token, None, {})
    assert not at_rest(), "a parcel is to be brought"
    parcel = claim(ledger, f"{JOB.id}:pacs", 1, "courier/1")
    ledger.write(lambda tx: jobs.settle(tx, parcel.work, parcel.token, None, {}))
    assert at_rest()


@pytest.mark.parametrize(
    ("error", "state", "trouble"),
    [(None, "done", False), (GeometryError("A gap.", reason="gap"), "refused", True), (BundleMissing("None."), "failed", True)],
)
def test_troubles_are_what_ended_without_a_result(error, state, trouble, ledger):
    held = claimed(ledger, Tickets())
    ledger.write(lambda tx: jobs.settle(tx, held.work, held.token, error, {}))
    with ledger.reading() as tx:
        found = [(it.work_id, it.kind, it.state, it.code, it.reason) for it in views.troubles(tx)]
    assert found == ([(JOB.id, "infer", state, error.full_code, error.sentence)] if trouble else [])


def test_troubles_are_also_what_waits_after_a_failure(ledger):
    tickets = Tickets()
    held = claimed(ledger, tickets)
    with ledger.reading() as tx:
        assert views.troubles(tx) == []
    ledger.write(lambda tx: jobs.try_again(tx, held.work, held.token, TimedOut("Late."), 5.0, tickets))
    with ledger.reading() as tx:
        assert [(it.state, it.code) for it in views.troubles(tx)] == [("queued", "TIMED_OUT")]
        assert views.troubles(tx, most=0) == []


def test_asking_changes_nothing(ledger):
    ready(ledger, Tickets())
    before = snapshot(ledger)
    with ledger.reading() as tx:
        for ask in (views.counts, views.troubles, views.is_at_rest, jobs.open_work):
            ask(tx)
        views.history(tx, JOB.id)
    assert snapshot(ledger) == before
