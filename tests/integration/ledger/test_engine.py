"""The door to the database: durable, one writer at a time, patient with a database that is away, and with nothing else."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from node.core.errors import StorageError, Verdict
from node.ledger import audit, schema
from node.ledger.engine import Ledger, database_now
from node.ledger.migrate import migrating
from tests.integration.ledger.made import accept, events, execute, make_instance, only_sqlite, row, snapshot
from tests.peers import PostgreSQL, free_port


def count(tx):
    return tx.execute(sa.select(sa.func.count()).select_from(schema.audit)).scalar_one()


@only_sqlite  # PostgreSQL is durable unless its administrator says otherwise
def test_sqlite_commits_to_the_disk(ledger):
    with ledger.writing() as tx:
        found = {name: tx.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("journal_mode", "synchronous", "foreign_keys")}
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_what_fails_is_rolled_back_whole(ledger):
    before = snapshot(ledger)
    at = datetime.now(UTC)
    values = {"study_instance_uid": "1", "revision": 1, "state": "open", "instances": 1, "opened_at": at, "last_activity_at": at}

    def fail(tx):
        audit.record(tx, "test.written")
        tx.execute(schema.study.insert().values(**values))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), ledger.writing() as tx:
        fail(tx)
    assert snapshot(ledger) == before


def test_times_come_back_in_utc_whatever_zone_they_went_in_with(ledger):
    at = datetime(2026, 11, 20, 23, 30, 15, 123456, tzinfo=timezone(timedelta(hours=-5)))
    values = {"study_instance_uid": "1", "revision": 1, "state": "open", "instances": 1, "opened_at": at, "last_activity_at": at}
    with ledger.writing() as tx:
        tx.execute(schema.study.insert().values(**values))
    found = row(ledger, "study", study_instance_uid="1")
    assert found["opened_at"] == at
    assert found["opened_at"].utcoffset() == timedelta(0)
    assert found["completed_at"] is None


def test_a_time_without_its_zone_is_refused(ledger):
    naive = datetime(2026, 11, 20)  # noqa: DTZ001 - that is what must be refused
    with pytest.raises(sa.exc.StatementError, match="without its zone"), ledger.writing() as tx:
        tx.execute(schema.study.update().values(opened_at=naive))


def test_the_databases_clock_is_in_utc_and_does_not_stand_still_in_a_transaction(ledger):
    with ledger.writing() as tx:
        first = database_now(tx)
        later = first
        for _ in range(100_000):
            if (later := database_now(tx)) > first:
                break
    assert later > first
    assert abs((datetime.now(UTC) - first).total_seconds()) < 60


def test_a_reader_sees_one_moment_and_holds_nobody_up(ledger):
    ledger.write(lambda tx: audit.record(tx, "test.first"))
    with ledger.reading() as reader:
        assert count(reader) == 1
        ledger.write(lambda tx: audit.record(tx, "test.second"))
        assert count(reader) == 1
    with ledger.reading() as reader:
        assert count(reader) == 2


def test_a_writer_does_not_hold_readers_up(ledger):
    with ledger.writing() as tx:
        audit.record(tx, "test.first")
        with ledger.reading() as reader:
            assert count(reader) == 0


def test_writers_take_turns(ledger):
    """Two that read, think and write: without turns they would number their rows alike."""
    barrier = threading.Barrier(4)

    def write(name):
        with closing(Ledger(ledger.url, actor=name)) as mine:
            barrier.wait(10)
            for _ in range(10):
                with mine.writing() as tx:
                    before = count(tx)
                    audit.record(tx, "test.written", {"before": before})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    with ledger.reading() as tx:
        details = tx.execute(sa.select(schema.audit.c.detail).order_by(schema.audit.c.n)).scalars().all()
    assert [detail["before"] for detail in details] == list(range(40))


def test_a_change_is_tried_again_while_the_database_is_away(ledger):
    turns = []

    def change(tx):
        turns.append(1)
        audit.record(tx, "test.written", {"turn": len(turns)})
        if len(turns) < 3:
            raise StorageError("away")
        return len(turns)

    assert ledger.write(change) == 3
    assert events(ledger) == ["test.written"]


def test_patience_ends_with_the_reason(ledger):
    def change(tx):
        raise StorageError("away", reason="database")

    with pytest.raises(StorageError) as caught:
        ledger.write(change, patience_s=0.2)
    assert caught.value.full_code == "STORAGE.database"


def test_our_own_mistakes_are_not_tried_again(ledger):
    accept(ledger, make_instance())
    turns = []

    def change(tx):
        turns.append(1)
        tx.execute(schema.audit.insert().values(n=1, at=datetime.now(UTC), event="a.b", actor="x", detail={}, hash="h"))

    with pytest.raises(sa.exc.IntegrityError):
        ledger.write(change)
    assert len(turns) == 1


@pytest.mark.parametrize("place", ["closed port", "folder", "no such server"])
def test_a_database_that_cannot_be_reached_is_a_storage_error_without_its_password(place, tmp_path):
    url = {
        "closed port": f"postgresql://u:hunter2@127.0.0.1:{free_port()}/n",
        "folder": f"sqlite:///{tmp_path}",
        "no such server": "postgresql://u:hunter2@host.invalid/n",
    }[place]
    with closing(Ledger(url, actor="test")) as ledger:
        for door in (ledger.writing, ledger.reading, ledger.beating):
            with pytest.raises(StorageError) as caught, door():
                pass
            assert caught.value.full_code == "STORAGE.database"
            assert caught.value.verdict is Verdict.RETRY
            assert not re.search(r"hunter2|SELECT", str(caught.value))


def test_when_every_connection_is_in_use_it_will_be_tried_again(ledger):
    ledger._engine.pool._timeout = 0.1
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(ledger.reading()).execute(sa.text("SELECT 1"))
        with pytest.raises(StorageError, match="in use"), ledger.beating():
            pass
    with ledger.beating() as tx:
        assert tx.execute(sa.text("SELECT 1")).scalar_one() == 1


def test_a_lock_that_is_held_is_waited_for(ledger):
    held, done = threading.Event(), threading.Event()

    def hold():
        with closing(Ledger(ledger.url, actor="other")) as other, other.writing() as tx:
            audit.record(tx, "test.first")
            held.set()
            done.wait(0.5)

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        assert held.wait(10)
        ledger.write(lambda tx: audit.record(tx, "test.second"))
        done.set()
        holder.result()
    assert events(ledger) == ["test.first", "test.second"]


def test_a_server_that_crashes_and_comes_back_loses_no_write():
    with PostgreSQL(durable=True) as server:
        url = server.create_database()
        with migrating(url):
            pass
        with closing(Ledger(url, actor="test")) as ledger:
            ledger.write(lambda tx: audit.record(tx, "test.first"))
            server.crash()
            with ThreadPoolExecutor(1) as pool:
                written = pool.submit(ledger.write, lambda tx: audit.record(tx, "test.second"), patience_s=60.0)
                server.start()
                written.result(60)
            assert events(ledger) == ["test.first", "test.second"]
            execute(ledger, "SELECT 1")
