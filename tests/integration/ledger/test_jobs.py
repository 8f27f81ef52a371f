"""Work is entered once, settled once by whoever holds it, and comes back only by the rules."""

from dataclasses import replace

import pytest

from node.core.errors import BundleMissing, GeometryError, PeerUnavailable, StateError, TimedOut
from node.ledger import jobs, leases, views
from tests.integration.ledger.made import (
    JOB,
    Tickets,
    accept,
    claim,
    claimed,
    complete,
    enqueue,
    events,
    make_instance,
    ready,
    row,
    rows,
    snapshot,
)


def settle(ledger, held, error=None, summary=None):
    return ledger.write(lambda tx: jobs.settle(tx, held.work, held.token, error, summary or {}))


def try_again(ledger, held, tickets, delay_s=5.0, error=None):
    return ledger.write(
        lambda tx: jobs.try_again(tx, held.work, held.token, error or TimedOut("Too late.", reason="limit"), delay_s, tickets)
    )


def replay(ledger, tickets, work_id=JOB.id):
    return ledger.write(lambda tx: jobs.replay(tx, work_id, "admin", tickets))


def settled_by(ledger, held):
    with ledger.reading() as tx:
        return jobs.settled_by(tx, held.work, held.token)


def still_ours(ledger, held):
    with ledger.reading() as tx:
        return jobs.still_ours(tx, held.work, held.token)


def test_a_job_is_entered_once_however_often_it_is_asked_for(ledger):
    tickets = Tickets()
    assert enqueue(ledger, tickets) is True
    before = snapshot(ledger)
    assert enqueue(ledger, tickets) is False
    assert enqueue(ledger, tickets, replace(JOB, input_sha256="f" * 64)) is False
    assert snapshot(ledger) == before
    assert [(ticket.work_id, ticket.dispatch, ticket.priority, ticket.delay_s) for ticket in tickets] == [(JOB.id, 1, 100, 0.0)]
    assert events(ledger) == ["job.queued"]


def test_a_job_is_read_as_it_was_written(ledger):
    enqueue(ledger, Tickets())
    with ledger.reading() as tx:
        work = jobs.find(tx, JOB.id)
        assert jobs.find(tx, "none") is None
    assert work.job == JOB
    assert work.job.id == JOB.id
    assert (work.kind, work.destination, work.attempt, work.dispatch, work.crashes) == ("infer", None, 1, 1, 0)


def test_the_stacks_of_a_job_are_kept_and_told(ledger):
    job = replace(JOB, stacks=("EchoTime=12", ""))
    enqueue(ledger, Tickets(), job)
    enqueue(ledger, Tickets())
    with ledger.reading() as tx:
        kept, single = jobs.find(tx, job.id), jobs.find(tx, JOB.id)
        told = [found.detail for found in views.since(tx, 0) if found.event == "job.queued"]
    assert (kept.job, single.job) == (job, JOB)
    assert (told[0]["stacks"], "stacks" in told[1]) == (["EchoTime=12", ""], False)


def test_work_that_is_done_says_so(ledger):
    held = claimed(ledger, Tickets())
    assert settle(ledger, held, summary={"voxels": 7}) is True
    found = row(ledger, "work")
    assert (found["state"], found["code"], found["reason"], found["summary"]) == ("done", None, None, {"voxels": 7})
    assert found["lease_until_at"] is None
    assert found["finished_at"] >= found["started_at"]
    assert row(ledger, "study")["state"] == "processed"


@pytest.mark.parametrize(
    ("error", "state", "event"),
    [
        (GeometryError("A gap.", reason="gap"), "refused", "job.refused"),
        (BundleMissing("No bundle.", reason="folder"), "failed", "job.failed"),
        (TimedOut("Too late.", reason="limit"), "failed", "job.failed"),
    ],
)
def test_work_that_is_not_done_says_why(error, state, event, ledger):
    held = claimed(ledger, Tickets())
    assert settle(ledger, held, error)
    found = row(ledger, "work")
    assert (found["state"], found["code"], found["reason"]) == (state, error.full_code, error.sentence)
    (said,) = [audit for audit in rows(ledger, "audit") if audit["event"] == event]
    assert said["code"] == error.full_code
    assert said["detail"] == {"attempt": 1, "sentence": error.sentence}
    assert row(ledger, "study")["state"] == "processed"


def test_it_is_settled_once_also_when_the_answer_to_the_commit_is_lost(ledger):
    held = claimed(ledger, Tickets())
    assert settle(ledger, held)
    before = snapshot(ledger)
    assert settled_by(ledger, held), "so the loop says that it was ours"
    assert settle(ledger, held) is False
    assert settle(ledger, held, GeometryError("A gap.")) is False
    assert snapshot(ledger) == before


def test_before_it_is_settled_it_is_ours_and_not_settled(ledger):
    held = claimed(ledger, Tickets())
    assert still_ours(ledger, held) == "running"
    assert not settled_by(ledger, held)
    stranger = replace(held, token="worker/9")
    assert still_ours(ledger, stranger) is None
    assert not settled_by(ledger, stranger)


def test_nobody_else_can_settle_it_or_put_it_back(ledger):
    tickets = Tickets()
    held = replace(claimed(ledger, tickets), token="worker/9")
    before = snapshot(ledger)
    assert settle(ledger, held) is False
    assert try_again(ledger, held, tickets) is False
    assert snapshot(ledger) == before
    assert len(tickets) == 1


def test_it_is_tried_again_later_with_the_reason_why(ledger):
    tickets = Tickets()
    held = claimed(ledger, tickets)
    assert try_again(ledger, held, tickets, 7.5) is True
    found = row(ledger, "work")
    assert (found["state"], found["attempt"], found["dispatch"], found["crashes"]) == ("queued", 2, 2, 0)
    assert (found["code"], found["reason"], found["lease_until_at"]) == ("TIMED_OUT.limit", "Too late.", None)
    assert (tickets[-1].workflow_id, tickets[-1].delay_s) == (f"{JOB.id}:2", 7.5)
    assert row(ledger, "study")["state"] == "complete"


def test_it_is_put_back_once_also_when_the_answer_to_the_commit_is_lost(ledger):
    tickets = Tickets()
    held = claimed(ledger, tickets)
    assert try_again(ledger, held, tickets)
    before = snapshot(ledger)
    assert settled_by(ledger, held)
    assert try_again(ledger, held, tickets) is False
    assert snapshot(ledger) == before
    assert len(tickets) == 2


def test_after_it_was_put_back_another_attempt_is_another_holder(ledger):
    tickets = Tickets()
    first = claimed(ledger, tickets)
    try_again(ledger, first, tickets)
    assert claim(ledger, JOB.id, 1, "worker/1") is None, "the first hand-over is out of date"
    second = claim(ledger, JOB.id, 2, "worker/2")
    assert (second.work.attempt, second.work.dispatch, second.work.crashes) == (2, 2, 1)
    assert still_ours(ledger, first) is None
    assert not settled_by(ledger, first)
    assert settle(ledger, second)
    assert settle(ledger, first) is False


def test_refused_and_failed_work_can_be_replayed_with_all_its_attempts(ledger):
    tickets = Tickets()
    held = claimed(ledger, tickets)
    try_again(ledger, held, tickets)
    settle(ledger, claim(ledger, JOB.id, 2, "worker/2"), TimedOut("Too late."))
    assert row(ledger, "study")["state"] == "processed"
    replay(ledger, tickets)
    found = row(ledger, "work")
    assert (found["state"], found["attempt"], found["dispatch"], found["crashes"]) == ("queued", 1, 3, 0)
    assert (found["code"], found["reason"], found["finished_at"]) == (None, None, None)
    assert row(ledger, "study")["state"] == "complete"
    assert row(ledger, "study")["processed_at"] is None
    assert tickets[-1].dispatch == 3
    (said,) = [audit for audit in rows(ledger, "audit") if audit["event"] == "job.replayed"]
    assert said["detail"] == {"by": "admin", "was": "failed", "code": "TIMED_OUT"}
    settle(ledger, claim(ledger, JOB.id, 3, "worker/3"))
    assert row(ledger, "study")["state"] == "processed"


@pytest.mark.parametrize("state", ["queued", "running", "done"])
def test_nothing_else_can_be_replayed(state, ledger):
    tickets = Tickets()
    ready(ledger, tickets)
    if state != "queued":
        held = claim(ledger, JOB.id, 1, "worker/1")
        if state == "done":
            settle(ledger, held)
    before = snapshot(ledger)
    with pytest.raises(StateError, match=f"'replay' cannot happen to something that is '{state}'"):
        replay(ledger, tickets)
    with pytest.raises(StateError, match="There is no work none; radnode status"):
        replay(ledger, tickets, "none")
    assert snapshot(ledger) == before
    assert len(tickets) == 1


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"revision": 2}, True),
        ({"revision": 2, "series_instance_uids": ("1.2.3.1",)}, True),  # the digest says that the input is the same
        ({}, False),
        ({"revision": 2, "input_sha256": "e" * 64}, False),
        ({"revision": 2, "pipeline": "ct_liver"}, False),
        ({"revision": 2, "model_digest": "e" * 64}, False),
        ({"revision": 2, "study_instance_uid": "1.2.4"}, False),
    ],
)
def test_a_new_revision_with_the_same_input_is_known_to_be_done(change, same, ledger):
    held = claimed(ledger, Tickets())
    settle(ledger, held)
    with ledger.reading() as tx:
        assert jobs.finished_on(tx, replace(JOB, **change)) == (JOB.id if same else None)


@pytest.mark.parametrize(("error", "known"), [(None, True), (GeometryError("A gap."), True), (BundleMissing("No bundle."), False)])
def test_what_failed_is_done_again_at_a_new_revision_and_what_was_refused_is_not(error, known, ledger):
    held = claimed(ledger, Tickets())
    later = replace(JOB, revision=2)
    with ledger.reading() as tx:
        assert jobs.finished_on(tx, later) == JOB.id, "it is on its way"
    settle(ledger, held, error)
    with ledger.reading() as tx:
        assert (jobs.finished_on(tx, later) == JOB.id) is known


def test_that_a_new_revision_changed_nothing_is_written_down(ledger):
    ledger.write(lambda tx: jobs.record_unchanged(tx, replace(JOB, revision=2), JOB.id))
    (found,) = rows(ledger, "audit")
    assert (found["event"], found["revision"], found["detail"]) == ("job.unchanged", 2, {"pipeline": "ct_lungs", "same_input_as": JOB.id})


def test_a_late_result_is_written_down_as_fenced(ledger):
    held = claimed(ledger, Tickets())
    ledger.write(lambda tx: jobs.record_fenced(tx, held.work))
    assert events(ledger)[-1] == "job.fenced"


def test_open_work_is_what_is_still_to_be_done(ledger):
    accept(ledger, make_instance())
    complete(ledger)
    tickets = Tickets()
    several = [replace(JOB, pipeline=f"p{number}") for number in range(3)]
    for job in several:
        enqueue(ledger, tickets, job)
    running = claim(ledger, several[1].id, 1, "worker/1")
    settle(ledger, claim(ledger, several[2].id, 1, "worker/1"))
    with ledger.reading() as tx:
        found = {work.job.pipeline: (state, until, token) for work, state, until, token in jobs.open_work(tx)}
        now = jobs.clock(tx)
    assert found["p0"] == ("queued", None, None)
    state, until, token = found["p1"]
    assert (state, token) == ("running", running.token)
    assert until > now
    assert found.keys() == {"p0", "p1"}


def test_claiming_again_because_the_answer_was_lost_finds_the_same_work(ledger):
    held = claimed(ledger, Tickets())
    before = snapshot(ledger)
    again = ledger.write(lambda tx: leases.claim(tx, JOB.id, 1, held.token, 60))
    assert again == held.work
    assert snapshot(ledger) == before


def test_an_error_of_a_peer_is_tried_again_under_its_own_code(ledger):
    tickets = Tickets()
    held = claimed(ledger, tickets)
    try_again(ledger, held, tickets, error=PeerUnavailable("Nobody answers."))
    assert row(ledger, "work")["code"] == "PEER_UNAVAILABLE"
