"""What is sent: a SEG and the SR that refers to it, by dcmqi."""

import pytest
from pynetdicom import _config


@pytest.fixture(autouse=True)
def _leave_pynetdicom_as_it_was():
    before = _config.UNRESTRICTED_STORAGE_SERVICE, _config.STORE_SEND_CHUNKED_DATASET
    _config.UNRESTRICTED_STORAGE_SERVICE = False
    yield
    _config.UNRESTRICTED_STORAGE_SERVICE, _config.STORE_SEND_CHUNKED_DATASET = before


@pytest.fixture
def files(test_data):
    """The SEG first: what comes later in a parcel refers to what comes before."""
    folder = test_data / "seg_sr_reference" / "dcmqi_tid1500"
    return [folder / "seg.dcm", folder / "sr.dcm"]
