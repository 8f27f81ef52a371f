"""What is owed is owed once, sent in order, and every answer of a destination is written down."""

from dataclasses import replace

import pytest

from node.core.result import Answer
from node.core.study import StudyCount
from node.ledger import jobs, outbox, spooled
from tests.integration.ledger.made import JOB, Tickets, claim, claimed, events, make_object, row, rows, snapshot

OBJECTS = [make_object("SR"), make_object("SEG", 2), make_object("SEG", 1)]
ACCEPT = Answer(event="accept", dimse_status=0x0000, sentence="Stored.")
RETRY = Answer(event="retry", dimse_status=0xA700, sentence="Out of resources.")
REFUSE = Answer(event="refuse", dimse_status=0xA900, sentence="It does not match.")


def owe(ledger, held, tickets, destinations=("pacs",), objects=OBJECTS):
    ledger.write(lambda tx: outbox.owe(tx, held.work, objects, destinations, tickets))


@pytest.fixture
def tickets():
    return Tickets()


@pytest.fixture
def parcel(ledger, tickets):
    """A parcel of three objects that a courier holds."""
    owe(ledger, claimed(ledger, tickets), tickets)
    return claim(ledger, f"{JOB.id}:pacs", 1, "courier/1").work


def start(ledger, parcel):
    return ledger.write(lambda tx: outbox.start(tx, parcel))


def answer(ledger, parcel, **answers):
    uids = {"seg1": "2.25.13", "seg2": "2.25.23", "sr": "2.25.12"}
    ledger.write(lambda tx: outbox.answer(tx, parcel, {uids[name]: said for name, said in answers.items()}))


def states(ledger):
    return {found["sop_instance_uid"]: found["state"] for found in rows(ledger, "delivery")}


def unsent(ledger, parcel):
    with ledger.reading() as tx:
        return [delivery.object.sop_instance_uid for delivery in outbox.unsent(tx, parcel)]


def test_every_object_is_owed_to_every_destination_in_one_parcel_each(ledger, tickets):
    held = claimed(ledger, tickets)
    owe(ledger, held, tickets, ("pacs", "archive"))
    assert {(found["destination"], found["sop_instance_uid"]) for found in rows(ledger, "delivery")} == {
        (destination, stored.sop_instance_uid) for destination in ("pacs", "archive") for stored in OBJECTS
    }
    assert [(ticket.work_id, ticket.kind, ticket.partition) for ticket in tickets[1:]] == [
        (f"{JOB.id}:pacs", "deliver", "pacs"),
        (f"{JOB.id}:archive", "deliver", "archive"),
    ]
    assert {found["state"] for found in rows(ledger, "delivery")} == {"waiting"}
    assert events(ledger, "delivery.") == ["delivery.owed"] * 6


def test_owing_again_because_an_answer_was_lost_changes_nothing(ledger, tickets):
    held = claimed(ledger, tickets)
    owe(ledger, held, tickets)
    before = snapshot(ledger)
    owe(ledger, held, tickets)
    assert snapshot(ledger) == before
    assert len(tickets) == 2
    owe(ledger, held, tickets, ("pacs", "archive"))
    assert len(rows(ledger, "delivery")) == 6, "a destination that was added is owed too"


def test_a_job_without_objects_or_destinations_owes_nothing(ledger, tickets):
    held = claimed(ledger, tickets)
    owe(ledger, held, tickets, ())
    assert rows(ledger, "delivery") == []
    assert len(tickets) == 1


def test_what_is_owed_is_known_to_the_spool(ledger, parcel):
    with ledger.reading() as tx:
        assert all(spooled.is_known(tx, stored.key) for stored in OBJECTS)
        assert {stored.key for stored in OBJECTS} <= spooled.known_keys(tx)


def test_what_a_destination_holds_of_a_study_by_us_is_what_it_has_accepted(ledger, parcel):
    def held(destination, study=JOB.study_instance_uid):
        with ledger.reading() as tx:
            return outbox.stored_at(tx, destination, study)

    assert held("pacs") == StudyCount(instances=0, series=0)
    start(ledger, parcel)
    answer(ledger, parcel, seg1=ACCEPT, sr=ACCEPT, seg2=RETRY)
    assert held("pacs") == StudyCount(instances=2, series=2)
    assert held("archive") == held("pacs", "9") == StudyCount(instances=0, series=0)


def test_segmentations_go_before_the_report_that_refers_to_them(ledger, parcel):
    assert unsent(ledger, parcel) == ["2.25.13", "2.25.23", "2.25.12"]
    assert [delivery.object.kind for delivery in start(ledger, parcel)] == ["SEG", "SEG", "SR"]


def test_the_object_that_is_sent_is_the_one_that_was_stored(ledger, parcel):
    found = {delivery.object.sop_instance_uid: delivery.object for delivery in start(ledger, parcel)}
    assert found == {stored.sop_instance_uid: stored for stored in OBJECTS}


def test_starting_counts_the_attempts(ledger, parcel):
    assert [delivery.attempt for delivery in start(ledger, parcel)] == [0, 0, 0]
    assert [delivery.attempt for delivery in start(ledger, parcel)] == [1, 1, 1], "the courier died before it could write down the answer"
    assert set(states(ledger).values()) == {"sending"}
    assert [found["attempts"] for found in rows(ledger, "delivery")] == [2, 2, 2]


def test_each_object_has_its_own_answer(ledger, parcel):
    start(ledger, parcel)
    answer(ledger, parcel, seg1=ACCEPT, seg2=RETRY, sr=REFUSE)
    assert states(ledger) == {"2.25.13": "sent", "2.25.23": "waiting", "2.25.12": "refused"}
    assert unsent(ledger, parcel) == ["2.25.23"]
    sent, refused = (row(ledger, "delivery", sop_instance_uid=uid) for uid in ("2.25.13", "2.25.12"))
    assert sent["sent_at"] is not None
    assert (sent["dimse_status"], refused["dimse_status"], refused["sent_at"]) == (0, 0xA900, None)
    assert refused["reason"] == "It does not match."
    said = {
        audit["sop_instance_uid"]: (audit["event"], audit["detail"]["status"])
        for audit in rows(ledger, "audit")
        if "status" in audit["detail"]
    }
    assert said == {
        "2.25.13": ("delivery.sent", "0x0000"),
        "2.25.23": ("delivery.postponed", "0xA700"),
        "2.25.12": ("delivery.refused", "0xA900"),
    }


def test_an_object_without_an_answer_stays_as_it_is(ledger, parcel):
    start(ledger, parcel)
    answer(ledger, parcel, seg1=ACCEPT)
    assert states(ledger) == {"2.25.13": "sent", "2.25.23": "sending", "2.25.12": "sending"}
    assert unsent(ledger, parcel) == ["2.25.23", "2.25.12"]


def test_an_answer_that_is_written_down_twice_is_written_down_once(ledger, parcel):
    start(ledger, parcel)
    answer(ledger, parcel, seg1=ACCEPT, seg2=RETRY, sr=REFUSE)
    before = snapshot(ledger)
    answer(ledger, parcel, seg1=ACCEPT, seg2=RETRY, sr=REFUSE)
    assert snapshot(ledger) == before


def test_what_was_not_started_can_be_refused_but_not_accepted(ledger, parcel):
    before = snapshot(ledger)
    answer(ledger, parcel, seg1=ACCEPT, seg2=RETRY)
    assert snapshot(ledger) == before
    answer(ledger, parcel, sr=REFUSE)
    assert states(ledger)["2.25.12"] == "refused"


def test_giving_up_parks_what_was_not_accepted(ledger, parcel):
    start(ledger, parcel)
    answer(ledger, parcel, seg1=ACCEPT, seg2=RETRY)
    ledger.write(lambda tx: outbox.give_up(tx, parcel, "The destination is gone."))
    assert states(ledger) == {"2.25.13": "sent", "2.25.23": "refused", "2.25.12": "refused"}
    assert row(ledger, "delivery", sop_instance_uid="2.25.12")["reason"] == "The destination is gone."


def test_replaying_takes_up_what_was_refused_and_nothing_that_was_sent(ledger, parcel, tickets):
    start(ledger, parcel)
    answer(ledger, parcel, seg1=ACCEPT, seg2=REFUSE, sr=REFUSE)
    ledger.write(lambda tx: outbox.replay(tx, parcel))
    assert states(ledger) == {"2.25.13": "sent", "2.25.23": "waiting", "2.25.12": "waiting"}
    assert unsent(ledger, parcel) == ["2.25.23", "2.25.12"]
    assert row(ledger, "delivery", sop_instance_uid="2.25.12")["reason"] is None


def test_parcels_for_several_destinations_do_not_meet(ledger, tickets):
    owe(ledger, claimed(ledger, tickets), tickets, ("pacs", "archive"))
    parcels = {name: claim(ledger, f"{JOB.id}:{name}", 1, f"courier/{name}").work for name in ("pacs", "archive")}
    start(ledger, parcels["pacs"])
    ledger.write(lambda tx: outbox.give_up(tx, parcels["pacs"], "No."))
    assert {(found["destination"], found["state"]) for found in rows(ledger, "delivery")} == {("pacs", "refused"), ("archive", "waiting")}


def test_a_parcel_is_settled_without_closing_the_study(ledger, parcel):
    assert ledger.write(lambda tx: jobs.settle(tx, parcel, "courier/1", None, {})) is True
    assert row(ledger, "work", kind="deliver")["state"] == "done"
    assert row(ledger, "study")["state"] == "complete"
    assert events(ledger)[-1] == "parcel.finished"


def test_a_parcel_is_about_its_destination(ledger, parcel):
    assert parcel.destination == "pacs"
    assert jobs.about(parcel)["destination"] == "pacs"
    assert jobs.ticket_of(parcel).partition == "pacs"
    assert "destination" not in jobs.about(replace(parcel, kind="infer", destination=None))
