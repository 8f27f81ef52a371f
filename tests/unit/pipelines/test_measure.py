"""Measurements agree with arithmetic by hand; impossible results are refused."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.errors import ImplausibleResult
from pipelines.geometry import Grid
from pipelines.measure import check_plausible, measure
from pipelines.result import Code, LabelMap, Volume
from pipelines.spec import Pipeline, Plausible, Span, read_pipeline

PIPELINE = read_pipeline(Path(__file__).parents[3] / "pipelines" / "ct_lungs" / "pipeline.toml")
UNGUARDED = PIPELINE.model_copy(update={"plausible": Plausible()})


def pair(labels: NDArray[np.uint8], values: NDArray[np.float32] | None = None) -> tuple[Volume, LabelMap]:
    """A volume of voxels of 10 x 4 x 5 mm = 0.2 ml."""
    grid = Grid(
        shape=(labels.shape[0], labels.shape[1], labels.shape[2]),
        affine=np.diag([10.0, 4.0, 5.0, 1.0]),
        frame_of_reference_uid="1.2",
        sop_instance_uids=tuple(str(number) for number in range(len(labels))),
    )
    array = np.full(labels.shape, -800.0, np.float32) if values is None else values
    return Volume(array=array, grid=grid, headers=(), series_instance_uid="1.2.3"), LabelMap(array=labels, grid=grid)


def test_volume_mean_and_percentage_by_hand() -> None:
    labels = np.zeros((2, 2, 3), np.uint8)
    labels[0, 0, :] = 1
    labels[1, 1, 0] = 1
    values = np.zeros(labels.shape, np.float32)
    values[0, 0, :] = -1000, -950, -900
    values[1, 1, 0] = -960
    (finding,) = measure(PIPELINE, *pair(labels, values))
    volume, mean, below = finding.measurements
    assert (volume.value, mean.value, below.value) == pytest.approx((4 * 0.2, -952.5, 50.0))
    assert finding.name == "Right lung"


def test_names_and_units_are_coded() -> None:
    (finding,) = measure(PIPELINE, *pair(np.full((1, 2, 2), 2, np.uint8)))
    volume, mean, below = finding.measurements
    assert (volume.name.value, volume.name.scheme, volume.unit.value) == ("118565006", "SCT", "ml")
    assert (mean.name.value, mean.name.scheme, mean.unit.value) == ("112031", "DCM", "[hnsf'U]")
    assert mean.derivation == Code(value="373098007", scheme="SCT", meaning="Mean")
    assert (below.name.value, below.name.scheme, below.unit.value) == ("PCT_BELOW_-950", "99RADNODE", "%")
    # SH and LO, PS3.5 6.2: what does not fit would be cut.
    assert len(below.name.value) <= 16
    assert len(below.name.meaning) <= 64
    assert finding.laterality == Code(value="7771000", scheme="SCT", meaning="Left")


def test_the_mean_of_a_large_lung_does_not_drown_in_rounding() -> None:
    labels = np.ones((40, 300, 300), np.uint8)
    values = np.full(labels.shape, -833.3, np.float32)
    (finding,) = measure(PIPELINE, *pair(labels, values))
    assert finding.measurements[1].value == pytest.approx(float(np.float32(-833.3)), abs=1e-6)


def test_what_is_absent_is_not_measured() -> None:
    assert measure(PIPELINE, *pair(np.zeros((2, 2, 2), np.uint8))) == ()


def lungs() -> NDArray[np.uint8]:
    """Two boxes of 15 slices, 1 l and 1.5 l."""
    labels = np.zeros((30, 40, 40), np.uint8)
    labels[5:20, 0:20, 0:17] = 1
    labels[5:20, 20:40, 0:25] = 2
    return labels


def judged(labels: NDArray[np.uint8], pipeline: Pipeline = PIPELINE) -> None:
    volume, label_map = pair(labels)
    check_plausible(pipeline, label_map, measure(pipeline, volume, label_map))


def test_a_plausible_pair_of_lungs_passes() -> None:
    judged(lungs())


def test_a_missing_lung_is_refused() -> None:
    labels = lungs()
    labels[labels == 2] = 0
    with pytest.raises(ImplausibleResult, match="Left lung") as refusal:
        judged(labels, UNGUARDED)
    assert refusal.value.reason == "label_missing"


@pytest.mark.parametrize(
    ("guard", "reason"),
    [
        (Plausible(total_volume_ml=Span(min=3000, max=9000)), "total_volume"),
        (Plausible(total_volume_ml=Span(min=100, max=900)), "total_volume"),
        (Plausible(label_volume_ml=Span(min=1200, max=9000)), "label_volume"),
        (Plausible(label_extent_mm=Span(min=151, max=450)), "extent"),
        (Plausible(label_extent_mm=Span(min=20, max=149)), "extent"),
    ],
)
def test_each_guard_refuses_with_its_reason(guard: Plausible, reason: str) -> None:
    with pytest.raises(ImplausibleResult) as refusal:
        judged(lungs(), PIPELINE.model_copy(update={"plausible": guard}))
    assert refusal.value.reason == reason
