"""One suite over both databases: every test that asks for ``url`` or ``ledger`` runs twice."""

import shutil
from contextlib import closing

import pytest
import sqlalchemy as sa

from node.ledger import audit, schema
from node.ledger.engine import Ledger
from node.ledger.migrate import migrating


def migrate(url):
    with migrating(url):
        pass
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request):
    """Which database."""
    return request.param


@pytest.fixture
def url(kind, request, tmp_path):
    """The URL of a new, empty database."""
    return f"sqlite:///{tmp_path}/radnode.db" if kind == "sqlite" else request.getfixturevalue("postgresql_url")


@pytest.fixture
def migrated(url):
    """The URL of a new database with our tables in it."""
    return migrate(url)


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory):
    """A SQLite file with our tables in it, to be copied."""
    path = tmp_path_factory.mktemp("ledger") / "radnode.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def kept_url(postgresql):
    """A PostgreSQL database with our tables in it, to be emptied before each test."""
    return migrate(postgresql.create_database())


def empty(url):
    """Remove every row, past the triggers."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        for table in schema.metadata.tables:
            connection.execute(sa.text(f"DELETE FROM {table}"))
    engine.dispose()


@pytest.fixture
def door(kind, request, tmp_path):
    """An empty ledger that a test may do anything to, if it leaves the tables as they were."""
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_file"), tmp_path / "kept.db")
        url = f"sqlite:///{tmp_path}/kept.db"
    else:
        url = request.getfixturevalue("kept_url")
        empty(url)
    with closing(Ledger(url, actor="test")) as ledger:
        yield ledger


@pytest.fixture
def ledger(door):
    """A ledger whose audit log must be whole at the end."""
    yield door
    with door.reading() as tx:
        assert list(audit.broken_rows(tx)) == []
