"""Requests for storage commitment: written down once, brought by one, explained by the audit log."""

from dataclasses import replace
from datetime import timedelta

import pytest

from node.core.commitment import CommitmentRequest, Judged, Reference, Refusal, Report
from node.ledger import commitments, outbox, schema
from node.ledger.engine import database_now
from tests.integration.ledger.made import PEER, Tickets, accept, claimed, events, make_instance, make_object, row, rows

ONE, TWO = Reference("1.2.840.10008.5.1.4.1.1.2", "1.2.3.1.1"), Reference("1.2.840.10008.5.1.4.1.1.2", "1.2.3.1.2")
REQUEST = CommitmentRequest(id="c1", transaction_uid="1.9", peer=PEER, association_id="association-9", references=(ONE, TWO))
JUDGED = (Judged(reference=ONE, reason=0, study_instance_uid="1.2.3"), Judged(reference=TWO, reason=0x0112))
HOME = "listener"


def ask(ledger, request=REQUEST, report_in_s=0.0, keep_s=0.0):
    ledger.write(lambda tx: commitments.ask(tx, request, HOME, report_in_s=report_in_s, keep_s=keep_s))


def claim(ledger, token, home=HOME, lease_s=60.0, gone=()):
    with ledger.beating() as tx:
        return commitments.claim(tx, home, token, lease_s, lambda holder: holder in gone)


def let_time_pass(ledger, seconds):
    """Make every time of every row earlier."""
    table = schema.commitment
    with ledger.writing() as tx:
        for found in tx.execute(table.select()).mappings().all():
            earlier = {name: found[name] - timedelta(seconds=seconds) for name in ("asked_at", "due_at", "lease_until_at") if found[name]}
            tx.execute(table.update().where(table.c.id == found["id"]).values(**earlier))


def test_a_request_is_written_down_with_what_it_asks_for(ledger):
    ask(ledger)
    found = row(ledger, "commitment")
    assert (found["id"], found["transaction_uid"], found["state"], found["attempts"]) == ("c1", "1.9", "waiting", 0)
    assert (found["calling_ae"], found["called_ae"], found["address"], found["association_id"]) == (
        "CT1",
        "RADNODE",
        "127.0.0.1",
        "association-9",
    )
    assert found["referenced"] == [[ONE.sop_class_uid, ONE.sop_instance_uid], [TWO.sop_class_uid, TWO.sop_instance_uid]]
    assert found["result"] is None
    assert row(ledger, "audit")["work_id"] == "c1"


def test_a_commit_whose_answer_was_lost_is_written_once(ledger):
    ask(ledger)
    ask(ledger)
    assert len(rows(ledger, "commitment")) == 1
    assert events(ledger) == ["commitment.requested"]


def test_one_of_several_listeners_brings_it(ledger):
    ask(ledger)
    first = claim(ledger, "a")
    assert (first.request, first.report, first.attempts) == (REQUEST, None, 0)
    assert claim(ledger, "b", home="other") is None
    let_time_pass(ledger, 61)
    assert claim(ledger, "b", home="other") is not None, "its lease has run out"


def test_the_listener_that_was_asked_comes_first(ledger):
    ask(ledger, keep_s=10.0)
    assert claim(ledger, "b", home="other") is None
    assert claim(ledger, "b", home="other", gone={HOME}) is not None, "its process is gone"


def test_the_listener_that_was_asked_need_not_wait(ledger):
    ask(ledger, keep_s=10.0)
    assert claim(ledger, "a") is not None
    assert claim(ledger, "a2") is None, "its other thread has it"


def test_nothing_is_brought_before_it_is_due(ledger):
    ask(ledger, report_in_s=5.0)
    with ledger.reading() as tx:
        assert not commitments.are_due(tx)
    assert claim(ledger, "a") is None
    let_time_pass(ledger, 5)
    with ledger.reading() as tx:
        assert commitments.are_due(tx)
    assert claim(ledger, "a").age_s == pytest.approx(5, abs=2)


def test_what_was_judged_is_told_to_the_end(ledger):
    ask(ledger)
    first = claim(ledger, "a")
    assert ledger.write(lambda tx: commitments.judge(tx, first, "a", JUDGED))
    assert ledger.write(lambda tx: commitments.postpone(tx, first, "a", "PEER_UNAVAILABLE", "gone", wait_s=3.0))
    assert claim(ledger, "b") is None
    let_time_pass(ledger, 3)
    second = claim(ledger, "b")
    assert second.report == Report(transaction_uid="1.9", judged=tuple(replace(one, study_instance_uid=None) for one in JUDGED))
    assert second.report.event_type == 2
    assert second.attempts == 1
    assert ledger.write(lambda tx: commitments.report(tx, second, "b", {"on": "here"}))
    found = row(ledger, "commitment")
    assert (found["state"], found["result"], found["attempts"], found["code"]) == ("reported", [0, 0x0112], 2, None)
    assert found["reported_at"] is not None
    assert claim(ledger, "c") is None
    told = [entry for entry in rows(ledger, "audit") if entry["event"] == "commitment.judged"]
    assert [(entry["study_instance_uid"], entry["detail"]["committed"], entry["detail"]["failed"]) for entry in told] == [
        ("1.2.3", ["1.2.3.1.1"], {}),
        (None, [], {"1.2.3.1.2": "0x0112"}),
    ]


def test_whoever_lost_the_lease_writes_nothing(ledger):
    ask(ledger)
    late = claim(ledger, "a", lease_s=0.0)
    assert claim(ledger, "b") is not None
    before = events(ledger)
    for write in (
        lambda tx: commitments.judge(tx, late, "a", JUDGED),
        lambda tx: commitments.report(tx, late, "a", {}),
        lambda tx: commitments.postpone(tx, late, "a", "X", "x", wait_s=1.0),
        lambda tx: commitments.give_up(tx, late, "a", "X", "x"),
    ):
        assert not ledger.write(write)
    ledger.write(lambda tx: commitments.defer(tx, late, "a", HOME, 100.0))
    assert events(ledger) == before
    assert row(ledger, "commitment")["lease_token"] == "b"
    with ledger.reading() as tx:
        assert row(ledger, "commitment")["due_at"] <= database_now(tx)


def test_giving_up_keeps_the_reason_and_asking_again_takes_it_up(ledger):
    ask(ledger)
    held = claim(ledger, "a")
    assert ledger.write(lambda tx: commitments.give_up(tx, held, "a", "PEER_REFUSED.unknown", "nobody knows it"))
    found = row(ledger, "commitment")
    assert (found["state"], found["code"], found["reason"]) == ("failed", "PEER_REFUSED.unknown", "nobody knows it")
    ask(ledger, replace(REQUEST, id="c2", references=(TWO, ONE), association_id="association-10"))
    found = row(ledger, "commitment")
    assert (found["id"], found["state"], found["code"], found["association_id"]) == ("c1", "waiting", None, "association-10")
    assert events(ledger) == ["commitment.requested", "commitment.failed", "commitment.repeated"]


def test_a_transaction_uid_that_was_used_for_something_else_is_a_duplicate(ledger):
    ask(ledger)
    ask(ledger, replace(REQUEST, id="c2", references=(ONE,)))
    ask(ledger, replace(REQUEST, id="c3", references=(ONE,)))
    assert row(ledger, "commitment", id="c2")["result"] == [0x0131]
    assert row(ledger, "commitment", id="c1")["result"] is None
    assert len(rows(ledger, "commitment")) == 2
    ask(ledger, replace(REQUEST, id="c4", references=(ONE,), peer=replace(PEER, calling_ae="CT2")))
    assert row(ledger, "commitment", id="c4")["result"] is None, "another requester's transactions are its own"


def test_a_refusal_is_written_down(ledger):
    ledger.write(lambda tx: commitments.refuse(tx, PEER, "association-9", Refusal(status=0x0123, sentence="No such action.")))
    assert row(ledger, "audit")["detail"]["status"] == "0x0123"
    assert rows(ledger, "commitment") == []


def test_what_was_sent_and_what_we_made_is_held(ledger):
    tickets = Tickets()
    job = claimed(ledger, tickets)
    accept(ledger, *(make_instance(number) for number in range(2, 1003)))
    made = make_object("SEG")
    ledger.write(lambda tx: outbox.owe(tx, job.work, [made], ["pacs", "archive"], tickets))
    asked = [f"1.2.3.1.{number}" for number in range(1, 1100)] + [made.sop_instance_uid]
    with ledger.reading() as tx:
        found = commitments.holdings(tx, asked)
    assert len(found) == 1003
    ours = found[made.sop_instance_uid]
    assert (ours.sop_class_uid, ours.key, ours.size, ours.study_instance_uid) == (made.sop_class_uid, made.key, None, "1.2.3")
    assert found["1.2.3.1.7"].size == 10
