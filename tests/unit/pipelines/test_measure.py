"""Measurements agree with arithmetic by hand; impossible results are refused."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.errors import ImplausibleResult, WrongOutput
from pipelines.geometry import Grid
from pipelines.measure import check_plausible, measure
from pipelines.result import Box, Boxes, Channels, Code, LabelMap, Scores, Volume
from pipelines.spec import MeasurementRule, Outputs, Pipeline, Plausible, Span, read_pipeline

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


def channels(*masks: NDArray[np.bool_]) -> tuple[Volume, Channels]:
    """The same volume of 0.2 ml voxels, each mask a channel of the labels 1 and 2."""
    volume, label_map = pair(masks[0].astype(np.uint8))
    return volume, Channels(array=np.stack(masks), labels=(1, 2), grid=label_map.grid)


def test_overlapping_channels_are_measured_each_for_itself() -> None:
    whole, core = np.zeros((2, 2, 5, 5), bool)
    whole[0, :3, :3] = True
    core[0, :2, :2] = True
    first, second = measure(PIPELINE, *channels(whole, core))
    assert (first.measurements[0].value, second.measurements[0].value) == pytest.approx((9 * 0.2, 4 * 0.2))


def test_a_voxel_of_two_channels_counts_once_in_the_volume_of_all() -> None:
    whole, core = np.zeros((2, 2, 5, 5), bool)
    whole[0, :3, :3] = True
    core[0, :2, :2] = True
    volume, output = channels(whole, core)
    findings = measure(PIPELINE, volume, output)
    exact = Plausible(total_volume_ml=Span(min=1.79, max=1.81))
    check_plausible(PIPELINE.model_copy(update={"plausible": exact}), output, findings)
    summed = Plausible(total_volume_ml=Span(min=2.59, max=2.61))
    with pytest.raises(ImplausibleResult):
        check_plausible(PIPELINE.model_copy(update={"plausible": summed}), output, findings)


def test_the_mean_of_an_mr_signal_is_in_no_unit_that_scanners_share() -> None:
    inputs = (PIPELINE.inputs[0].model_copy(update={"modality": ("MR",)}),)
    pipeline = PIPELINE.model_copy(update={"inputs": inputs, "measurements": (MeasurementRule(kind="mean"),)})
    (finding,) = measure(pipeline, *pair(np.ones((1, 2, 2), np.uint8), np.full((1, 2, 2), 77.0, np.float32)))
    (mean,) = finding.measurements
    assert (mean.name.value, mean.name.scheme, mean.unit.value, mean.value) == ("110852", "DCM", "[arb'U]", 77.0)


def detector(*kinds: str, min_score: float = 0.0) -> Pipeline:
    """A pipeline that gives boxes of the labels 1 and 2."""
    return PIPELINE.model_copy(
        update={
            "outputs": Outputs(kind="boxes", min_score=min_score),
            "measurements": tuple(MeasurementRule.model_validate({"kind": kind}) for kind in kinds),
            "plausible": Plausible(),
            "labels": tuple(label.model_copy(update={"required": False}) for label in PIPELINE.labels),
        }
    )


def box(score: float, label: int = 1, **changed: tuple[float, float, float]) -> Box:
    """A box in the middle of the volume of ``boxes``."""
    return Box(label=label, score=score, **{"center_mm": (20.0, 8.0, 10.0), "size_mm": (6.0, 7.0, 5.0), **changed})


def boxes(*found: Box) -> tuple[Volume, Boxes]:
    """A volume of 3 x 5 x 9 voxels, 10 x 4 x 5 mm each, along x, y and z, and boxes in it."""
    volume, label_map = pair(np.zeros((3, 5, 9), np.uint8))
    return volume, Boxes(boxes=found, grid=label_map.grid)


def test_boxes_are_numbered_by_score_within_their_label() -> None:
    findings = measure(detector("diameter_mm"), *boxes(box(0.4), box(0.9), box(0.6, label=2)))
    assert [(finding.name, finding.number, finding.box.score) for finding in findings if finding.box] == [
        ("Right lung 1", 1, 0.9),
        ("Right lung 2", 2, 0.4),
        ("Left lung 1", 1, 0.6),
    ]


def test_a_box_has_its_sizes_and_the_score_of_the_model() -> None:
    (finding,) = measure(detector("diameter_mm", "size_mm"), *boxes(box(0.75)))
    assert [(m.name.value, m.value, m.unit.value) for m in finding.measurements] == [
        ("81827009", 7.0, "mm"),
        ("BOX_LR", 6.0, "mm"),
        ("BOX_AP", 7.0, "mm"),
        ("BOX_HF", 5.0, "mm"),
        ("MODEL_SCORE", 0.75, "{score}"),
    ]
    assert finding.measurements[-1].name.scheme == "99RADNODE"


def test_boxes_below_the_least_score_are_not_reported() -> None:
    findings = measure(detector(min_score=0.5), *boxes(box(0.49), box(0.5)))
    assert [finding.box.score for finding in findings if finding.box] == [0.5]
    assert measure(detector(min_score=0.5), *boxes(box(0.49))) == ()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (box(0.5, label=9), "labels"),
        (box(1.5), "score"),
        (box(float("nan")), "score"),
        (box(0.5, size_mm=(1.0, 0.0, 1.0)), "box"),
        (box(0.5, center_mm=(1.0, float("inf"), 1.0)), "box"),
    ],
)
def test_boxes_that_are_none_are_refused(wrong: Box, reason: str) -> None:
    with pytest.raises(WrongOutput) as refusal:
        measure(detector(), *boxes(wrong))
    assert refusal.value.reason == reason


@pytest.mark.parametrize(("axis", "last"), [(0, 2 * 10.0 + 5.0), (1, 4 * 4.0 + 2.0), (2, 8 * 5.0 + 2.5)])
def test_a_box_whose_centre_is_not_in_the_images_is_refused(axis: int, last: float) -> None:
    for beyond, inside in ((last + 0.1, last - 0.1), (-last / 2 - 9, 0.0)):
        for place, refused in ((beyond, True), (inside, False)):
            center = [10.0, 4.0, 5.0]
            center[axis] = place
            volume, output = boxes(box(0.5, center_mm=(center[0], center[1], center[2])))
            findings = measure(detector(), volume, output)
            if refused:
                with pytest.raises(ImplausibleResult, match="outside of the images"):
                    check_plausible(detector(), output, findings)
            else:
                check_plausible(detector(), output, findings)


def test_each_score_is_a_finding() -> None:
    volume, label_map = pair(np.zeros((1, 2, 2), np.uint8))
    pipeline = detector().model_copy(update={"outputs": Outputs(kind="scores")})
    findings = measure(pipeline, volume, Scores(values={2: 0.25, 1: 3.5}, grid=label_map.grid))
    assert [(f.name, f.measurements[0].name.meaning, f.measurements[0].value) for f in findings] == [
        ("Right lung", "Score of the model: Right lung", 3.5),
        ("Left lung", "Score of the model: Left lung", 0.25),
    ]
    assert len({finding.measurements[0].name.value for finding in findings}) == 2
    assert all(len(finding.measurements[0].name.value) == 16 for finding in findings)


@pytest.mark.parametrize(
    ("values", "reason"), [({1: 0.5}, "labels"), ({1: 0.5, 2: 0.5, 3: 0.5}, "labels"), ({1: 0.5, 2: float("nan")}, "score")]
)
def test_scores_that_are_not_of_the_declared_labels_are_refused(values: dict[int, float], reason: str) -> None:
    volume, label_map = pair(np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(WrongOutput) as refusal:
        measure(detector(), volume, Scores(values=values, grid=label_map.grid))
    assert refusal.value.reason == reason
