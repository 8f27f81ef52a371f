"""What is held and may be asked for: received instances and our results, once each."""

import pytest

from node.core.query import Asked, Retrieval, Subject
from node.ledger import holdings, outbox
from tests.integration.ledger.made import PEER, STUDY_UID, Tickets, accept, claimed, events, make_instance, make_object, row

ASKED = Asked(association_id="association-9", peer=PEER, service="C-FIND", root="STUDY")
SEG = "1.2.840.10008.5.1.4.1.1.66.4"


@pytest.fixture
def held(ledger):
    """A study of two patients' series, another study, and a result that is owed to two destinations."""
    tickets = Tickets()
    work = claimed(ledger, tickets).work  # brings instance 1.2.3.1.1 of patient P1
    accept(ledger, make_instance(2), make_instance(1, series="1.2.3.2", modality="MR"))
    accept(ledger, make_instance(1, study="1.2.4", series="1.2.4.1", patient_id="P2"), make_instance(1, "1.2.5", "1.2.5.1", patient_id=""))
    ledger.write(lambda tx: outbox.owe(tx, work, [make_object("SEG"), make_object("SR")], ["pacs", "archive"], tickets))
    return ledger


def keys(ledger, level, within=None, after="", most=100):
    with ledger.reading() as tx:
        return holdings.keys_after(tx, level, within or {}, after, most)


def groups(ledger, level, entities, within=None):
    with ledger.reading() as tx:
        return holdings.groups(tx, level, within or {}, entities)


def uids(ledger, within):
    with ledger.reading() as tx:
        return [found.sop_instance_uid for found in holdings.instances(tx, within)]


def test_keys_come_in_pages(held):
    assert keys(held, "STUDY") == ["1.2.3", "1.2.4", "1.2.5"]
    assert keys(held, "STUDY", most=2) == ["1.2.3", "1.2.4"]
    assert keys(held, "STUDY", after="1.2.4") == ["1.2.5"]
    assert keys(held, "PATIENT") == ["P1", "P2"], "who has no ID cannot be asked for as a patient"
    assert keys(held, "SERIES", {"STUDY": [STUDY_UID]}) == ["1.2.3.1", "1.2.3.2", "2.25.12.0", "2.25.13.0"]
    assert keys(held, "IMAGE", {"STUDY": [STUDY_UID], "SERIES": ["1.2.3.1"]}) == ["1.2.3.1.1", "1.2.3.1.2"]


def test_studies_are_those_of_the_patients_that_are_asked_for(held):
    assert keys(held, "STUDY", {"PATIENT": ["P1"]}) == ["1.2.3"]
    assert keys(held, "STUDY", {"PATIENT": ["P1", "P2"]}) == ["1.2.3", "1.2.4"]
    assert keys(held, "STUDY", {"PATIENT": ["P3"]}) == []


def test_a_study_has_a_group_for_each_series_and_class_with_our_results_among_them(held):
    found = groups(held, "STUDY", [STUDY_UID, "1.2.4"])
    assert [(one.entity, one.series_instance_uid, one.modality, one.instances, one.patient_id) for one in found] == [
        ("1.2.3", "1.2.3.1", "CT", 2, "P1"),
        ("1.2.3", "1.2.3.2", "MR", 1, "P1"),
        ("1.2.3", "2.25.12.0", "SR", 1, "P1"),
        ("1.2.3", "2.25.13.0", "SEG", 1, "P1"),
        ("1.2.4", "1.2.4.1", "CT", 1, "P2"),
    ]
    assert found[0].key == min(make_instance(1).key, make_instance(2).key)


def test_groups_are_those_within(held):
    assert groups(held, "STUDY", [STUDY_UID], {"PATIENT": ["P2"]}) == []
    assert [one.entity for one in groups(held, "SERIES", ["1.2.3.1"], {"STUDY": ["1.2.4"]})] == []
    (one,) = groups(held, "IMAGE", ["2.25.13"], {"STUDY": [STUDY_UID]})
    assert (one.sop_class_uid, one.instances) == (SEG, 1)
    assert {one.study_instance_uid for one in groups(held, "PATIENT", ["P1"])} == {STUDY_UID}


def test_every_instance_of_what_is_named_comes_once(held):
    everything = ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.2.1", "2.25.12", "2.25.13"]
    assert uids(held, {"STUDY": [STUDY_UID]}) == everything
    assert uids(held, {"PATIENT": ["P1"]}) == everything
    assert uids(held, {"STUDY": [STUDY_UID], "SERIES": ["1.2.3.2", "2.25.12.0"]}) == ["1.2.3.2.1", "2.25.12"]
    assert uids(held, {"STUDY": [STUDY_UID], "IMAGE": ["2.25.13", "9.9"]}) == ["2.25.13"]


def test_a_result_that_came_back_to_us_is_there_once(held):
    accept(held, make_instance(sop_instance_uid="2.25.13", series="2.25.13.0", sop_class_uid=SEG, modality="SEG", content="r"))
    assert uids(held, {"STUDY": [STUDY_UID]}).count("2.25.13") == 1


def test_questions_are_written_down_without_values_but_uids(ledger):
    subject = Subject(level="SERIES", keys=("PatientName", "StudyInstanceUID"), uids={"StudyInstanceUID": ("1.2.3",)})
    ledger.write(lambda tx: holdings.record_query(tx, ASKED, subject, 7, "complete"))
    ledger.write(lambda tx: holdings.record_query_refused(tx, ASKED, "IDENTIFIER_MISMATCH", "There is no level."))
    retrieval = Retrieval(destination="PACS", completed=2, failed=1, status=0xB000)
    ledger.write(lambda tx: holdings.record_retrieval(tx, ASKED, subject, retrieval))
    assert events(ledger) == ["query.answered", "query.refused", "retrieve.finished"]
    answered, finished = row(ledger, "audit", event="query.answered"), row(ledger, "audit", event="retrieve.finished")
    assert (answered["association_id"], answered["study_instance_uid"]) == ("association-9", "1.2.3")
    assert (answered["detail"]["matches"], answered["detail"]["keys"]) == (7, ["PatientName", "StudyInstanceUID"])
    assert (finished["detail"]["status"], finished["detail"]["completed"], finished["detail"]["failed"]) == ("0xB000", 2, 1)
