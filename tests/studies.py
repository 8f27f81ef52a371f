"""Fixtures of whole-node tests: a phantom study on disk, and a database of either kind."""

from pathlib import Path

import pytest

from pipelines.phantom import ChestPhantom, make_chest_ct, write_datasets
from tests.databases import prepare_database


@pytest.fixture(scope="session")
def phantom() -> ChestPhantom:
    return make_chest_ct(study_name="end to end")


@pytest.fixture
def study(phantom: ChestPhantom, tmp_path: Path) -> list[Path]:
    folder = tmp_path / "study"
    folder.mkdir()
    return write_datasets(phantom.datasets, folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of a new database; empty for SQLite in the node's folder."""
    return "" if request.param == "sqlite" else prepare_database(request.getfixturevalue("postgresql_url"))
