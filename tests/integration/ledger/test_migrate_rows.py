"""A database with rows is brought up to date from every older step, and every row is as it was."""

import re
from datetime import UTC, datetime
from itertools import pairwise

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from node.ledger import schema
from node.ledger.engine import open_engine
from node.ledger.migrate import alembic_config, migrating

STEPS = sorted(step.revision for step in ScriptDirectory.from_config(alembic_config()).walk_revisions())
NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
ROWS = 3
WORDS = {("work", "kind"): "infer", ("work", "destination"): None, ("hold", "kind"): "pipeline"}


@pytest.fixture
def engine(url):
    engine = open_engine(url)
    yield engine
    engine.dispose()


def upgrade(engine, revision):
    config = alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def value_of(column, number):
    """Something that the column takes, and that tells the rows apart."""
    if (column.table.name, column.name) in WORDS:
        return WORDS[column.table.name, column.name]
    kinds = {sa.DateTime: NOW.replace(tzinfo=None), sa.Integer: number, sa.BigInteger: number, sa.Float: float(number), sa.JSON: "[]"}
    for kind, value in kinds.items():
        if isinstance(column.type, kind):
            return value
    return f"{column.name[:4]}{number}"


def a_state_of(engine, name):
    """One that the table takes as it is now."""
    checks = sa.inspect(engine).get_check_constraints(name)
    (check,) = [check for check in checks if check["name"] == f"ck_{name}_state"]
    return re.findall(r"'([\w ]+)'", check["sqltext"])[0]


def fill(engine):
    """Put rows into every table that there is, by what the database itself says of its columns."""
    found = sa.MetaData()
    found.reflect(engine)
    states = {name: a_state_of(engine, name) for name, table in found.tables.items() if "state" in table.columns}
    with engine.begin() as connection:
        for name in sorted(set(found.tables) - {"alembic_version"}):
            table = found.tables[name]
            for number in range(1, ROWS + 1):
                row = {column.name: value_of(column, number) for column in table.columns}
                row |= {"state": states[name]} if name in states else {}
                connection.execute(table.insert().values({key: value for key, value in row.items() if value is not None}))


def rows_of(engine, columns=None):
    """Every row, of those columns that there were."""
    found = sa.MetaData()
    found.reflect(engine)
    names = columns or {
        name: [column.name for column in table.columns] for name, table in found.tables.items() if name != "alembic_version"
    }
    with engine.connect() as connection:
        return names, {
            name: sorted(map(str, connection.execute(sa.select(*(found.tables[name].c[column] for column in kept))).all()))
            for name, kept in names.items()
        }


@pytest.mark.parametrize("step", STEPS[:-1])
def test_rows_survive_every_step_from(step, engine, url):
    upgrade(engine, step)
    fill(engine)
    columns, before = rows_of(engine)
    with migrating(url):
        pass
    assert rows_of(engine, columns)[1] == before
    assert all(len(rows) == ROWS for rows in before.values())
    assert before.keys() >= {"instance", "study", "work", "delivery", "audit"}
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []
        assert len(connection.execute(sa.text("SELECT * FROM delivered")).all()) == 0  # no parcel has one of these deliveries


def test_the_steps_are_one_row():
    script = ScriptDirectory.from_config(alembic_config())
    assert len(script.get_heads()) == 1
    assert all(script.get_revision(after).down_revision == before for before, after in pairwise(STEPS))
