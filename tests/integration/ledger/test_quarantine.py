"""What is of another patient than its study is kept, counted and kept apart, until an operator says that it stays out."""

import pytest

from node.core.errors import StateError
from node.ledger import instances, quarantine, spooled
from tests.integration.ledger.made import STUDY_UID, accept, complete, events, execute, make_instance, row, rows, snapshot


def foreign(number=9, patient_id="P2", **changes):
    return make_instance(number, patient_id=patient_id, **changes)


def set_aside(ledger, study=STUDY_UID):
    return ledger.write(lambda tx: quarantine.set_aside(tx, study, "who"))


def is_blocked(ledger, study=STUDY_UID):
    with ledger.reading() as tx:
        return quarantine.is_blocked(tx, study)


def of_study(ledger, revision=1):
    with ledger.reading() as tx:
        return [found.sop_instance_uid for found in instances.of_study(tx, STUDY_UID, revision)]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
@pytest.mark.parametrize("patient_id", ["P2", ""])
def test_it_has_a_row_but_is_no_part_of_the_study(patient_id, together, ledger):
    other = foreign(patient_id=patient_id)
    if together:
        accept(ledger, make_instance(1), other, make_instance(2))
    else:
        accept(ledger, make_instance(1), make_instance(2))
        before = row(ledger, "study")
        accept(ledger, other)
        assert row(ledger, "study") == before, "neither counted nor an activity"
    assert (row(ledger, "study")["instances"], row(ledger, "study")["patient_id"]) == (2, "P1")
    kept = row(ledger, "instance", sop_instance_uid=other.sop_instance_uid)
    assert (kept["quarantined"], kept["revision"], kept["key"]) == ("IDENTITY_CONFLICT.mixed", 1, other.key)
    assert of_study(ledger) == ["1.2.3.1.1", "1.2.3.1.2"]
    assert is_blocked(ledger)
    assert events(ledger, "instance.").count("instance.received") == 3
    (said,) = [found for found in rows(ledger, "audit") if found["event"] == "instance.quarantined"]
    assert (said["code"], said["sop_instance_uid"]) == ("IDENTITY_CONFLICT.mixed", other.sop_instance_uid)
    assert patient_id not in said["detail"].values()
    with ledger.reading() as tx:
        assert spooled.is_known(tx, other.key)


def test_it_does_not_reopen_a_study_that_is_complete(ledger):
    accept(ledger, make_instance(1))
    complete(ledger)
    accept(ledger, foreign())
    assert [found["revision"] for found in rows(ledger, "study")] == [1]
    accept(ledger, make_instance(2), foreign(10))
    assert [found["patient_id"] for found in rows(ledger, "study")] == ["P1", "P1"]
    assert of_study(ledger, 2) == ["1.2.3.1.1", "1.2.3.1.2"]


def test_the_same_bytes_again_are_counted_and_change_nothing(ledger):
    accept(ledger, make_instance(1), foreign())
    before = snapshot(ledger)
    accept(ledger, foreign())
    assert snapshot(ledger) == before, "the answer to the first COMMIT was lost"
    accept(ledger, foreign(), association="association-2")
    assert row(ledger, "instance", sop_instance_uid=foreign().sop_instance_uid)["duplicates"] == 1
    assert events(ledger)[-1] == "instance.duplicate"


def test_the_same_patient_in_another_study_is_no_matter(ledger):
    accept(ledger, make_instance(1), foreign(study="9", series="9.1"))
    assert not is_blocked(ledger)
    assert not is_blocked(ledger, "9")


def test_setting_aside_has_a_study_that_was_judged_judged_anew(ledger):
    accept(ledger, make_instance(1), foreign(8), foreign(9))
    complete(ledger)
    assert set_aside(ledger) == 2
    assert not is_blocked(ledger)
    assert {found["revision"]: (found["state"], found["instances"], found["patient_id"]) for found in rows(ledger, "study")} == {
        1: ("complete", 1, "P1"),
        2: ("open", 0, "P1"),
    }
    assert of_study(ledger, 2) == ["1.2.3.1.1"]
    assert events(ledger)[-2:] == ["study.released", "study.reopened"]
    (said,) = [found["detail"] for found in rows(ledger, "audit") if found["event"] == "study.released"]
    assert said == {"by": "who", "set_aside": ["1.2.3.1.8", "1.2.3.1.9"]}


def test_setting_aside_lets_a_study_that_is_open_go_on(ledger):
    accept(ledger, make_instance(1), foreign())
    set_aside(ledger)
    assert [(found["revision"], found["state"]) for found in rows(ledger, "study")] == [(1, "open")]


@pytest.mark.parametrize("times", [0, 1])
def test_there_is_nothing_to_set_aside_twice(times, ledger):
    accept(ledger, make_instance(1), *([foreign()] * times))
    for _ in range(times):
        set_aside(ledger)
    before = snapshot(ledger)
    with pytest.raises(StateError, match="Nothing of"):
        set_aside(ledger)
    assert snapshot(ledger) == before


def test_after_a_decision_the_next_one_of_another_patient_waits_again(ledger):
    accept(ledger, make_instance(1), foreign(8))
    set_aside(ledger)
    accept(ledger, foreign(9))
    assert is_blocked(ledger)
    with ledger.reading() as tx:
        assert [(found.code, found.instances, found.calling_ae) for found in quarantine.listed(tx)] == [
            ("IDENTITY_CONFLICT.mixed", 1, "CT1"),
            ("IDENTITY_CONFLICT.set_aside", 1, "CT1"),
        ]


def test_nothing_is_compared_with_a_study_of_which_it_was_not_kept_whose_it_is(ledger):
    """As it is with what came before the ledger kept it; the routing still refuses what is mixed."""
    accept(ledger, make_instance(1))
    execute(ledger, "UPDATE study SET patient_id = NULL")
    accept(ledger, foreign())
    assert not is_blocked(ledger)
    assert row(ledger, "study")["instances"] == 2
