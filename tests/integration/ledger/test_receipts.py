"""What is learned of a delivery behind its Success is written down once, and what was asked for is not forgotten."""

import pytest

from node.core.commitment import Promise
from node.core.result import Answer, Receipt
from node.ledger import jobs, outbox, pledges, receipts
from tests.integration.ledger.made import JOB, Tickets, claim, claimed, events, make_object, row, rows, snapshot

UIDS = {"seg": "2.25.13", "sr": "2.25.12"}
COMMIT, FIND, LOSE = (Receipt(event=event, sentence="So.") for event in ("commit", "find", "lose"))


@pytest.fixture
def tickets():
    return Tickets()


@pytest.fixture
def parcel(ledger, tickets):
    """A parcel of two objects that were sent, and that a courier holds."""
    held = claimed(ledger, tickets)
    ledger.write(lambda tx: outbox.owe(tx, held.work, [make_object("SEG"), make_object("SR")], ("pacs",), tickets))
    parcel = claim(ledger, f"{JOB.id}:pacs", 1, "courier/1").work
    send(ledger, parcel)
    return parcel


def send(ledger, parcel):
    accepted = Answer(event="accept", dimse_status=0, sentence="Stored.")
    found = ledger.write(lambda tx: outbox.start(tx, parcel))
    ledger.write(lambda tx: outbox.answer(tx, parcel, {one.object.sop_instance_uid: accepted for one in found}))


def keep(ledger, parcel, resend=2, **learned):
    ledger.write(lambda tx: receipts.keep(tx, parcel, {UIDS[name]: found for name, found in learned.items()}, resend=resend))


def states(ledger):
    found = {one["sop_instance_uid"]: one["state"] for one in rows(ledger, "delivery")}
    return {name: found[uid] for name, uid in UIDS.items()}


def begin(ledger, parcel, uid="2.25.7"):
    ledger.write(lambda tx: pledges.begin(tx, parcel, uid, list(UIDS.values())))


def hear(ledger, tickets, uid="2.25.7", committed=("seg", "sr"), failed=None, resend=2):
    kept = frozenset(UIDS[name] for name in committed)
    reasons = {UIDS[name]: reason for name, reason in (failed or {}).items()}
    promise = Promise(transaction_uid=uid, committed=kept, failed=reasons, calling_ae="PACS")
    return ledger.write(lambda tx: pledges.hear(tx, promise, tickets, resend=resend))


def test_what_was_sent_is_unconfirmed_until_more_is_known(ledger, parcel):
    with ledger.reading() as tx:
        assert [one.delivery.object.kind for one in receipts.unconfirmed(tx, parcel)] == ["SEG", "SR"]
        assert all(0 <= one.age_s < 60 for one in receipts.unconfirmed(tx, parcel))
    keep(ledger, parcel, seg=COMMIT, sr=FIND)
    assert states(ledger) == {"seg": "committed", "sr": "found"}
    assert row(ledger, "delivery", sop_instance_uid=UIDS["seg"])["confirmed_at"] is not None
    with ledger.reading() as tx:
        assert receipts.unconfirmed(tx, parcel) == []


def test_what_was_learned_is_written_down_once(ledger, parcel):
    keep(ledger, parcel, seg=COMMIT, sr=LOSE)
    before = snapshot(ledger)
    keep(ledger, parcel, seg=COMMIT, sr=LOSE)
    assert snapshot(ledger) == before
    assert events(ledger, "delivery.")[-2:] == ["delivery.committed", "delivery.lost"]


def test_what_was_lost_is_sent_again_so_often_and_then_parked(ledger, parcel):
    for lost in (1, 2):
        keep(ledger, parcel, sr=LOSE)
        assert (states(ledger)["sr"], row(ledger, "delivery", sop_instance_uid=UIDS["sr"])["losses"]) == ("waiting", lost)
        send(ledger, parcel)
    keep(ledger, parcel, sr=LOSE)
    assert states(ledger) == {"seg": "sent", "sr": "refused"}
    with ledger.reading() as tx:
        assert "said Success 3 times" in outbox.refusal(tx, parcel)
    ledger.write(lambda tx: outbox.replay(tx, parcel))
    assert (states(ledger)["sr"], row(ledger, "delivery", sop_instance_uid=UIDS["sr"])["losses"]) == ("waiting", 0)


def test_what_nobody_can_tell_stays_sent_and_says_so(ledger, parcel):
    keep(ledger, parcel, seg=FIND)
    ledger.write(lambda tx: receipts.leave(tx, parcel, "Nobody knows."))
    assert states(ledger) == {"seg": "found", "sr": "sent"}
    assert row(ledger, "delivery", sop_instance_uid=UIDS["sr"])["reason"] == "Nobody knows."
    assert events(ledger, "delivery.")[-1] == "delivery.unconfirmed"


def test_a_report_is_written_down_once_whoever_brings_it_again(ledger, parcel, tickets):
    begin(ledger, parcel)
    ledger.write(lambda tx: pledges.asked(tx, parcel, "2.25.7"))
    assert hear(ledger, tickets)
    assert states(ledger) == {"seg": "committed", "sr": "committed"}
    before = snapshot(ledger)
    assert hear(ledger, tickets)
    assert snapshot(ledger) == before


def test_a_report_on_what_was_not_asked_for_changes_nothing(ledger, parcel, tickets):
    before = snapshot(ledger)
    assert not hear(ledger, tickets, uid="2.25.8")
    assert snapshot(ledger) == before


def test_a_report_counts_for_what_was_asked_for_alone(ledger, parcel, tickets):
    ledger.write(lambda tx: pledges.begin(tx, parcel, "2.25.7", [UIDS["seg"]]))
    assert hear(ledger, tickets)
    assert states(ledger) == {"seg": "committed", "sr": "sent"}


def test_what_a_report_does_not_know_is_lost_and_other_failures_are_kept(ledger, parcel, tickets):
    begin(ledger, parcel)
    assert hear(ledger, tickets, committed=(), failed={"seg": 0x0112, "sr": 0x0110})
    assert states(ledger) == {"seg": "waiting", "sr": "sent"}
    assert row(ledger, "pledge")["failed"] == {UIDS["seg"]: 0x0112, UIDS["sr"]: 0x0110}


def test_a_report_has_a_parcel_that_waits_go_on_at_once(ledger, parcel, tickets):
    begin(ledger, parcel)
    ledger.write(lambda tx: jobs.put_off(tx, parcel, "courier/1", "Not yet.", 600.0, tickets))
    assert (tickets[-1].dispatch, tickets[-1].delay_s) == (2, 600.0)
    assert hear(ledger, tickets)
    assert (tickets[-1].dispatch, tickets[-1].delay_s) == (3, 0.0)
    assert claim(ledger, parcel.id, 2, "courier/2") is None, "the ticket that waits is out of date"
    held = claim(ledger, parcel.id, 3, "courier/3")
    assert held.work.attempt == 1, "waiting was no failed attempt"


def test_a_report_leaves_a_parcel_alone_that_somebody_works_on(ledger, parcel, tickets):
    begin(ledger, parcel)
    before = len(tickets)
    assert hear(ledger, tickets)
    assert len(tickets) == before
    assert row(ledger, "work", id=parcel.id)["state"] == "running"


def test_a_late_report_is_welcome(ledger, parcel, tickets):
    begin(ledger, parcel)
    ledger.write(lambda tx: pledges.expire(tx, parcel, "2.25.7", "Too long."))
    assert hear(ledger, tickets)
    assert states(ledger) == {"seg": "committed", "sr": "committed"}
    assert row(ledger, "pledge")["state"] == "reported"


def test_a_pledge_belongs_to_its_attempt_and_to_what_was_last_sent(ledger, parcel, tickets):
    def latest():
        with ledger.reading() as tx:
            return pledges.latest(tx, jobs.find(tx, parcel.id))

    assert latest() is None
    begin(ledger, parcel)
    assert (latest().transaction_uid, latest().state) == ("2.25.7", "asking")
    ledger.write(lambda tx: outbox.replay(tx, parcel))
    assert latest() is None, "an operator brought it back: it is asked anew"


def test_work_that_is_put_off_by_another_is_not(ledger, parcel, tickets):
    before = snapshot(ledger)
    assert ledger.write(lambda tx: jobs.put_off(tx, parcel, "courier/2", "Not yet.", 1.0, tickets)) is False
    assert snapshot(ledger) == before
