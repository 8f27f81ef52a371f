"""The audit log is append-only, gapless and chained: whatever is done to it behind our back is found."""

import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from node.ledger import audit, schema, views
from tests.integration.ledger.made import events, execute, only_postgresql, only_sqlite, rows

ROWS = 6
FULL = {
    "association_id": "association-1",
    "study_instance_uid": "1.2",
    "revision": 1,
    "series_instance_uid": "1.2.3",
    "sop_instance_uid": "1.2.3.4",
    "work_id": "work-1",
    "destination": "pacs",
    "code": "GEOMETRY.gap",
}


def broken(ledger):
    with ledger.reading() as tx:
        return list(audit.broken_rows(tx))


@pytest.fixture
def opened(door):
    """An audit log of six rows without its triggers: what someone with the database's password can do."""
    for number in range(1, ROWS + 1):
        door.write(lambda tx, number=number: audit.record(tx, "test.written", {"number": number}, **FULL))
    door.write(lambda tx: audit.record(tx, "test.bare"))
    assert broken(door) == []
    if door.is_sqlite:
        execute(door, "DROP TRIGGER audit_no_update")
        execute(door, "DROP TRIGGER audit_no_delete")
    else:
        execute(door, "ALTER TABLE audit DISABLE TRIGGER audit_no_change")
    yield door
    if not door.is_sqlite:
        execute(door, "ALTER TABLE audit ENABLE TRIGGER audit_no_change")


def test_a_row_says_what_who_when_and_about_what(ledger):
    at = ledger.write(lambda tx: audit.record(tx, "test.written", {"number": 1}, **FULL))
    with ledger.reading() as tx:
        (row,) = views.since(tx, 0)
    assert (row.n, row.event, row.actor, row.at, row.detail) == (1, "test.written", "test", at, {"number": 1})
    assert {name: getattr(row, name) for name in FULL} == FULL
    assert at.tzinfo is UTC
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60


def test_rows_are_numbered_without_a_gap_from_one(ledger):
    for _ in range(5):
        ledger.write(lambda tx: audit.record(tx, "test.written"))
    found = rows(ledger, "audit")
    assert sorted(row["n"] for row in found) == [1, 2, 3, 4, 5]
    assert len({row["hash"] for row in found}) == 5


def test_several_rows_of_one_transaction_are_chained_too(ledger):
    ledger.write(lambda tx: [audit.record(tx, "test.written", {"number": number}) for number in range(4)])
    assert len(rows(ledger, "audit")) == 4


def test_a_transaction_that_is_rolled_back_leaves_no_row_and_no_gap(ledger):
    def fail(tx):
        audit.record(tx, "test.lost")
        raise ZeroDivisionError

    ledger.write(lambda tx: audit.record(tx, "test.first"))
    with pytest.raises(ZeroDivisionError):
        ledger.write(fail)
    ledger.write(lambda tx: audit.record(tx, "test.second"))
    assert events(ledger) == ["test.first", "test.second"]


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {"a": None, "b": True, "c": 1, "d": 1.0, "e": -0.0, "f": 1e-300, "g": 0.1 + 0.2, "h": 2**70},
        {"text": "ÄÖ \N{SNOWMAN} \U0001f9b4 \0 \n \" \\ '; DROP TABLE audit; --"},
        {"nested": {"z": [1, {"y": ()}], "a": (1, 2)}},
        {"numbers as keys": {10: "ten", 9: "nine", 1: "one"}},
        {"order": {"b": 1, "a": 2}},
    ],
    ids=["empty", "numbers", "text", "tuples", "keys", "order"],
)
def test_whatever_json_holds_is_read_as_it_was_hashed(detail, ledger):
    ledger.write(lambda tx: audit.record(tx, "test.written", detail))
    assert broken(ledger) == []


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit SET event = 'x'", "UPDATE audit SET n = n + 1", "DELETE FROM audit", "DELETE FROM audit WHERE n = 1"],
)
def test_the_database_itself_refuses_changes(statement, ledger):
    ledger.write(lambda tx: audit.record(tx, "test.written"))
    with pytest.raises(sa.exc.DBAPIError, match="append-only"):
        execute(ledger, statement)
    assert events(ledger) == ["test.written"]


@only_postgresql  # SQLite has no TRUNCATE
def test_the_database_itself_refuses_to_truncate(ledger):
    ledger.write(lambda tx: audit.record(tx, "test.written"))
    with pytest.raises(sa.exc.DBAPIError, match="append-only"):
        execute(ledger, "TRUNCATE audit")
    assert events(ledger) == ["test.written"]


NEW = {"at": "2020-01-01 00:00:00.000000", "event": "test.other", "actor": "nobody", "revision": 2}
NEW |= {"detail": '{"number": 7}', "hash": "0" * 64}
NEW |= {name: "changed" for name in FULL if name != "revision"}


def test_every_column_is_changed_below():
    assert NEW.keys() | {"n"} == set(schema.audit.c.keys())


@pytest.mark.parametrize("number", [1, 3, ROWS])
@pytest.mark.parametrize("column", NEW)
def test_a_field_that_was_changed_is_found(column, number, opened):
    kind = {"at": "CAST(:new AS TIMESTAMPTZ)", "detail": "CAST(:new AS JSON)"}.get(column, ":new") if not opened.is_sqlite else ":new"
    execute(opened, f"UPDATE audit SET {column} = {kind} WHERE n = :n", new=NEW[column], n=number)
    assert [text for text in broken(opened) if text.startswith((f"row {number} ", f"row {number + 1} "))]


@pytest.mark.parametrize("column", FULL)
def test_a_field_that_was_emptied_or_filled_is_found(column, opened):
    execute(opened, f"UPDATE audit SET {column} = NULL WHERE n = 2")
    assert len(broken(opened)) == 1
    execute(opened, f"UPDATE audit SET {column} = :value WHERE n = 2", value=FULL[column])
    assert broken(opened) == []
    execute(opened, f"UPDATE audit SET {column} = :value WHERE n = :last", value=FULL[column], last=ROWS + 1)
    assert len(broken(opened)) == 1


@pytest.mark.parametrize("gone", ["n = 1", "n = 3", "n IN (2, 3, 4)", "n < 4"])
def test_rows_that_were_taken_out_are_found(gone, opened):
    execute(opened, f"DELETE FROM audit WHERE {gone}")
    said = broken(opened)
    assert any("missing" in text for text in said)
    assert any("was changed" in text for text in said), "closing the gap in the numbers would not hide it"


def test_rows_that_were_taken_out_and_numbered_anew_are_found(opened):
    execute(opened, "DELETE FROM audit WHERE n = 3")
    for number in range(4, ROWS + 2):
        execute(opened, f"UPDATE audit SET n = {number - 1} WHERE n = {number}")
    assert len(broken(opened)) >= 1


@pytest.mark.parametrize("place", [0, -3, 3.5, ROWS + 2, ROWS + 9])
def test_a_row_that_was_put_in_is_found(place, opened):
    number = place
    if place == 3.5:  # make room in the middle
        for row in range(ROWS + 1, 3, -1):
            execute(opened, f"UPDATE audit SET n = {row + 1} WHERE n = {row}")
        number = 4
    execute(
        opened,
        "INSERT INTO audit (n, at, event, actor, detail, hash) SELECT :n, at, event, actor, detail, hash FROM audit WHERE n = 2",
        n=number,
    )
    assert len(broken(opened)) >= 1


def test_rows_that_changed_places_are_found(opened):
    for old, new in ((2, 1000), (3, 2), (1000, 3)):
        execute(opened, f"UPDATE audit SET n = {new} WHERE n = {old}")
    assert len(broken(opened)) >= 2


def test_a_row_that_was_rewritten_with_a_fitting_hash_breaks_the_next(opened):
    original = rows(opened, "audit")
    with opened.writing() as tx:
        forged = {**original[2], "event": "test.forged"}
        value = audit._hash(original[1]["hash"], forged)
        tx.execute(schema.audit.update().where(schema.audit.c.n == 3).values(event="test.forged", hash=value))
    assert broken(opened) == ["row 4 (test.written) or the one before it was changed"]


def test_cutting_off_the_newest_rows_is_beyond_a_chain(opened):
    """Known and documented: who keeps a copy of the last hash elsewhere finds this too."""
    execute(opened, "DELETE FROM audit WHERE n > 4")
    assert broken(opened) == []


@only_sqlite
def test_replacing_a_row_goes_past_the_triggers_and_is_found(door):
    for _ in range(3):
        door.write(lambda tx: audit.record(tx, "test.written"))
    columns = "at, event, actor, detail, hash"
    execute(door, f"INSERT OR REPLACE INTO audit (n, {columns}) SELECT n, {columns.replace('event', repr('x.y'))} FROM audit WHERE n = 2")
    assert len(broken(door)) == 1


def test_two_processes_writing_at_once_keep_the_chain_whole(ledger):
    command = [sys.executable, Path(__file__).with_name("writer.py"), ledger.url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*command, name, "50"], **pipes) for name in ("one", "other")]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 2
    for writer in writers:
        print(file=writer.stdin, flush=True)
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0, 0]
    found = sorted(rows(ledger, "audit"), key=lambda row: row["n"])
    assert [row["n"] for row in found] == list(range(1, 101))
    assert Counter(row["actor"] for row in found) == {"one": 50, "other": 50}
    assert broken(ledger) == []
