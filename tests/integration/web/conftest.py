"""An HTTP port in this process."""

import pytest
from pynetdicom import _config

from tests.integration.web.station import WebStation


@pytest.fixture(autouse=True)
def _leave_pynetdicom_as_it_was():
    before = _config.UNRESTRICTED_STORAGE_SERVICE, _config.STORE_SEND_CHUNKED_DATASET
    yield
    _config.UNRESTRICTED_STORAGE_SERVICE, _config.STORE_SEND_CHUNKED_DATASET = before


@pytest.fixture
def station(tmp_path):
    """An open port; at the end, whatever was sent, nothing may be in limbo."""
    with WebStation(tmp_path / "node") as running:
        yield running
        running.check()


@pytest.fixture
def station_of(tmp_path):
    """Make a port with options of its own: ``station_of("name", max_requests=2)``."""
    return lambda name, **options: WebStation(tmp_path / name, **options)
