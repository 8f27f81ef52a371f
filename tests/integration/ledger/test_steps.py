"""Procedure steps in the ledger: what is entered, what is refused, what they say of a study, and what stops with them."""

from dataclasses import replace

import pytest

from node.core.errors import GeometryError, StepRefused
from node.core.result import Answer
from node.core.step import Statement, StepSummary
from node.ledger import jobs, leases, outbox, steps, views
from tests.integration.ledger.made import (
    JOB,
    STUDY_UID,
    Tickets,
    accept,
    claim,
    claimed,
    complete,
    enqueue,
    events,
    make_instance,
    make_object,
    ready,
    row,
    rows,
    snapshot,
)

OTHER = "1.2.4"
FIRST, SECOND = JOB.series_instance_uids


def begin(ledger, uid="1.9.1", *studies, request="r1", **changes):
    statement = Statement(
        request_id=request,
        sop_instance_uid=uid,
        association_id="a1",
        calling_ae="CT1",
        state="IN PROGRESS",
        study_instance_uids=studies or (STUDY_UID,),
        station_ae="CTROOM1",
        modality="CT",
        started="20261120 101500",
    )
    ledger.write(lambda tx: steps.create(tx, replace(statement, **changes)))


def end(ledger, uid="1.9.1", state="COMPLETED", performed=None, request="r2", ended="20261120 103000", **changes):
    statement = Statement(
        request_id=request, sop_instance_uid=uid, association_id="a2", calling_ae="CT1", state=state, performed=performed, ended=ended
    )
    ledger.write(lambda tx: steps.set_(tx, replace(statement, **changes)))


def discontinue(ledger, uid="1.9.1", performed=None, request="r3", **changes):
    end(ledger, uid, "DISCONTINUED", performed, request, reason_code="110514 DCM", reason="Incorrect worklist entry selected", **changes)


def told(ledger, uid, state, performed, *studies):
    """A step from its beginning to its end."""
    begin(ledger, uid, *studies, request=f"b{uid}")
    if state != "IN PROGRESS":
        end(ledger, uid, state, performed, request=f"e{uid}")


def ask(ledger, question, *arguments):
    with ledger.reading() as tx:
        return question(tx, *arguments)


def test_a_step_is_entered_changed_and_ended(ledger):
    begin(ledger, "1.9.1", STUDY_UID, OTHER)
    (step,) = ask(ledger, steps.of_study, OTHER)
    assert (step.state, step.study_instance_uids, step.performed) == ("IN PROGRESS", (STUDY_UID, OTHER), {})
    assert step.finished_at is None
    end(ledger, performed={FIRST: ("1.1", "1.2")})
    (step,) = ask(ledger, steps.of_study, STUDY_UID)
    assert (step.state, step.performed, step.ended) == ("COMPLETED", {FIRST: ("1.1", "1.2")}, "20261120 103000")
    assert step.finished_at == row(ledger, "procedure_step", study_instance_uid=OTHER)["finished_at"]
    assert events(ledger) == ["step.created"] * 2 + ["step.completed"] * 2
    assert ask(ledger, steps.of_study, "1.2.5") == []


def test_a_request_whose_commit_was_in_doubt_is_done_once(ledger):
    for _ in range(2):
        begin(ledger)
    for _ in range(2):
        end(ledger, performed={FIRST: ()})
    assert events(ledger) == ["step.created", "step.completed"]


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (lambda ledger: begin(ledger, request="r9"), "duplicate"),
        (lambda ledger: end(ledger, "1.9.2", performed={FIRST: ()}), "unknown"),
        (end, "missing_value"),
        (lambda ledger: end(ledger, performed={}), "missing_value"),
        (lambda ledger: end(ledger, performed={FIRST: ()}, ended=None), "missing_value"),
        (lambda ledger: end(ledger, performed={FIRST: ()}, ended=""), "missing_value"),
        (lambda ledger: end(ledger, performed={FIRST: ()}, study_instance_uids=(OTHER,)), "invalid_value"),
    ],
)
def test_what_is_refused_changes_nothing(what, reason, ledger):
    begin(ledger)
    before = snapshot(ledger)
    with pytest.raises(StepRefused) as refused:
        what(ledger)
    assert refused.value.reason == reason
    assert snapshot(ledger) == before


@pytest.mark.parametrize("state", ["COMPLETED", "DISCONTINUED"])
@pytest.mark.parametrize("again", ["IN PROGRESS", "COMPLETED", "DISCONTINUED"])
def test_what_has_ended_is_final(state, again, ledger):
    begin(ledger)
    end(ledger, state=state, performed={FIRST: ()})
    before = snapshot(ledger)
    with pytest.raises(StepRefused) as refused:
        end(ledger, state=again, performed={SECOND: ()}, request="r9")
    assert refused.value.reason == "final"
    assert snapshot(ledger) == before


def test_a_refusal_is_written_down(ledger):
    ledger.write(lambda tx: steps.refuse(tx, "1.9.1", "a1", StepRefused("No.", reason="duplicate")))
    ledger.write(lambda tx: steps.refuse(tx, "", "a1", StepRefused("No.", reason="invalid_value")))
    first, second = rows(ledger, "audit")
    assert (first["event"], first["code"], first["sop_instance_uid"]) == ("step.refused", "STEP_REFUSED.duplicate", "1.9.1")
    assert (second["association_id"], second["sop_instance_uid"]) == ("a1", None)


def test_the_history_of_a_study_tells_of_its_steps(ledger):
    begin(ledger)
    discontinue(ledger)
    found = ask(ledger, views.history, STUDY_UID)
    assert [row.event for row in found] == ["step.created", "step.discontinued"]
    assert [row.event for row in ask(ledger, views.history, "1.9.1")] == ["step.created", "step.discontinued"]
    assert found[1].detail == {"series": 0, "instances": 0, "reason_code": "110514 DCM", "reason": "Incorrect worklist entry selected"}


def test_a_study_that_nobody_told_of_has_an_empty_summary(ledger):
    assert ask(ledger, steps.summary, STUDY_UID) == StepSummary()
    assert not StepSummary().all_completed
    assert not ask(ledger, steps.is_discontinued, STUDY_UID)
    assert ask(ledger, steps.missing, STUDY_UID) == frozenset()
    assert ask(ledger, steps.stopped, STUDY_UID) is None


def test_the_summary_tells_what_is_expected(ledger):
    told(ledger, "1.9.1", "COMPLETED", {FIRST: ("1.1", "1.2")})
    told(ledger, "1.9.2", "COMPLETED", {FIRST: ("1.2", "1.3"), SECOND: ()}, STUDY_UID, OTHER)
    found = ask(ledger, steps.summary, STUDY_UID)
    assert found.expected == {FIRST: {"1.1", "1.2", "1.3"}, SECOND: frozenset()}
    assert (found.completed, found.in_progress, found.discontinued, found.shared_with) == (2, 0, 0, {OTHER})
    assert found.all_completed
    told(ledger, "1.9.3", "IN PROGRESS", None)
    assert not ask(ledger, steps.summary, STUDY_UID).all_completed
    assert ask(ledger, steps.summary, OTHER).completed == 1


def test_what_is_missing_is_what_was_listed_and_is_not_held(ledger):
    accept(ledger, make_instance(1), make_instance(1, study=OTHER, series="1.2.4.1"))
    told(ledger, "1.9.1", "COMPLETED", {FIRST: (f"{FIRST}.1", f"{FIRST}.2"), "1.2.4.1": ("1.2.4.1.1",)})
    assert ask(ledger, steps.missing, STUDY_UID) == {f"{FIRST}.2", "1.2.4.1.1"}, "what another study holds does not count"
    told(ledger, "1.9.2", "COMPLETED", {SECOND: ()}, STUDY_UID, OTHER)
    assert ask(ledger, steps.missing, STUDY_UID) == {f"{FIRST}.2"}, "unless a step was for both"
    told(ledger, "1.9.3", "DISCONTINUED", {SECOND: (f"{SECOND}.1",)})
    assert ask(ledger, steps.missing, STUDY_UID) == {f"{FIRST}.2"}, "what was discontinued is not waited for"


STORIES = {
    "all discontinued": ([("DISCONTINUED", {})], True, "the procedure step"),
    "twice": ([("DISCONTINUED", {SECOND: ()}), ("DISCONTINUED", {})], True, "the procedure step"),
    "another goes on": ([("IN PROGRESS", None), ("DISCONTINUED", {})], False, None),
    "another was completed": ([("COMPLETED", {FIRST: ()}), ("DISCONTINUED", {})], False, None),
    "another made the same series": ([("COMPLETED", {FIRST: ()}), ("DISCONTINUED", {FIRST: ()})], False, None),
    "another made another series": ([("COMPLETED", {"1.5": ()}), ("DISCONTINUED", {FIRST: ()})], False, "the step that made this series"),
    "none discontinued": ([("COMPLETED", {FIRST: ()})], False, None),
}


@pytest.mark.parametrize(("story", "whole", "why"), STORIES.values(), ids=STORIES)
def test_what_is_stopped_with_its_step(story, whole, why, ledger):
    ready(ledger, Tickets())
    for number, (state, performed) in enumerate(story):
        told(ledger, f"1.9.{number}", state, performed)
    assert ask(ledger, steps.is_discontinued, STUDY_UID) is whole
    assert (ask(ledger, steps.stopped, STUDY_UID) is not None) is whole
    error = ask(ledger, steps.stopped, STUDY_UID, JOB.series_instance_uids)
    assert (error is not None) is (why is not None)
    found = row(ledger, "work", id=JOB.id)
    if why is None:
        assert found["state"] == "queued"
        return
    assert why in error.sentence
    assert (found["state"], found["code"]) == ("refused", "DISCONTINUED.by_modality")
    assert row(ledger, "study")["state"] == "processed"


def test_a_queued_job_ends_with_its_step_and_is_claimed_by_nobody(ledger):
    ready(ledger, Tickets())
    begin(ledger)
    discontinue(ledger)
    assert events(ledger)[-4:] == ["step.created", "step.discontinued", "job.refused", "study.processed"]
    refused = row(ledger, "audit", event="job.refused")
    assert "Incorrect worklist entry selected (110514 DCM)" in refused["detail"]["sentence"]
    assert claim(ledger, JOB.id, 1, "worker/1") is None


def test_a_running_job_is_taken_from_its_worker_which_is_fenced(ledger):
    held = claimed(ledger, Tickets())
    begin(ledger)
    discontinue(ledger)
    assert row(ledger, "work", id=JOB.id)["state"] == "refused"
    with ledger.beating() as tx:
        assert leases.renew(tx, {JOB.id: held.token}, 60) == {JOB.id}, "its heart hears that the lease is lost"
    for question in (jobs.still_ours, jobs.settled_by):
        assert not ask(ledger, question, held.work, held.token)
    assert not ledger.write(lambda tx: jobs.settle(tx, held.work, held.token, None, {}))
    assert not ledger.write(lambda tx: jobs.try_again(tx, held.work, held.token, GeometryError("Gap."), 0, Tickets()))
    with ledger.reading() as tx:
        assert jobs.open_work(tx) == []


def owed(ledger):
    """A job that is done, with two objects for one destination."""
    held = claimed(ledger, Tickets())

    def finish(tx):
        outbox.owe(tx, held.work, [make_object("SEG"), make_object("SR")], ["pacs"], Tickets())
        jobs.settle(tx, held.work, held.token, None, {})

    ledger.write(finish)
    return f"{JOB.id}:pacs"


def test_what_waits_to_be_sent_is_not_sent(ledger):
    parcel = owed(ledger)
    begin(ledger)
    discontinue(ledger)
    assert row(ledger, "work", id=JOB.id)["state"] == "done"
    assert row(ledger, "work", id=parcel)["state"] == "refused"
    assert {found["state"] for found in rows(ledger, "delivery")} == {"refused"}
    assert claim(ledger, parcel, 1, "courier/1") is None


def test_what_is_being_sent_is_finished_and_what_was_sent_is_counted(ledger):
    parcel = owed(ledger)
    work = claim(ledger, parcel, 1, "courier/1").work
    seg, _ = ledger.write(lambda tx: outbox.start(tx, work))
    said = {seg.object.sop_instance_uid: Answer(event="accept", dimse_status=0, sentence="Stored.")}
    ledger.write(lambda tx: outbox.answer(tx, work, said))
    begin(ledger)
    discontinue(ledger)
    assert row(ledger, "work", id=parcel)["state"] == "running"
    told_of = [found for found in rows(ledger, "audit") if found["event"] == "step.discontinued"]
    assert told_of[0]["detail"]["sent_before"] == 1


def test_an_operator_brings_it_back_and_it_stays(ledger):
    tickets = Tickets()
    ready(ledger, tickets)
    begin(ledger)
    discontinue(ledger)
    ledger.write(lambda tx: jobs.replay(tx, JOB.id, "admin", tickets))
    held = claim(ledger, JOB.id, 2, "worker/2")
    assert held is not None
    assert ledger.write(lambda tx: jobs.settle(tx, held.work, held.token, None, {}))


def test_a_parcel_is_brought_back_with_its_objects(ledger):
    parcel = owed(ledger)
    begin(ledger)
    discontinue(ledger)

    def replay(tx):
        outbox.replay(tx, jobs.replay(tx, parcel, "admin", Tickets()))

    ledger.write(replay)
    assert {found["state"] for found in rows(ledger, "delivery")} == {"waiting"}


def test_what_is_queued_after_its_step_was_discontinued_can_be_stopped_at_once(ledger):
    """What the assembler does: the job is there to be replayed, with the reason why it did not begin."""
    accept(ledger, make_instance())
    begin(ledger)
    discontinue(ledger)
    complete(ledger)
    enqueue(ledger, Tickets())
    assert ledger.write(lambda tx: steps.stop_work(tx, STUDY_UID, 2)) == []
    assert ledger.write(lambda tx: steps.stop_work(tx, STUDY_UID, 1)) == [JOB.id]
    assert ledger.write(lambda tx: steps.stop_work(tx, STUDY_UID, 1)) == []


def test_another_study_goes_on(ledger):
    ready(ledger, Tickets())
    begin(ledger, "1.9.1", OTHER)
    discontinue(ledger, performed={FIRST: ()})
    assert row(ledger, "work", id=JOB.id)["state"] == "queued"


def test_what_was_stopped_is_run_when_the_study_goes_on(ledger):
    """A job that was refused for its input is not run on the same input again; one that was stopped was never judged."""
    ready(ledger, Tickets())
    begin(ledger)
    discontinue(ledger)
    later = replace(JOB, revision=2)
    assert ask(ledger, jobs.finished_on, later) is None
    ledger.write(lambda tx: jobs.replay(tx, JOB.id, "admin", Tickets()))
    assert ask(ledger, jobs.finished_on, later) == JOB.id
    held = claim(ledger, JOB.id, 2, "worker/2")
    ledger.write(lambda tx: jobs.settle(tx, held.work, held.token, GeometryError("Gap."), {}))
    assert ask(ledger, jobs.finished_on, later) == JOB.id
