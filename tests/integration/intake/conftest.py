"""Assemblies on SQLite and on PostgreSQL."""

import pytest

from tests.integration.intake.assembly import Assembly


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """The URL of an empty database of either kind."""
    return f"sqlite:///{tmp_path / 'ledger.db'}" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


@pytest.fixture
def assembly(tmp_path, database):
    with Assembly(tmp_path, database) as running:
        yield running
