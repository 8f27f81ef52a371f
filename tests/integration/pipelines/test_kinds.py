"""What bundles give beside a label map, and what they take beside one image; each proved before it becomes a result."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from pipelines.boxes import to_boxes
from pipelines.bundle import Bundle
from pipelines.catalog import pin
from pipelines.conformance import conform
from pipelines.ellipsoids import make_known
from pipelines.errors import BundleContract, NoUsableSeries, WrongOutput
from pipelines.outputs import to_channels, to_output, to_scores
from pipelines.phantom import make_chest_ct
from pipelines.result import Boxes, Scores
from pipelines.runner import Runner
from tests.bundles.declaring import declare
from tests.bundles.parts import CHANNEL_FIRST, SIGMOID, Config, bundle, compose, invert, one, ras, spacing, window
from tests.bundles.writing import entry, pipeline_of, write
from tests.bundles.zoo import Published, known_as, lung_nodules, prompted, renal_cect
from tests.phantoms import oblique, write_series

CPU = torch.device("cpu")
OBLIQUE = make_known(0, is_ct=True, degrees=12.0).volume
GRID = OBLIQUE.grid


def classifier(*after: Config) -> Published:
    """Two numbers for a whole volume, as the zoo's classifiers give them: resized, a network, and a sigmoid."""
    config = bundle(
        network={"_target_": "scripts.net.Means"},
        preprocessing=compose(one("LoadImaged"), CHANNEL_FIRST, ras(), one("ScaleIntensityd"), one("Resized", spatial_size=[16, 16, 16])),
        inferer={"_target_": "SimpleInferer"},
        postprocessing=compose(SIGMOID, *after),
    )
    source = """
import torch


class Means(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.last = torch.nn.Linear(1, 2)

    def forward(self, image):
        return self.last(image.mean((2, 3, 4)))
"""
    declaration = {"kind": "scores", "labels": (0, 1)}
    return Published(config=config, channels=known_as("normal", "abnormal"), declaration=declaration, scripts={"net": source})


def test_a_classifier_gives_one_number_for_each_label(tmp_path: Path) -> None:
    published = classifier()
    root = write(published, tmp_path / "bundle")
    made = Bundle(root, pipeline_of(published), CPU)
    output, _ = made.predict([OBLIQUE])
    assert isinstance(output, Scores)
    weights = made.network.state_dict()
    image = torch.as_tensor(OBLIQUE.array)
    scaled = ((image - image.min()) / (image.max() - image.min())).permute(2, 1, 0)[None, None]
    mean = torch.nn.functional.interpolate(scaled, (16, 16, 16), mode="area").mean()
    wanted = torch.sigmoid(weights["last.weight"][:, 0] * mean + weights["last.bias"])
    np.testing.assert_allclose([output.values[0], output.values[1]], wanted.numpy(), atol=1e-3)
    assert conform(entry(published, root)).passed
    exchanged = classifier(one("Lambdad", "pred", func="$lambda x: torch.flip(x, [0])"))
    assert not conform(entry(exchanged, write(exchanged, tmp_path / "exchanged"))).passed


def test_numbers_are_counted_and_finite() -> None:
    assert to_scores(torch.tensor([[0.25], [3.0]]), (4, 7), GRID).values == {4: 0.25, 7: 3.0}
    for values, reason in (([0.1], "shape"), ([0.1, float("nan")], "not_finite"), ([float("inf"), 0.0], "not_finite")):
        with pytest.raises(WrongOutput) as refusal:
            to_scores(torch.tensor(values), (0, 1), GRID)
        assert refusal.value.reason == reason


def placed(array: np.ndarray) -> MetaTensor:
    """On the grid of the volume; shape (channel, slice, row, column)."""
    return MetaTensor(torch.as_tensor(array.transpose(0, 3, 2, 1).copy()), affine=torch.as_tensor(GRID.ras_affine))


def test_channels_may_overlap_and_keep_their_order() -> None:
    array = np.zeros((2, *GRID.shape), dtype=np.float32)
    array[0, 2:5], array[1, 4:9] = 1.0, 1.0
    output = to_channels(placed(array), (0, 1), GRID)
    assert output.present() == {0, 1}
    assert np.count_nonzero(output.mask(0) & output.mask(1))
    np.testing.assert_array_equal(output.mask(1), array[1] > 0)


@pytest.mark.parametrize(
    ("array", "labels", "reason"),
    [
        (np.zeros((3, *GRID.shape)), (0, 1), "shape"),
        (np.zeros((2, *GRID.shape)), (1, 2), "labels"),
        (np.full((2, *GRID.shape), 2.0), (0, 1), "labels"),
        (np.full((2, *GRID.shape), 0.5), (0, 1), "not_discrete"),
        (np.zeros((2, *GRID.shape[:2], 7)), (0, 1), "shape"),
    ],
)
def test_channels_that_are_no_masks_are_refused(array: np.ndarray, labels: tuple[int, ...], reason: str) -> None:
    with pytest.raises(WrongOutput) as refusal:
        to_channels(placed(array), labels, GRID)
    assert refusal.value.reason == reason


def detected(box: Any = ((5, 6, 7, 15, 12, 9),), label: Any = (0,), score: Any = (0.5,), **more: Any) -> dict[str, Any]:
    columns, rows, slices = GRID.shape[::-1]
    image = MetaTensor(torch.zeros(1, columns, rows, slices), affine=torch.as_tensor(GRID.ras_affine))
    return {"image": image, "box": torch.tensor(box), "label": torch.tensor(label), "label_scores": torch.tensor(score), **more}


def test_a_box_on_oblique_slices_holds_all_its_corners_and_comes_out_in_patient_coordinates() -> None:
    found = to_boxes(
        detected(box=((5.0, 6.0, 7.0, 15.0, 12.0, 9.0), (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)), label=(0, 0), score=(0.2, 0.9)), (0,), GRID
    )
    assert [box.score for box in found.boxes] == [pytest.approx(0.9), pytest.approx(0.2)]
    box = found.boxes[1]
    np.testing.assert_allclose(box.center_mm, (GRID.affine @ (8.0, 9.0, 10.0, 1.0))[:3], atol=1e-6)
    cosine, sine = np.cos(np.radians(12.0)), np.sin(np.radians(12.0))
    across, down, through = 10 * GRID.spacing_mm[2], 6 * GRID.spacing_mm[1], 2 * GRID.spacing_mm[0]
    wanted = (across, down * cosine + through * sine, through * cosine + down * sine)
    np.testing.assert_allclose(box.size_mm, wanted, atol=1e-6)


def test_nothing_found_is_a_result() -> None:
    empty = detected(box=np.zeros((0, 6)), label=np.zeros(0, dtype=int), score=np.zeros(0))
    assert to_boxes(empty, (0,), GRID).boxes == ()


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (detected(label=(1,)), "labels"),
        (detected(score=(1.5,)), "score"),
        (detected(score=(-0.1,)), "score"),
        (detected(score=(float("nan"),)), "not_finite"),
        (detected(box=((5.0, 6.0, 7.0, float("inf"), 12.0, 9.0),)), "not_finite"),
        (detected(score=(0.5, 0.6)), "shape"),
        (detected(box=((5, 6, 7, 5, 6, 7),)), "shape"),
        (detected(box=((300, 6, 7, 310, 12, 9),)), "outside"),
        (detected(box=((-30, 6, 7, -20, 12, 9),)), "outside"),
        (detected(image=torch.zeros(1, 4, 4, 4)), "no_geometry"),
        ({"image": 1, "pred": 2}, "no_pred"),
    ],
)
def test_boxes_that_cannot_be_are_refused(made: dict[str, Any], reason: str) -> None:
    with pytest.raises(WrongOutput) as refusal:
        to_boxes(made, (0,), GRID)
    assert refusal.value.reason == reason


def test_a_sample_without_a_prediction_is_refused() -> None:
    with pytest.raises(WrongOutput) as refusal:
        to_output(declare(), {"image": torch.zeros(1)}, GRID)
    assert refusal.value.reason == "no_pred"


def test_a_detector_that_does_not_say_where_its_boxes_lie_is_refused(tmp_path: Path) -> None:
    published = lung_nodules()
    published.config["postprocessing"]["transforms"] = published.config["postprocessing"]["transforms"][:1]
    with pytest.raises(BundleContract) as refusal:
        Bundle(write(published, tmp_path / "bundle"), pipeline_of(published), CPU)
    assert refusal.value.reason == "boxes"


def test_a_detector_needs_its_own_evaluator(tmp_path: Path) -> None:
    published = lung_nodules()
    with pytest.raises(BundleContract, match='mode = "engine"') as refusal:
        Bundle(write(published, tmp_path / "bundle"), pipeline_of(published, mode="stages"), CPU)
    assert refusal.value.reason == "engine"


def test_a_detector_finds_the_same_again_and_again(tmp_path: Path) -> None:
    published = lung_nodules()
    made = Bundle(write(published, tmp_path / "bundle"), pipeline_of(published), CPU)
    first, second = made.predict([OBLIQUE])[0], made.predict([OBLIQUE])[0]
    assert isinstance(first, Boxes)
    assert isinstance(second, Boxes)
    assert first.boxes == second.boxes


def test_a_prompt_comes_from_an_override_and_is_what_is_asked_for(tmp_path: Path) -> None:
    published = prompted()
    root = write(published, tmp_path / "bundle")
    asked = [{"image": "0.radnode", "label_prompt": [14]}]
    some = Bundle(root, pipeline_of(published, overrides={"dataset#data": asked}), CPU).predict([OBLIQUE])[0]
    assert some.present() <= {14}  # type: ignore[union-attr]
    with pytest.raises(WrongOutput) as refusal:
        Bundle(root, pipeline_of(published, overrides={}), CPU).predict([OBLIQUE])
    assert refusal.value.reason == "labels", "without one the bundle gives everything, of which only three are declared"


LOADS_FOUR = "The bundle loads artery, vein, excret, label, the pipeline has the inputs"


@pytest.mark.parametrize("declared", [{"overrides": {}}, {"inputs": ["artery", "vein"]}, {"inputs": ["artery", "excret", "venous"]}])
def test_images_that_are_not_the_inputs_are_refused(declared: dict[str, Any], tmp_path: Path) -> None:
    published = renal_cect()
    with pytest.raises(BundleContract, match="the pipeline has the inputs") as refusal:
        Bundle(write(published, tmp_path / "bundle"), pipeline_of(published, **declared), CPU)
    assert refusal.value.reason == "loader"


def test_inputs_are_told_apart_by_their_names_whatever_their_order(tmp_path: Path) -> None:
    published = renal_cect()
    swapped = dataclasses.replace(published, declaration={**published.declaration, "inputs": ["vein", "excret", "artery"]})
    assert conform(entry(published, write(published, tmp_path / "bundle"))).passed
    report = conform(entry(swapped, tmp_path / "bundle"))
    assert [check.passed for check in report.checks if "from" in check.name] != []
    assert not report.passed, "the channels of the network are in the bundle's order, not in the pipeline's"


def test_a_preprocessing_without_an_image_is_refused(tmp_path: Path) -> None:
    published = dataclasses.replace(classifier(), config=json.loads(json.dumps(classifier().config).replace('"image"', '"volume"')))
    made = Bundle(write(published, tmp_path / "bundle"), pipeline_of(published), CPU)
    with pytest.raises(BundleContract) as refusal:
        made.predict([OBLIQUE])
    assert refusal.value.reason == "image"


def test_series_on_one_grid_are_the_channels_in_the_pipelines_order(tmp_path: Path) -> None:
    config = bundle(
        network={"_target_": "scripts.net.BrighterSecond"},
        preprocessing=compose(one("LoadImaged"), ras()),
        inferer={"_target_": "SimpleInferer"},
        postprocessing=compose(invert()),
    )
    source = """
import torch


class BrighterSecond(torch.nn.Module):
    def forward(self, image):
        return (image[:, 1:] > image[:, :1] + 30).float()
"""
    published = Published(
        config=config,
        channels=known_as("background", "brighter"),
        declaration={"labels": (1,), "inputs": ("before", "after")},
        scripts={"net": source},
    )
    made = entry(published, write(published, tmp_path / "models" / "bundle"))
    pin("bundle", tmp_path / "models")
    phantoms = [make_chest_ct(seed=seed, shape=(12, 32, 40), spacing_mm=(6.0, 6.0, 6.0), orientation=oblique()) for seed in range(2)]
    files = [write_series(phantom.datasets, tmp_path / f"series {number}") for number, phantom in enumerate(phantoms)]
    inference = Runner(made, "cpu").run(*files)
    wanted = phantoms[1].hounsfield.astype(int) > phantoms[0].hounsfield.astype(int) + 30
    assert 0 < np.count_nonzero(wanted) < wanted.size
    np.testing.assert_array_equal(inference.masks.mask(1), wanted)
    assert inference.volume.series_instance_uid == files[0].series_instance_uid
    assert [volume.series_instance_uid for volume in inference.others] == [files[1].series_instance_uid]
    with pytest.raises(NoUsableSeries) as refusal:
        Runner(made, "cpu").run(files[0])
    assert refusal.value.reason == "inputs"


CANDIDATES = """
import torch
from monai.transforms.transform import MapTransform


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.last = torch.nn.Conv3d(1, 1, 1)

    def forward(self, image):
        return self.last(image)


class Candidatesd(MapTransform):
    def __call__(self, data):
        heat = data["pred"][0].as_tensor()
        places = torch.nonzero(heat > 0.5)
        data["box"] = torch.cat([places.amin(0), places.amax(0) + 1])[None].float()
        data["label"], data["label_scores"] = torch.zeros(1), heat.max()[None]
        return data
"""


def lung_candidates(select: str) -> Published:
    """Boxes from a heat map, within what is air inside of the body."""
    config = bundle(
        network={"_target_": "scripts.net.Net"},
        preprocessing=compose(
            one("LoadImaged"),
            CHANNEL_FIRST,
            ras(),
            spacing([1.5, 1.5, 1.5]),
            window(-1000, 600),
            one("CropForegroundd", source_key="image", select_fn=select, margin=2, allow_smaller=True),
        ),
        inferer={"_target_": "SimpleInferer"},
        postprocessing=compose(
            SIGMOID,
            one("scripts.net.Candidatesd", "pred"),
            {"_target_": "AffineBoxToWorldCoordinated", "box_keys": "box", "box_ref_image_keys": "image", "affine_lps_to_ras": True},
        ),
    )
    return Published(
        config=config,
        channels=known_as("candidate"),
        declaration={"kind": "boxes", "labels": (0,)},
        scripts={"net": CANDIDATES},
    )


def test_a_bundle_that_looks_for_lungs_is_tested_within_a_chest(tmp_path: Path) -> None:
    published = lung_candidates("$lambda x: (x > 0.05) & (x < 0.2)")
    made = entry(published, write(published, tmp_path / "bundle"))
    assert conform(made, scene="chest").passed
    published.config["preprocessing"]["transforms"].insert(3, one("Lambdad", func="$lambda x: torch.flip(x, [2])"))
    assert not conform(entry(published, write(published, tmp_path / "flipped")), scene="chest").passed


def test_what_a_bundle_cannot_process_is_a_check_that_does_not_pass(tmp_path: Path) -> None:
    published = lung_candidates("$lambda x: x.reshape(7)")
    report = conform(entry(published, write(published, tmp_path / "bundle")))
    assert not report.passed
    assert "The bundle cannot process the known object: RuntimeError: shape '[7]' is invalid" in report.checks[0].sentence


def test_a_classifier_of_radiographs_is_shown_one_image(tmp_path: Path) -> None:
    published = classifier()
    transforms = [one("LoadImaged"), CHANNEL_FIRST, one("SqueezeDimd", dim=-1), one("ScaleIntensityd")]
    published.config["preprocessing"]["transforms"] = transforms
    published = dataclasses.replace(published, declaration={**published.declaration, "modality": "DX"})
    assert conform(entry(published, write(published, tmp_path / "bundle"))).passed
