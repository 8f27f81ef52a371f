"""One UID, two data sets, at the same moment: one sender hears Success, the other 0xC001, and both are kept."""

import threading
from contextlib import closing

import pytest

from node.intake.receive import Receiver
from node.ledger import audit, spooled, views
from node.ledger.engine import Ledger
from tests.databases import prepare_database
from tests.integration.desk import flush, open_desk
from tests.unit.intake.arrivals import encode, make_data_set, sent


@pytest.fixture
def ledger(database):
    prepare_database(database)
    with closing(Ledger(database, actor="test")) as ledger:
        yield ledger


def at_once(desks, offers):
    """Hand everything over at the same moment, each from a thread of its own; what each heard."""
    together, heard = threading.Barrier(len(offers)), [None] * len(offers)

    def offer(number):
        reception = Receiver(desks[number % len(desks)]).begin(offers[number].arrival)
        reception.write(memoryview(offers[number].data_set))
        together.wait()
        heard[number] = reception.finish()

    threads = [threading.Thread(target=offer, args=(number,)) for number in range(len(offers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for desk in desks:
        flush(desk)
    return heard


def check(ledger, desk):
    """Every file is known, every row has its file, nothing waits, and the audit log is whole."""
    with ledger.reading() as tx:
        assert set(desk.spool.list()) == spooled.known_keys(tx)
        assert list(audit.broken_rows(tx)) == []
    assert [path for path in desk.spool.root.glob("incoming/*/*.slot") if path.stat().st_size] == []


def is_on_disk(desk, offer):
    """Whether the very bytes lie in the spool."""
    return any(desk.spool.path(key).read_bytes().endswith(offer.data_set) for key in desk.spool.list())


def rows(ledger, table):
    with ledger.reading() as tx:
        return views.all_rows(tx, table)


def patients(*names, instance="1.2.3.4"):
    return [
        sent(encode(make_data_set(PatientID=name, SOPInstanceUID=instance)), instance=instance, association=f"A{number}")
        for number, name in enumerate(names)
    ]


def test_of_two_conflicting_senders_exactly_one_is_answered_success(ledger, tmp_path):
    with open_desk(ledger, tmp_path / "spool") as desk:
        for turn in range(30):
            offers = patients("P1", "P2", instance=f"1.2.3.{turn}")
            heard = at_once([desk], offers)
            assert sorted(heard) == [0, 0xC001], turn
            (row,) = [row for row in rows(ledger, "instance") if row["sop_instance_uid"] == f"1.2.3.{turn}"]
            assert row["patient_id"] == ("P1", "P2")[heard.index(0)], "the row is that of whoever heard Success"
        conflicts = [row for row in rows(ledger, "audit") if row["event"] == "instance.conflict"]
        assert len(conflicts) == 30
        assert len({row["detail"]["key"] for row in conflicts}) == 30
        assert [row["code"] for row in rows(ledger, "audit") if row["event"] == "instance.refused"] == ["CONFLICTING_DUPLICATE"] * 30
        check(ledger, desk)


def test_of_twelve_senders_of_three_data_sets_those_of_one_are_answered_success(ledger, tmp_path):
    with open_desk(ledger, tmp_path / "spool") as desk:
        heard = at_once([desk], patients(*["P1", "P2", "P3"] * 4))
        assert sorted(heard) == [0] * 4 + [0xC001] * 8
        assert {number % 3 for number, status in enumerate(heard) if status == 0} == {heard.index(0)}
        assert len(rows(ledger, "instance")) == 1
        assert rows(ledger, "instance")[0]["duplicates"] == 3
        check(ledger, desk)


def test_the_same_bytes_twelve_times_at_once_are_one_instance(ledger, tmp_path):
    with open_desk(ledger, tmp_path / "spool") as desk:
        assert at_once([desk], patients(*["P1"] * 12)) == [0] * 12
        assert rows(ledger, "instance")[0]["duplicates"] == 11
        assert len(list(desk.spool.list())) == 1
        check(ledger, desk)


def test_two_listeners_that_both_answer_success_keep_both_and_say_so(ledger, tmp_path):
    """They cannot know of each other within that moment; the second becomes evidence, and the audit log names it."""
    with open_desk(ledger, tmp_path / "spool") as one, open_desk(ledger, tmp_path / "spool") as other:
        for turn in range(10):
            heard = at_once([one, other], patients("P1", "P2", instance=f"1.2.3.{turn}"))
            assert sorted(heard) in ([0, 0], [0, 0xC001])
        assert len(rows(ledger, "instance")) == 10
        assert len([row for row in rows(ledger, "audit") if row["event"] == "instance.conflict"]) == 10
        assert len(list(one.spool.list())) == 20
        check(ledger, one)


def test_two_listeners_of_the_same_bytes_keep_one(ledger, tmp_path):
    with open_desk(ledger, tmp_path / "spool") as one, open_desk(ledger, tmp_path / "spool") as other:
        for turn in range(10):
            assert at_once([one, other], patients("P1", "P1", instance=f"1.2.3.{turn}")) == [0, 0]
        assert [row["duplicates"] for row in rows(ledger, "instance")] == [1] * 10
        check(ledger, one)


def test_whoever_was_answered_success_finds_his_bytes_whatever_the_others_did(ledger, tmp_path):
    """Two listeners, two data sets, many senders: what one listener refuses may be what the other has answered for."""
    with open_desk(ledger, tmp_path / "spool") as one, open_desk(ledger, tmp_path / "spool") as other:
        for turn in range(12):
            offers = patients(*["P1", "P2", "P2"] * 4, instance=f"1.2.3.{turn}")
            heard = at_once([one, other], offers)
            assert set(heard) <= {0, 0xC001}
            assert all(is_on_disk(one, offer) for offer, status in zip(offers, heard, strict=True)), "the refused ones are evidence"
        assert len(rows(ledger, "instance")) == 12
        check(ledger, one)


def test_evidence_of_the_same_conflict_is_kept_once(ledger, tmp_path):
    with open_desk(ledger, tmp_path / "spool") as desk:
        for number, found in enumerate(patients("P1", "P2", "P2", "P2")):
            assert found.to(Receiver(desk)) == (0xC001 if number else 0)
        flush(desk)
        assert len([key for key in desk.spool.list() if key.startswith("quarantine/")]) == 1
        check(ledger, desk)
