"""A listener in this process."""

import pytest
from pynetdicom import _config

from tests.integration.dimse.station import Station


@pytest.fixture(autouse=True)
def _leave_pynetdicom_as_it_was():
    """Both switches are kept by pynetdicom for the whole process."""
    before = _config.UNRESTRICTED_STORAGE_SERVICE, _config.STORE_SEND_CHUNKED_DATASET
    yield
    _config.UNRESTRICTED_STORAGE_SERVICE, _config.STORE_SEND_CHUNKED_DATASET = before


@pytest.fixture
def station(tmp_path):
    """An open listener; at the end, whatever was sent, nothing may be in limbo."""
    with Station(tmp_path / "node") as running:
        yield running
        running.check()


@pytest.fixture
def station_of(tmp_path):
    """Make a listener with options of its own: ``station_of("name", max_associations=2)``."""
    return lambda name, **options: Station(tmp_path / name, **options)
