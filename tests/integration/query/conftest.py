"""A listener in this process that may be asked for what it holds."""

import pytest
from pynetdicom import _config

from tests.integration.query.archive import Archive


@pytest.fixture(autouse=True, scope="module")
def _leave_pynetdicom_as_it_was():
    """All of these are kept by pynetdicom for the whole process."""
    names = ("UNRESTRICTED_STORAGE_SERVICE", "STORE_SEND_CHUNKED_DATASET", "LOG_REQUEST_IDENTIFIERS", "LOG_RESPONSE_IDENTIFIERS")
    before = {name: getattr(_config, name) for name in names}
    yield
    for name, value in before.items():
        setattr(_config, name, value)


@pytest.fixture(scope="module")
def archive_of(tmp_path_factory):
    """Make an archive with a configuration of its own: ``archive_of("name", query={"most_matches": 2})``."""
    return lambda name="node", **options: Archive(tmp_path_factory.mktemp(name), **options)


@pytest.fixture(scope="module")
def archive(archive_of):
    """An open archive for all tests of a module; at the end nothing may be in limbo."""
    with archive_of() as running:
        yield running
        running.check()
