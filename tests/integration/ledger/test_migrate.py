"""The steps of the migration lead to exactly the tables that the code expects, whoever takes them, and however often."""

import re
import select
import signal
import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from node.core.states import CIRCUIT, COMMITMENT, DELIVERY, PLEDGE, STEP, STUDY, WORK, states_of
from node.ledger import schema
from node.ledger.engine import open_engine
from node.ledger.migrate import alembic_config, migrating

MIGRATE = """
import sys
from node.ledger.migrate import migrating
with migrating(sys.argv[1]):
    print("inside", flush=True)
    if sys.argv[2:] == ["wait"]:
        input()
"""


@pytest.fixture
def engine(migrated):
    engine = open_engine(migrated)
    yield engine
    engine.dispose()


@pytest.fixture
def other_url(url, request, tmp_path):
    """A second database of the same kind."""
    return f"sqlite:///{tmp_path}/other.db" if url.startswith("sqlite") else request.getfixturevalue("postgresql").create_database()


def differences(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return compare_metadata(context, schema.metadata)


def reflect(engine):
    """Everything that the database itself says about its tables."""
    found = sa.inspect(engine)
    return {
        table: {
            "columns": [{**column, "type": str(column["type"])} for column in found.get_columns(table)],
            "key": found.get_pk_constraint(table),
            "indexes": sorted((_plain(index) for index in found.get_indexes(table)), key=lambda index: index["name"]),
            "checks": sorted(found.get_check_constraints(table), key=lambda check: check["name"]),
        }
        for table in found.get_table_names()
        if table != "alembic_version"
    }


def _plain(index):
    """An index whose condition can be compared: as text."""
    return {**index, "dialect_options": {name: str(value) for name, value in index.get("dialect_options", {}).items()}}


def test_alembic_finds_no_difference_to_the_schema(engine):
    assert differences(engine) == []


@pytest.mark.parametrize(
    "change", ["DROP INDEX ix_audit_event", "ALTER TABLE work DROP COLUMN summary", "ALTER TABLE study ADD COLUMN x INTEGER"]
)
def test_a_difference_would_be_found(change, engine):
    with engine.begin() as connection:
        connection.execute(sa.text(change))
    assert len(differences(engine)) == 1


def test_the_database_says_the_same_of_our_steps_and_of_the_schema(engine, other_url):
    other = open_engine(other_url)
    schema.metadata.create_all(other)
    assert reflect(engine) == reflect(other)
    assert reflect(engine).keys() == schema.metadata.tables.keys()
    other.dispose()


def test_the_states_that_the_database_knows_are_those_of_the_tables(engine):
    for name in ("study", "work", "delivery", "procedure_step", "commitment", "pledge", "circuit"):
        tables = {
            "study": STUDY,
            "work": WORK,
            "delivery": DELIVERY,
            "procedure_step": STEP,
            "commitment": COMMITMENT,
            "pledge": PLEDGE,
            "circuit": CIRCUIT,
        }
        table = tables[name]
        (check,) = [check for check in sa.inspect(engine).get_check_constraints(name) if check["name"] == f"ck_{name}_state"]
        assert set(re.findall(r"'([\w ]+)'", check["sqltext"])) == set(states_of(table))


def newest():
    """The last of the steps."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def test_migrating_again_changes_nothing(engine, migrated):
    before = reflect(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO audit (n, at, event, actor, detail, hash) VALUES (1, '2026-01-01', 'a.b', 'x', '{}', 'h')"))
    for _ in range(2):
        with migrating(migrated):
            pass
    assert reflect(engine) == before
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT n, event FROM audit")).all() == [(1, "a.b")]
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).all() == [(newest(),)]


def test_processes_that_migrate_at_once_all_succeed(url):
    processes = [subprocess.Popen([sys.executable, "-c", MIGRATE, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    engine = open_engine(url)
    assert differences(engine) == []
    engine.dispose()


@pytest.mark.parametrize("ends", ["orderly", "killed"])
def test_one_migrates_and_the_others_wait_until_it_is_gone(ends, url):
    command = [sys.executable, "-c", MIGRATE, url]
    with (
        subprocess.Popen([*command, "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first,
    ):
        assert first.stdout.readline() == b"inside\n"
        with subprocess.Popen(command, stdout=subprocess.PIPE) as second:
            assert select.select([second.stdout], [], [], 1.5)[0] == [], "the second is still outside"
            if ends == "orderly":
                first.communicate(b"\n")
            else:
                first.send_signal(signal.SIGKILL)
                first.communicate()
            assert second.communicate(timeout=60)[0] == b"inside\n"
            assert second.returncode == 0


def test_a_migration_that_fails_half_way_leaves_nothing_of_itself(url):
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE work (mine INTEGER)"))
    with pytest.raises(sa.exc.DBAPIError, match="already exists"), migrating(url):
        pass
    assert set(sa.inspect(engine).get_table_names()) - {"alembic_version"} == {"work"}
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE work"))
    with migrating(url):
        pass
    assert differences(engine) == []
    engine.dispose()


def test_the_lock_is_given_back_when_the_work_under_it_fails(url):
    with pytest.raises(ZeroDivisionError), migrating(url):
        raise ZeroDivisionError
    with migrating(url):
        pass
