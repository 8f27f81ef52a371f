"""An instance is accepted once, under its identity; the same again is counted, another under its name refused."""

from dataclasses import replace

import pytest

from node.core.errors import ConflictingDuplicate
from node.ledger import instances, spooled, studies
from tests.integration.ledger.made import ARRIVAL, EVIDENCE, PEER, accept, events, make_instance, row, rows, snapshot


def test_what_was_accepted_is_held_with_its_identity(ledger):
    assert accept(ledger, make_instance()) is True
    with ledger.reading() as tx:
        assert instances.held(tx, "1.2.3.1.1") == make_instance()
        assert instances.held(tx, "1.2.3.1.2") is None
    found = row(ledger, "instance")
    assert (found["revision"], found["duplicates"], found["calling_ae"], found["association_id"]) == (1, 0, "CT1", "association-1")
    assert events(ledger) == ["instance.received", "study.opened"]


def test_the_row_the_study_and_the_audit_have_one_time(ledger):
    accept(ledger, make_instance())
    assert row(ledger, "instance")["received_at"] == row(ledger, "study")["last_activity_at"] == rows(ledger, "audit")[0]["at"]


def test_the_same_bytes_again_are_counted_and_nothing_else(ledger):
    accept(ledger, make_instance())
    before = snapshot(ledger)
    assert accept(ledger, make_instance()) is False
    assert accept(ledger, make_instance()) is False
    after = snapshot(ledger)
    assert after["study"] == before["study"]
    assert after["instance"] == [{**before["instance"][0], "duplicates": 2}]
    assert events(ledger)[2:] == ["instance.duplicate"] * 2


@pytest.mark.parametrize("other", [{"sha256": "y" * 64}, {"study_instance_uid": "9.9"}, {"sha256": "y" * 64, "patient_id": "P2"}])
def test_another_under_the_same_uid_is_refused_and_changes_nothing(other, ledger):
    accept(ledger, make_instance())
    before = snapshot(ledger)
    with pytest.raises(ConflictingDuplicate) as caught:
        accept(ledger, make_instance(**other))
    assert caught.value.status == 0xC001
    assert snapshot(ledger) == before


def test_a_conflict_in_the_middle_takes_the_whole_transaction_back(ledger):
    accept(ledger, make_instance())
    before = snapshot(ledger)

    def both(tx):
        instances.accept(tx, make_instance(2), ARRIVAL)
        instances.accept(tx, make_instance(1, content="y"), ARRIVAL)

    with pytest.raises(ConflictingDuplicate):
        ledger.write(both)
    assert snapshot(ledger) == before


def test_accepting_twice_because_an_answer_was_lost_makes_one_row(ledger):
    for _ in range(2):
        accept(ledger, make_instance())
    assert len(rows(ledger, "instance")) == 1
    assert row(ledger, "study")["instances"] == 1


@pytest.mark.parametrize("uid", ["1.2\0.3", "x" * 200, "\0", "ünïcödé", ""])
def test_a_refusal_is_written_down_whatever_was_sent(uid, ledger):
    arrival = replace(ARRIVAL, sop_instance_uid=uid, sop_class_uid=uid)
    ledger.write(lambda tx: instances.refuse(tx, arrival, "NOT_UNDERSTOOD.malformed_uid", "No."))
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
