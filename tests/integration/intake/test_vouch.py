"""We answer for what is on disk and in the ledger, and never deny what was answered Success for a moment ago."""

from contextlib import closing
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from node.core.commitment import Reference
from node.intake.presence import Presence
from node.intake.receive import Desk, Receiver
from node.intake.recent import Recent
from node.intake.room import Room
from node.intake.scribe import Scribe
from node.intake.vouch import vouch
from node.ledger import instances
from node.ledger.engine import Ledger
from node.ledger.inquiry import Inquiry
from node.ledger.migrate import migrating
from node.spool.local import LocalSpool
from tests.integration.desk import flush
from tests.unit.intake.arrivals import encode, make_data_set, sent, sent_from

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture
def ledger(database):
    with migrating(database):
        pass
    with closing(Ledger(database, actor="test")) as ledger:
        yield ledger


@pytest.fixture
def other_listener(ledger, tmp_path):
    """A listener of another process, whose scribe has not come to writing yet; the desk, and what it has received."""
    found = sent_from(Path(get_testdata_file("CT_small.dcm")))
    with LocalSpool(tmp_path / "spool", "listen") as spool, closing(Inquiry(ledger, instances.HELD)) as inquiry:
        room = Room(spool.free_bytes, 0)
        desk = Desk(inquiry=inquiry, spool=spool, scribe=Scribe(ledger, spool.keep), presence=Presence(), recent=Recent(), room=room)
        assert found.to(Receiver(desk)) == 0
        yield desk, Reference(found.arrival.sop_class_uid, found.arrival.sop_instance_uid)


def test_what_another_listener_has_answered_for_is_waited_for(ledger, other_listener, tmp_path):
    desk, reference = other_listener
    with LocalSpool(tmp_path / "spool", "listen") as ours:
        assert vouch(ledger, ours, [reference]) is None
        (unknown,) = vouch(ledger, ours, [Reference(CT, "1.2.3")])
        assert unknown.reason == 0x0112, "what nobody has received is not waited for"
        desk.scribe.start()
        flush(desk)
        (judged,) = vouch(ledger, ours, [reference])
        assert (judged.reason, judged.reference) == (0, reference)
        assert judged.study_instance_uid
        (conflict,) = vouch(ledger, ours, [Reference(MR, reference.sop_instance_uid)])
        assert conflict.reason == 0x0119
        desk.scribe.stop()


def test_a_file_that_is_not_what_was_accepted_is_not_answered_for(ledger, other_listener):
    desk, reference = other_listener
    desk.scribe.start()
    flush(desk)
    (path,) = (desk.spool.path(key) for key in desk.spool.list())
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole + b"\0", b""):
        path.write_bytes(damaged)
        (judged,) = vouch(ledger, desk.spool, [reference])
        assert judged.reason == 0x0110
    path.write_bytes(whole)
    assert vouch(ledger, desk.spool, [reference])[0].reason == 0
    path.unlink()
    assert vouch(ledger, desk.spool, [reference])[0].reason == 0x0110
    desk.scribe.stop()


def test_an_instance_that_is_kept_apart_is_not_answered_for(ledger, other_listener):
    """It belongs to another patient than its study: its sender is not to forget it before somebody has looked at it."""
    desk, _ = other_listener
    desk.scribe.start()
    first = sent(encode(make_data_set(PatientID="P1")))
    foreign = sent(encode(make_data_set(PatientID="P2", SOPInstanceUID="1.2.3")), instance="1.2.3")
    assert [found.to(Receiver(desk)) for found in (first, foreign)] == [0, 0]
    flush(desk)
    judged = vouch(ledger, desk.spool, [Reference(CT, found.arrival.sop_instance_uid) for found in (first, foreign)])
    assert [one.reason for one in judged] == [0, 0x0110]
    desk.scribe.stop()
