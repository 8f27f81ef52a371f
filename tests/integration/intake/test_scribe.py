"""What is handed over is written in its order, whatever the database does meanwhile, and one bad fact harms no other."""

import sqlite3
import threading
import time
from contextlib import closing

import pytest

from node.core.errors import NotEnoughDisk
from node.core.study import Accepted
from node.intake.receive import Receiver
from node.intake.scribe import Fact, Scribe
from node.ledger import audit, instances, views
from node.ledger.engine import Ledger
from node.spool.draft import Draft, name_all
from tests.databases import prepare_database
from tests.integration.desk import flush, open_desk
from tests.integration.ledger.made import make_instance
from tests.peers import PostgreSQL, wait_until
from tests.unit.intake.arrivals import PEER, encode, make_data_set, sent


@pytest.fixture
def ledger(database):
    prepare_database(database)
    with closing(Ledger(database, actor="test")) as ledger:
        yield ledger
        with ledger.reading() as tx:
            assert list(audit.broken_rows(tx)) == []


@pytest.fixture
def scribe(ledger):
    scribe = Scribe(ledger, name_all)
    scribe.start()
    yield scribe
    scribe.stop()


def note(name, **options):
    return Fact(write=lambda tx: audit.record(tx, "test.written", {"name": name}), **options)


def accepted(number, association="A1", **changes):
    found = sent(b"", association=association)
    return Fact(accepted=Accepted(instance=make_instance(number, **changes), arrival=found.arrival))


def names(ledger):
    with ledger.reading() as tx:
        return [row.detail.get("name", row.event) for row in views.since(tx, 0)]


def held(ledger):
    with ledger.reading() as tx:
        return {row["sop_instance_uid"] for row in views.all_rows(tx, "instance")}


def test_a_stream_that_does_not_pause_is_written_before_it_fills_a_batch(ledger, scribe):
    over, poured = threading.Event(), []

    def pour():
        while not over.wait(0.01):
            poured.extend(scribe.hand_over(note("later")) for _ in range(5))

    first, stream = scribe.hand_over(note("first")), threading.Thread(target=pour)
    first.add_done_callback(lambda _: over.set())
    stream.start()
    stream.join(60)
    assert first.done()
    assert 0 < len(poured) < 400  # a batch is full with 500


def test_facts_are_written_in_the_order_in_which_they_came(ledger, scribe):
    for number in range(1200):
        scribe.hand_over(note(number))
    scribe.hand_over(note("last")).result(60)
    assert names(ledger) == [*range(1200), "last"]


def test_instances_and_other_facts_keep_their_order_within_a_batch(ledger, scribe):
    facts = [note("first"), accepted(1), accepted(2), note("between"), accepted(3), note("last")]
    for fact in facts:
        scribe.hand_over(fact)
    flush_of = scribe.hand_over(note("end"))
    flush_of.result(30)
    written = [name for name in names(ledger) if name != "study.opened"]
    assert written == ["first", "instance.received", "instance.received", "between", "instance.received", "last", "end"]


def test_a_fact_is_done_when_it_can_be_read(ledger, scribe):
    for number in range(5):
        scribe.hand_over(accepted(number)).result(30)
        assert len(held(ledger)) == number + 1


def test_who_hands_over_is_told_after_the_commit(ledger, scribe):
    seen = []
    told = scribe.hand_over(note("x"))
    told.add_done_callback(lambda _: seen.append(names(ledger)))
    told.result(30)
    wait_until(lambda: seen == [["x"]], seconds=5, sentence="nobody was told")


def test_bytes_have_their_final_name_before_the_row_and_leave_incoming_behind_it(ledger, scribe, tmp_path):
    draft = Draft(final=tmp_path / "study" / "final", waiting=tmp_path / "waiting")
    draft.waiting.write_bytes(b"x")
    seen = []

    def look(tx):
        seen.append((draft.final.exists(), draft.waiting.exists()))

    scribe.hand_over(Fact(write=look, draft=draft)).result(30)
    assert seen == [(True, True)]
    assert (draft.final.exists(), draft.waiting.exists()) == (True, False)


def test_a_folder_that_gives_no_names_holds_up_the_row_and_loses_nothing(ledger, scribe, tmp_path):
    (tmp_path / "study").write_bytes(b"a file where a folder must be")
    draft = Draft(final=tmp_path / "study" / "final", waiting=tmp_path / "waiting")
    draft.waiting.write_bytes(b"x")
    told = scribe.hand_over(note("x", draft=draft))
    with pytest.raises(TimeoutError):
        told.result(1.5)
    assert names(ledger) == []
    (tmp_path / "study").unlink()
    told.result(30)
    assert (tmp_path / "study" / "final").read_bytes() == b"x"
    assert names(ledger) == ["x"]


def test_bytes_that_are_gone_take_no_other_fact_with_them(ledger, scribe, tmp_path):
    gone = note("gone", draft=Draft(final=tmp_path / "final", waiting=tmp_path / "gone"))
    for fact in (note("before"), gone, note("after")):
        scribe.hand_over(fact)
    scribe.hand_over(note("end")).result(30)
    assert isinstance(gone.done.exception(30), FileNotFoundError)
    assert names(ledger) == ["before", "after", "end"]


def broken(tx):
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "poison", [Fact(write=broken), accepted(5, modality="X\0\ud800")], ids=["a fault of ours", "what no database takes"]
)
def test_a_fact_that_cannot_be_written_takes_no_other_with_it(poison, ledger, scribe):
    """The poisoned one is told so; its file stays in incoming, where the next start finds it."""
    poison = Fact(accepted=poison.accepted, write=poison.write)
    before, after = [accepted(1), note("before")], [note("after"), accepted(2)]
    for fact in [*before, poison, *after]:
        scribe.hand_over(fact)
    for fact in [*before, *after]:
        fact.done.result(30)
    assert isinstance(poison.done.exception(30), Exception)
    assert held(ledger) == {make_instance(1).sop_instance_uid, make_instance(2).sop_instance_uid}
    assert [name for name in names(ledger) if name in ("before", "after")] == ["before", "after"]


def test_a_file_that_cannot_be_settled_does_not_end_the_writing(ledger, scribe, tmp_path):
    draft = Draft(final=tmp_path / "final", waiting=tmp_path / "waiting")
    draft.waiting.write_bytes(b"x")

    def make_it_immovable(tx):
        draft.waiting.unlink()
        draft.waiting.mkdir()  # what is a folder cannot be unlinked
        audit.record(tx, "test.written", {"name": "first"})

    scribe.hand_over(Fact(write=make_it_immovable, draft=draft))
    scribe.hand_over(note("second")).result(30)
    assert names(ledger) == ["first", "second"]


def test_what_was_handed_over_before_the_end_is_written(ledger):
    scribe = Scribe(ledger, name_all)
    scribe.start()
    for number in range(700):
        scribe.hand_over(note(number))
    scribe.stop()
    assert len(names(ledger)) == 700


def test_the_end_does_not_wait_for_a_database_that_stays_away(tmp_path):
    with PostgreSQL(durable=True) as server:
        url = server.create_database()
        prepare_database(url)
        with closing(Ledger(url, actor="test")) as ledger:
            scribe = Scribe(ledger, name_all)
            scribe.start()
            server.crash()
            scribe.hand_over(note("x"))
            before = time.monotonic()
            scribe.stop(1)
            assert time.monotonic() - before < 5
            server.start()
            scribe.join(30)
            assert names(ledger) == ["x"], "while the process lives, it goes on trying"


def test_many_threads_hand_over_and_nothing_is_lost(ledger, scribe):
    def hand_over(name):
        for number in range(50):
            scribe.hand_over(note(f"{name}-{number}"))

    threads = [threading.Thread(target=hand_over, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scribe.hand_over(note("end")).result(60)
    found = names(ledger)
    assert len(found) == 401
    for name in "abcdefgh":
        assert [text for text in found if text.startswith(name + "-")] == [f"{name}-{number}" for number in range(50)]


def fill(scribe):
    while True:
        scribe.check_room()
        scribe.hand_over(Fact())


def test_when_too_much_waits_senders_are_told_to_come_again(ledger):
    scribe = Scribe(ledger, name_all)  # not started: like a database that does not answer
    with pytest.raises(NotEnoughDisk) as caught:
        fill(scribe)
    assert (caught.value.status, caught.value.full_code) == (0xA700, "NOT_ENOUGH_DISK.database")


def store(desk, number):

    uid = f"1.2.3.{number}"
    return sent(encode(make_data_set(SOPInstanceUID=uid)), instance=uid).to(Receiver(desk))


def test_while_postgresql_is_away_nothing_that_was_answered_is_lost(tmp_path):
    """Ten seconds: what it cannot be asked about is refused, what it was asked about before its end is written when it is back."""
    with PostgreSQL(durable=True) as server:
        url = server.create_database()
        prepare_database(url)
        with closing(Ledger(url, actor="test")) as ledger, open_desk(ledger, tmp_path / "spool") as desk:
            answered = {f"1.2.3.{number}" for number in range(1, 20) if store(desk, number) == 0}
            server.crash()
            assert len(answered) == 19
            deadline, number = time.monotonic() + 10, 100
            while time.monotonic() < deadline:
                number += 1
                assert store(desk, number) == 0xA700
                time.sleep(0.5)
            server.start()
            wait_until(lambda: store(desk, 99) == 0, seconds=20, sentence="nothing is taken any more")
            flush(desk)
            assert held(ledger) == answered | {"1.2.3.99"}
            with ledger.reading() as tx:
                assert list(audit.broken_rows(tx)) == []


def test_while_sqlite_is_locked_everything_is_taken_and_written_afterwards(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    prepare_database(url)
    with closing(Ledger(url, actor="test")) as ledger, open_desk(ledger, tmp_path / "spool") as desk:
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            deadline, number = time.monotonic() + 10, 0
            while time.monotonic() < deadline:
                number += 1
                before = time.monotonic()
                assert store(desk, number) == 0
                assert time.monotonic() - before < 5
                time.sleep(0.05)
            assert held(ledger) == set()
            other.execute("ROLLBACK")
        flush(desk)
        assert held(ledger) == {f"1.2.3.{found}" for found in range(1, number + 1)}
        assert list((tmp_path / "spool" / "incoming").rglob("*.part")) == []
        assert [path for path in (tmp_path / "spool" / "incoming").rglob("*.slot") if path.stat().st_size] == []


def test_what_no_longer_fits_beside_what_waits_is_refused_and_kept_for_the_next_start(tmp_path):
    """The scribe takes no more: the sender is told to come again, and what it sends again is welcome."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    prepare_database(url)
    with closing(Ledger(url, actor="test")) as ledger, open_desk(ledger, tmp_path / "spool") as desk:
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(NotEnoughDisk):
                fill(desk.scribe)
            assert store(desk, 1) == 0xA700
            other.execute("ROLLBACK")
        wait_until(lambda: store(desk, 1) == 0, seconds=20, sentence="it is refused for ever", pause=0.2)
        flush(desk)
        assert held(ledger) == {"1.2.3.1"}
        assert len(list(desk.spool.list())) == 1


def test_associations_are_written_down_by_the_same_hand(ledger, scribe):
    for event in ("accepted", "released"):
        scribe.hand_over(Fact(write=lambda tx, event=event: instances.record_association(tx, event, "A1", PEER)))
    scribe.hand_over(note("end")).result(30)
    assert names(ledger) == ["association.accepted", "association.released", "end"]
