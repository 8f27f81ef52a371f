"""The nodule demonstration: what its weights find in a chest that they have not seen."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.catalog import check_digest, load_entry
from pipelines.conformance import conform
from pipelines.laterality import read_known_case
from pipelines.phantom import make_chest_ct
from pipelines.result import Boxes, SeriesFiles
from pipelines.runner import Runner
from pipelines.series import read_headers
from tests.nodules import BUNDLE, HELD_OUT, STEP_MM, as_series, is_hit, make_case
from tests.phantoms import write_series

REPOSITORY = Path(__file__).parents[3]
#: Middle of the outline in ct_chest_lidc0001/seg.
ANNOTATED_MM = np.array([56.5, 85.6, -115.0])


@pytest.fixture(scope="module")
def case() -> Any:
    return make_case(HELD_OUT)


@pytest.fixture(scope="module")
def found(case: Any, tmp_path_factory: pytest.TempPathFactory) -> Boxes:
    """What the pipeline finds in the case as a CT series."""
    entry = load_entry(REPOSITORY / "pipelines" / "ct_lung_nodules" / "pipeline.toml", REPOSITORY / "models")
    output = Runner(entry, "cpu").run(write_series(as_series(case), tmp_path_factory.mktemp("chest"))).output
    assert isinstance(output, Boxes)
    return output


def test_the_weights_are_the_pinned_ones() -> None:
    check_digest(BUNDLE)
    assert (BUNDLE / "models" / "model.pt").stat().st_size < 1_000_000


def test_boxes_come_back_to_where_they_were() -> None:
    folder = REPOSITORY / "pipelines" / "ct_lung_nodules"
    known = read_known_case(folder / "known_case.toml")
    assert known is not None
    report = conform(load_entry(folder / "pipeline.toml", REPOSITORY / "models"), scene=known.scene)
    assert report.passed, report
    assert len(report.checks) == 2


def test_the_same_seed_is_the_same_chest(case: Any) -> None:
    again = make_case(HELD_OUT)
    np.testing.assert_array_equal(again.hounsfield, case.hounsfield)
    # Classes of two loads of the bundle are not the same, their values are.
    assert [str(nodule) for nodule in again.nodules] == [str(nodule) for nodule in case.nodules]


def test_nodules_of_a_chest_that_was_never_seen_are_found(case: Any, found: Boxes) -> None:
    hits = [any(is_hit(case, nodule, box.center_mm) for box in found.boxes) for nodule in case.nodules]
    assert len(hits) >= 3
    assert sum(hits) / len(hits) >= 0.6


def test_little_else_is_found_with_a_high_score(case: Any, found: Boxes) -> None:
    sure = [box for box in found.boxes if box.score >= 0.9]
    false = [box for box in sure if not any(is_hit(case, nodule, box.center_mm) for nodule in case.nodules)]
    assert len(sure) >= 3
    assert len(false) <= 2


def test_where_there_is_no_lung_there_is_no_candidate(tmp_path: Path) -> None:
    datasets = make_chest_ct(shape=(45, 48, 48), spacing_mm=(STEP_MM,) * 3).datasets
    soft_tissue = np.random.default_rng(0).integers(1024 + 20, 1024 + 60, (45, 48, 48)).astype("<u2")
    soft_tissue[:, :12] = 24
    for dataset, plane in zip(datasets, soft_tissue, strict=True):
        dataset.PixelData = plane.tobytes()
    entry = load_entry(REPOSITORY / "pipelines" / "ct_lung_nodules" / "pipeline.toml", REPOSITORY / "models")
    output = Runner(entry, "cpu").run(write_series(datasets, tmp_path)).output
    assert isinstance(output, Boxes)
    assert output.boxes == ()


def test_the_nodule_of_a_real_chest_is_the_first_candidate(test_data: Path) -> None:
    paths = tuple(sorted((test_data / "ct_chest_lidc0001" / "ct").iterdir()))
    (header,) = read_headers(paths[:1])
    entry = load_entry(REPOSITORY / "pipelines" / "ct_lung_nodules" / "pipeline.toml", REPOSITORY / "models")
    output = Runner(entry, "cpu").run(SeriesFiles(series_instance_uid=str(header.SeriesInstanceUID), paths=paths)).output
    assert isinstance(output, Boxes)
    assert np.linalg.norm(np.array(output.boxes[0].center_mm) - ANNOTATED_MM) < 5
    assert len(output.boxes) < 25
