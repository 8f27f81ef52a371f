"""What every test may use: the DICOM files of the developers' collection, and real peers (``tests/peers.py``)."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long one example takes says something of the machine, and nothing of the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

pytest_plugins = ["tests.peers", "tests.studies", "tests.stores"]

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with the developers' DICOM collection; too large for the repository."""
    folder = Path(os.environ.get("RADNODE_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        sentence = f"there are no DICOM test data at {folder}: set RADNODE_TEST_DATA to the folder that holds ct_chest_lidc0001"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return folder


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs a CUDA device where there is none; torch is loaded only when such a test is selected."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA device on this machine")
