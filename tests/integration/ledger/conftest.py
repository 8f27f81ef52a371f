"""One suite over both databases: every test that asks for ``ledger`` or ``url`` runs twice."""

from contextlib import closing

import pytest

from node.ledger import audit
from node.ledger.engine import Ledger
from node.ledger.migrate import migrating


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The URL of a new, empty database."""
    return f"sqlite:///{tmp_path}/radnode.db" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


@pytest.fixture
def migrated(url):
    """The URL of a database with our tables in it."""
    with migrating(url):
        pass
    return url


@pytest.fixture
def door(migrated):
    """A ledger that a test may do anything to."""
    with closing(Ledger(migrated, actor="test")) as ledger:
        yield ledger


@pytest.fixture
def ledger(door):
    """A ledger whose audit log must be whole at the end."""
    yield door
    with door.reading() as tx:
        assert list(audit.broken_rows(tx)) == []
