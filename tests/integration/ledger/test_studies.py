"""A study is open while instances come, complete when the evidence says so, processed when every job has ended."""

import json
from dataclasses import asdict, replace

import pytest

from node.core.errors import StateError
from node.core.study import Missing
from node.ledger import jobs, studies
from tests.integration.ledger.made import (
    EVIDENCE,
    JOB,
    STUDY_UID,
    Tickets,
    accept,
    claim,
    complete,
    enqueue,
    events,
    execute,
    make_instance,
    only_study,
    row,
    rows,
    snapshot,
)


def age(ledger, study_uid, seconds):
    """Let the last activity of a study be longer ago."""
    ago = f"datetime(last_activity_at, '-{seconds} seconds')" if ledger.is_sqlite else f"last_activity_at - interval '{seconds} seconds'"
    execute(ledger, f"UPDATE study SET last_activity_at = {ago} WHERE study_instance_uid = :uid", uid=study_uid)


def finish(ledger, tickets, job=JOB):
    held = claim(ledger, job.id, 1, "worker/1")
    return ledger.write(lambda tx: jobs.settle(tx, held.work, held.token, None, {}))


def test_the_first_instance_opens_it_and_the_others_keep_it_open(ledger):
    for number in (1, 2, 3):
        accept(ledger, make_instance(number))
    found = row(ledger, "study")
    assert (found["state"], found["revision"], found["instances"]) == ("open", 1, 3)
    assert found["last_activity_at"] >= found["opened_at"]
    assert events(ledger, "study.") == ["study.opened"]


def test_it_is_complete_with_the_evidence(ledger):
    accept(ledger, make_instance())
    at = complete(ledger)
    found = row(ledger, "study")
    assert found["state"] == "complete"
    assert found["evidence"] == json.loads(json.dumps(asdict(EVIDENCE)))
    assert abs((found["completed_at"] - at).total_seconds()) < 5
    assert events(ledger, "study.") == ["study.opened", "study.completed"]


def test_it_is_completed_once(ledger):
    accept(ledger, make_instance())
    study = only_study(ledger)
    assert complete(ledger, study) is not None
    assert complete(ledger, study) is None, "the answer to the first COMMIT was lost"
    assert events(ledger, "study.completed") == ["study.completed"]


def test_it_is_not_completed_when_something_came_meanwhile(ledger):
    accept(ledger, make_instance(1))
    study = only_study(ledger)
    accept(ledger, make_instance(2))
    before = snapshot(ledger)
    assert complete(ledger, study) is None
    assert snapshot(ledger) == before


def test_it_is_not_completed_when_what_came_has_the_same_time(ledger):
    accept(ledger, make_instance(1))
    study = only_study(ledger)
    accept(ledger, make_instance(2))
    with ledger.reading() as tx:
        (again,) = studies.quiet(tx, -1)
    assert complete(ledger, replace(study, last_activity_at=again.last_activity_at)) is None


def test_it_is_not_completed_when_an_association_held_it_open_meanwhile(ledger):
    accept(ledger, make_instance())
    age(ledger, STUDY_UID, 60)
    study = only_study(ledger)
    ledger.write(lambda tx: studies.hold_open(tx, {STUDY_UID}))
    assert complete(ledger, study) is None


def test_only_an_open_study_can_be_completed(ledger):
    accept(ledger, make_instance())
    study = only_study(ledger)
    complete(ledger, study)
    with pytest.raises(StateError):
        complete(ledger, replace(study, state="complete"))


def test_a_late_instance_makes_a_new_revision_and_leaves_the_old_as_it_was(ledger):
    accept(ledger, make_instance(1))
    complete(ledger)
    old = row(ledger, "study", revision=1)
    accept(ledger, make_instance(2))
    accept(ledger, make_instance(3))
    assert row(ledger, "study", revision=1) == old
    new = row(ledger, "study", revision=2)
    assert (new["state"], new["instances"]) == ("open", 2)
    assert {found["sop_instance_uid"]: found["revision"] for found in rows(ledger, "instance")} == {
        "1.2.3.1.1": 1,
        "1.2.3.1.2": 2,
        "1.2.3.1.3": 2,
    }
    assert events(ledger, "study.") == ["study.opened", "study.completed", "study.reopened"]


def test_a_late_duplicate_makes_no_revision(ledger):
    accept(ledger, make_instance())
    complete(ledger)
    accept(ledger, make_instance())
    assert len(rows(ledger, "study")) == 1


def test_it_is_quiet_when_nothing_came_for_long_enough(ledger):
    for study in ("1", "2", "3"):
        accept(ledger, make_instance(study=study, series=f"{study}.1"))
    age(ledger, "1", 60)
    age(ledger, "2", 90)
    with ledger.reading() as tx:
        assert [study.study_instance_uid for study in studies.quiet(tx, 30)] == ["2", "1"]
        assert [study.study_instance_uid for study in studies.quiet(tx, 75)] == ["2"]
        assert studies.quiet(tx, 1000) == []
        assert [study.study_instance_uid for study in studies.quiet(tx, 30, most=1)] == ["2"]


def test_holding_it_open_renews_its_activity_and_no_other(ledger):
    for study in ("1", "2"):
        accept(ledger, make_instance(study=study, series=f"{study}.1"))
        age(ledger, study, 60)
    ledger.write(lambda tx: studies.hold_open(tx, {"1", "unknown"}))
    with ledger.reading() as tx:
        assert [study.study_instance_uid for study in studies.quiet(tx, 30)] == ["2"]
    before = snapshot(ledger)
    ledger.write(lambda tx: studies.hold_open(tx, set()))
    assert snapshot(ledger) == before


def test_a_complete_study_is_neither_quiet_nor_held_open(ledger):
    accept(ledger, make_instance())
    complete(ledger)
    before = snapshot(ledger)
    ledger.write(lambda tx: studies.hold_open(tx, {STUDY_UID}))
    assert snapshot(ledger) == before
    with ledger.reading() as tx:
        assert studies.quiet(tx, -1) == []


def test_the_longest_pause_is_kept_and_a_late_instance_counts_with_its_own(ledger):
    accept(ledger, make_instance(1))
    assert (row(ledger, "study")["longest_pause_s"], row(ledger, "study")["calling_ae"]) == (0, "CT1")
    for number, seconds in ((2, 40), (3, 7)):
        age(ledger, STUDY_UID, seconds)
        accept(ledger, make_instance(number))
    assert 40 <= row(ledger, "study")["longest_pause_s"] < 47
    complete(ledger)
    age(ledger, STUDY_UID, 300)
    accept(ledger, make_instance(4))
    assert 300 <= row(ledger, "study", revision=2)["longest_pause_s"] < 330
    assert 40 <= row(ledger, "study", revision=1)["longest_pause_s"] < 47


def test_the_pauses_of_a_sender_are_those_of_its_last_complete_studies(ledger):
    for number in range(4):
        uid = f"1.{number}"
        accept(ledger, make_instance(1, study=uid, series=f"{uid}.1"))
        age(ledger, uid, 10 * number)
        accept(ledger, make_instance(2, study=uid, series=f"{uid}.1"))
        if number < 3:
            complete(ledger)
    with ledger.reading() as tx:
        assert [round(pause_s, -1) for pause_s in studies.longest_pauses(tx, "CT1", most=50)] == [20, 10, 0]
        assert len(studies.longest_pauses(tx, "CT1", most=2)) == 2
        assert studies.longest_pauses(tx, "MR1", most=50) == []


def test_what_a_study_waits_for_is_written_down_once_for_each_change(ledger):
    accept(ledger, make_instance())
    study = only_study(ledger)
    gap, step = Missing(kind="gap", sentence="A slice is missing."), Missing(kind="step", sentence="It is in progress.")
    said = [
        ledger.write(lambda tx, reasons=reasons: studies.record_waiting(tx, study, reasons))
        for reasons in ([gap], [gap], [gap, step], [gap])
    ]
    assert said == [True, False, True, True]
    found = [audit for audit in rows(ledger, "audit") if audit["event"] == "study.awaited"]
    assert found[0]["detail"] == {"reasons": [{"kind": "gap", "sentence": "A slice is missing."}]}
    assert (len(found), found[0]["revision"], found[0]["study_instance_uid"]) == (3, 1, STUDY_UID)


def test_why_a_pipeline_takes_nothing_is_written_down(ledger):
    accept(ledger, make_instance())
    study = only_study(ledger)
    ledger.write(lambda tx: studies.not_applicable(tx, study, "ct_lungs", "NO_USABLE_SERIES", "No CT.", {"1.2.3.1": "modality MR"}))
    (found,) = [audit for audit in rows(ledger, "audit") if audit["event"] == "study.not_applicable"]
    assert found["code"] == "NO_USABLE_SERIES"
    assert found["detail"] == {"pipeline": "ct_lungs", "sentence": "No CT.", "series": {"1.2.3.1": "modality MR"}}


def test_it_is_processed_when_the_last_of_its_jobs_has_ended(ledger):
    tickets, other = Tickets(), replace(JOB, pipeline="ct_liver")
    accept(ledger, make_instance())
    complete(ledger)
    enqueue(ledger, tickets)
    enqueue(ledger, tickets, other)
    assert finish(ledger, tickets)
    assert row(ledger, "study")["state"] == "complete"
    assert finish(ledger, tickets, other)
    found = row(ledger, "study")
    assert found["state"] == "processed"
    assert found["processed_at"] is not None
    (said,) = [audit["detail"] for audit in rows(ledger, "audit") if audit["event"] == "study.processed"]
    assert said == {"jobs": {"done": 2}}


def test_it_is_processed_when_there_is_nothing_to_do(ledger):
    accept(ledger, make_instance())
    complete(ledger)
    for _ in range(2):
        ledger.write(lambda tx: studies.close_if_ended(tx, STUDY_UID, 1))
    assert row(ledger, "study")["state"] == "processed"
    assert events(ledger, "study.processed") == ["study.processed"]


def test_an_open_study_is_not_closed(ledger):
    accept(ledger, make_instance())
    ledger.write(lambda tx: studies.close_if_ended(tx, STUDY_UID, 1))
    assert row(ledger, "study")["state"] == "open"


def test_jobs_of_another_revision_do_not_keep_it_from_being_processed(ledger):
    tickets = Tickets()
    accept(ledger, make_instance(1))
    complete(ledger)
    enqueue(ledger, tickets)
    accept(ledger, make_instance(2))
    complete(ledger)
    ledger.write(lambda tx: studies.close_if_ended(tx, STUDY_UID, 2))
    assert {found["revision"]: found["state"] for found in rows(ledger, "study")} == {1: "complete", 2: "processed"}
