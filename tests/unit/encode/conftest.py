"""What the encoder made of the test source, encoded once for all tests that do not change it."""

import pytest

from node.core.result import EncodedObject
from node.encode.objects import encode
from tests.unit.encode.sources import EQUIPMENT, PIPELINE, Case, make_case


@pytest.fixture(scope="session")
def case() -> Case:
    """An axial source."""
    return make_case()


@pytest.fixture(scope="session")
def objects(case: Case) -> tuple[EncodedObject, ...]:
    """The Segmentation and the report of the axial source."""
    return encode(case.inference, case.job, EQUIPMENT, PIPELINE)
