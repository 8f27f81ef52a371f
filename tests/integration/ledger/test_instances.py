"""An instance is accepted once, under its identity; the same again is counted, another under its name refused."""

from dataclasses import replace

import pytest

from node.core.study import Source
from node.ledger import instances, spooled, studies
from tests.integration.ledger.made import (
    ARRIVAL,
    EVIDENCE,
    PEER,
    STUDY_UID,
    accept,
    accepted,
    complete,
    events,
    make_instance,
    row,
    rows,
    snapshot,
)


def test_what_was_accepted_is_held_with_its_identity(ledger):
    accept(ledger, make_instance())
    with ledger.reading() as tx:
        assert instances.held(tx, "1.2.3.1.1") == make_instance()
        assert instances.held(tx, "1.2.3.1.2") is None
    found = row(ledger, "instance")
    assert (found["revision"], found["duplicates"], found["calling_ae"], found["association_id"]) == (1, 0, "CT1", "association-1")
    assert events(ledger) == ["instance.received", "study.opened"]


def test_the_sources_of_a_study_are_known_up_to_a_revision(ledger):
    accept(ledger, make_instance(1), make_instance(2))
    complete(ledger)
    other = accepted(make_instance(3))
    peer = replace(PEER, calling_ae="MR1", called_ae="KEEP")
    ledger.write(lambda tx: instances.accept_all(tx, [replace(other, arrival=replace(other.arrival, peer=peer))]))
    ct, mr = Source(calling_ae="CT1", called_ae="RADNODE"), Source(calling_ae="MR1", called_ae="KEEP")
    with ledger.reading() as tx:
        assert instances.sources_of(tx, STUDY_UID, 1) == [ct]
        assert instances.sources_of(tx, STUDY_UID, 2) == [ct, mr]
        assert instances.sources_of(tx, "9", 1) == []


def test_the_row_the_study_and_the_audit_have_one_time(ledger):
    accept(ledger, make_instance(1), make_instance(2))
    times = {found["received_at"] for found in rows(ledger, "instance")} | {found["at"] for found in rows(ledger, "audit")[:2]}
    assert times == {row(ledger, "study")["last_activity_at"]}


def test_a_batch_opens_each_study_once_and_counts_what_it_brings(ledger):
    accept(ledger, *(make_instance(number, study=study, series=f"{study}.1") for study in ("5", "6") for number in (1, 2, 3)))
    assert {found["study_instance_uid"]: found["instances"] for found in rows(ledger, "study")} == {"5": 3, "6": 3}
    assert [found["event"] for found in rows(ledger, "audit")] == ["instance.received"] * 6 + ["study.opened"] * 2
    assert len(rows(ledger, "instance")) == 6


def test_a_batch_that_spans_a_completed_study_and_a_new_one_reopens_the_one(ledger):
    accept(ledger, make_instance(1))
    complete(ledger)
    accept(ledger, make_instance(2), make_instance(1, study="9", series="9.1"))
    assert events(ledger, "study.")[2:] == ["study.reopened", "study.opened"]
    assert {found["sop_instance_uid"]: found["revision"] for found in rows(ledger, "instance")}["1.2.3.1.2"] == 2


def test_an_empty_batch_writes_nothing(ledger):
    accept(ledger)
    assert rows(ledger, "audit") == []


def test_the_same_bytes_again_are_counted_and_nothing_else(ledger):
    accept(ledger, make_instance())
    before = snapshot(ledger)
    accept(ledger, make_instance(), association="association-2")
    accept(ledger, make_instance(), association="association-3")
    after = snapshot(ledger)
    assert after["study"] == before["study"]
    assert after["instance"] == [{**before["instance"][0], "duplicates": 2}]
    assert events(ledger)[2:] == ["instance.duplicate"] * 2


def test_the_same_bytes_again_within_a_batch_are_counted_too(ledger):
    ledger.write(lambda tx: instances.accept_all(tx, [accepted(make_instance(), f"association-{number}") for number in (1, 2, 3)]))
    assert (row(ledger, "instance")["duplicates"], row(ledger, "study")["instances"]) == (2, 1)
    assert sorted(events(ledger, "instance.")) == ["instance.duplicate"] * 2 + ["instance.received"]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
@pytest.mark.parametrize("other", [{"sha256": "y" * 64}, {"study_instance_uid": "9.9"}, {"sha256": "y" * 64, "patient_id": "P2"}])
def test_another_under_the_same_uid_changes_nothing_and_is_kept_as_evidence(other, together, ledger):
    """Two listeners answered both within one moment: the rows of the first stay as they are, and nothing is forgotten."""
    contradicting = make_instance(key="instances/other.dcm", **other)
    if together:
        accept(ledger, make_instance(), contradicting)
    else:
        accept(ledger, make_instance())
        accept(ledger, contradicting, association="association-2")
    assert row(ledger, "instance")["sha256"] == make_instance().sha256
    assert row(ledger, "instance")["study_instance_uid"] == STUDY_UID
    assert row(ledger, "study")["instances"] == 1
    (found,) = [found for found in rows(ledger, "audit") if found["event"] == "instance.conflict"]
    assert (found["code"], found["detail"]["key"]) == ("CONFLICTING_DUPLICATE", "instances/other.dcm")
    assert found["detail"]["sha256"] == contradicting.sha256
    with ledger.reading() as tx:
        assert spooled.known_keys(tx) == {make_instance().key, "instances/other.dcm"}


def test_a_conflict_in_the_middle_of_a_batch_takes_no_other_with_it(ledger):
    accept(ledger, make_instance(1))
    accept(ledger, make_instance(2), make_instance(1, content="y"), make_instance(3))
    assert sorted(found["sop_instance_uid"] for found in rows(ledger, "instance")) == ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3"]
    assert row(ledger, "study")["instances"] == 3


def test_accepting_twice_because_an_answer_was_lost_makes_one_row(ledger):
    accept(ledger, make_instance(1), make_instance(2))
    before = snapshot(ledger)
    accept(ledger, make_instance(1), make_instance(2))
    assert snapshot(ledger) == before


def test_evidence_of_a_refused_conflict_is_written_down_with_its_key(ledger):
    accept(ledger, make_instance())
    other = accepted(make_instance(content="y"), "association-2")
    key = instances.quarantine_key(other.instance)
    assert key == "quarantine/1.2.3/1.2.3.1.1-y.dcm"
    ledger.write(lambda tx: instances.record_conflict(tx, other, key))
    found = rows(ledger, "audit")[-1]
    assert (found["event"], found["sop_instance_uid"], found["association_id"]) == ("instance.conflict", "1.2.3.1.1", "association-2")
    with ledger.reading() as tx:
        assert spooled.is_known(tx, key)


@pytest.mark.parametrize("uid", ["1.2\0.3", "x" * 200, "\0", "ünïcödé", ""])
def test_a_refusal_is_written_down_whatever_was_sent(uid, ledger):
    arrival = replace(ARRIVAL, sop_instance_uid=uid, sop_class_uid=uid)
    ledger.write(lambda tx: instances.refuse(tx, arrival, 10, "NOT_UNDERSTOOD.malformed_uid", "No."))
    (found,) = rows(ledger, "audit")
    assert found["event"] == "instance.refused"
    assert found["code"] == "NOT_UNDERSTOOD.malformed_uid"
    kept = uid.replace("\0", "\N{REPLACEMENT CHARACTER}")[:64]
    assert found["sop_instance_uid"] == kept
    assert found["detail"] == {"sentence": "No.", "sop_class_uid": kept, "size": 10, "calling_ae": "CT1"}
    assert rows(ledger, "instance") == []


def test_what_became_of_an_association_is_written_down(ledger):
    ledger.write(lambda tx: instances.record_association(tx, "released", "association-1", PEER, instances=3))
    (found,) = rows(ledger, "audit")
    assert found["event"] == "association.released"
    assert found["detail"] == {"calling_ae": "CT1", "called_ae": "RADNODE", "address": "127.0.0.1", "instances": 3}


def test_a_revision_holds_what_came_up_to_it_in_a_stable_order(ledger):
    for number in (2, 1):
        accept(ledger, make_instance(number))
    accept(ledger, make_instance(1, series="1.2.3.0"))
    accept(ledger, make_instance(1, study="9", series="9.1"))
    with ledger.writing() as tx:
        studies.complete(tx, next(s for s in studies.quiet(tx, -1) if s.study_instance_uid == "1.2.3"), EVIDENCE)
    accept(ledger, make_instance(3))
    with ledger.reading() as tx:
        first, second = (instances.of_study(tx, "1.2.3", revision) for revision in (1, 2))
        series = instances.of_series(tx, ["1.2.3.1", "9.1"], "1.2.3", 1)
    assert [found.sop_instance_uid for found in first] == ["1.2.3.0.1", "1.2.3.1.1", "1.2.3.1.2"]
    assert [found.sop_instance_uid for found in second] == ["1.2.3.0.1", "1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3"]
    assert [found.sop_instance_uid for found in series] == ["1.2.3.1.1", "1.2.3.1.2"]


def test_the_spool_is_told_what_is_known(ledger):
    accept(ledger, make_instance())
    with ledger.reading() as tx:
        assert spooled.is_known(tx, make_instance().key)
        assert not spooled.is_known(tx, "instances/1/2.dcm")
        assert spooled.known_keys(tx) == {make_instance().key}
