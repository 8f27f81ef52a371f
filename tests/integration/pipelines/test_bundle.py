"""A bundle that keeps the contract gives labels where the source lies; one that breaks it is refused, whatever it breaks.

Every bundle here is written by the test: a threshold for a network, and one fault at a time.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipelines.bundle import Bundle
from pipelines.errors import BundleContract, BundleMissing, WrongOutput
from pipelines.phantom import make_chest_ct
from pipelines.result import LabelMap, Volume
from pipelines.series import read_volume
from tests.bundles.declaring import declare
from tests.phantoms import PRONE, SEEN_FROM_ABOVE, oblique, turned, write_series

BONE_HU = 150.0
LOAD = {"_target_": "LoadImaged", "keys": "image"}
CHANNEL = {"_target_": "EnsureChannelFirstd", "keys": "image"}
RAS = {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None}
SPACING = {"_target_": "Spacingd", "keys": "image", "pixdim": [2.0, 2.0, 2.0], "mode": "bilinear"}
INVERT = {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image", "nearest_interp": True}
MIRROR = {"_target_": "Flipd", "keys": "image", "spatial_axis": 0}
SAVE = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"}
SCRIPT = f"""
import torch
from monai.engines import SupervisedEvaluator
from monai.inferers import SimpleInferer


class Threshold(torch.nn.Module):
    def forward(self, image):
        return (image > {BONE_HU}).float()


class OwnEvaluator(SupervisedEvaluator):
    pass


class OwnInferer(SimpleInferer):
    pass
"""


def config(**changes: Any) -> dict[str, Any]:
    return {
        "imports": ["$import torch"],
        "output_dir": "eval",
        "device": "$torch.device('cpu')",
        "network_def": {"_target_": "scripts.net.Threshold"},
        "preprocessing": {"_target_": "Compose", "transforms": [LOAD, CHANNEL, RAS, SPACING]},
        "dataset": {"_target_": "Dataset", "data": [], "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 2},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": [INVERT, SAVE]},
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network_def",
            "inferer": "@inferer",
        },
        **changes,
    }


def post(*transforms: dict[str, Any]) -> dict[str, Any]:
    return {"postprocessing": {"_target_": "Compose", "transforms": list(transforms)}}


def applied(expression: str) -> dict[str, Any]:
    return {"_target_": "Lambdad", "keys": "pred", "func": f"$lambda pred: {expression}"}


def evaluator(**changes: Any) -> dict[str, Any]:
    return {"evaluator": {**config()["evaluator"], **changes}}


def write_bundle(folder: Path, content: dict[str, Any]) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "1.0.0"}))
    (folder / "configs" / "inference.json").write_text(json.dumps(content))
    (folder / "scripts").mkdir()
    (folder / "scripts" / "__init__.py").write_text("")
    (folder / "scripts" / "net.py").write_text(SCRIPT)
    return folder


def load(folder: Path, content: dict[str, Any], **overrides: Any) -> Bundle:
    return Bundle(write_bundle(folder / "bundle", content), declare(overrides=overrides), torch.device("cpu"))


def labels_of(bundle: Bundle, volume: Volume) -> NDArray[np.uint8]:
    output, _ = bundle.predict([volume])
    assert isinstance(output, LabelMap)
    return output.array


def volume_of(folder: Path, **options: Any) -> Volume:
    phantom = make_chest_ct(**{"shape": (40, 64, 80), "spacing_mm": (4.0, 3.0, 3.0), **options})
    return read_volume(write_series(phantom.datasets, folder / "series"))


@pytest.mark.parametrize(
    "options",
    [{}, {"orientation": oblique()}, {"orientation": turned()}, {"orientation": PRONE}, {"orientation": SEEN_FROM_ABOVE}],
    ids=["plain", "oblique", "askew", "prone", "from head to feet"],
)
def test_what_the_network_sees_comes_back_to_where_it_was(options: dict[str, Any], tmp_path: Path) -> None:
    volume = volume_of(tmp_path, spacing_mm=(4.0, 2.6, 3.4), **options)
    output, seconds = load(tmp_path, config()).predict([volume])
    assert isinstance(output, LabelMap)
    found = output.array
    truth = volume.array > BONE_HU
    assert found.shape == truth.shape
    assert found.dtype == np.uint8
    overlap = 2 * np.count_nonzero(truth & (found == 1)) / (np.count_nonzero(truth) + np.count_nonzero(found))
    # Bones are thin: a shift of one voxel costs far more than the resampling does.
    assert overlap > 0.85
    assert set(seconds) == {"preprocess", "upload", "network", "stitch", "invert", "download"}


def test_without_resampling_every_voxel_comes_back(tmp_path: Path) -> None:
    volume = volume_of(tmp_path, orientation=oblique())
    content = config(preprocessing={"_target_": "Compose", "transforms": [LOAD, CHANNEL, RAS]})
    found = labels_of(load(tmp_path, content), volume)
    np.testing.assert_array_equal(found, volume.array > BONE_HU)


def test_nothing_is_written_by_the_bundle(tmp_path: Path) -> None:
    bundle = load(tmp_path, config())
    before = sorted(bundle.root.rglob("*"))
    bundle.predict([volume_of(tmp_path)])
    assert sorted(bundle.root.rglob("*")) == before


def test_half_precision_is_left_alone_on_a_cpu_as_by_monai(tmp_path: Path) -> None:
    volume = volume_of(tmp_path)
    reduced, full = load(tmp_path / "reduced", config(**evaluator(amp=True))), load(tmp_path / "full", config())
    np.testing.assert_array_equal(labels_of(reduced, volume), labels_of(full, volume))


def test_two_bundles_with_the_same_module_names_run_side_by_side(tmp_path: Path) -> None:
    volume = volume_of(tmp_path)
    one, other = load(tmp_path / "one", config()), load(tmp_path / "other", config())
    first, second = labels_of(one, volume), labels_of(other, volume)
    np.testing.assert_array_equal(first, second)


def test_overrides_change_the_configuration(tmp_path: Path) -> None:
    content = config(preprocessing={"_target_": "NoSuchTransform"})
    bundle = load(tmp_path, content, preprocessing={"_target_": "Compose", "transforms": [LOAD, CHANNEL, RAS]})
    assert labels_of(bundle, volume_of(tmp_path)).any()


OUTPUTS = {
    "not taken back to the source grid": (post(), "shape"),
    "mirrored and not mirrored back": (
        {
            "preprocessing": {
                "_target_": "Compose",
                "transforms": [LOAD, CHANNEL, MIRROR],
            },
            **post(),
        },
        "affine",
    ),
    "labels interpolated like grey values": (post({**INVERT, "nearest_interp": False}), "not_discrete"),
    "probabilities": (post(INVERT, applied("pred * 0.4")), "not_discrete"),
    "not a number": (post(INVERT, applied("pred * float('nan')")), "not_discrete"),
    "a label nobody declared": (post(INVERT, applied("pred * 7")), "labels"),
    "a negative label": (post(INVERT, applied("-pred")), "labels"),
    "two channels": (post(INVERT, applied("torch.cat([pred, pred])")), "shape"),
    "geometry lost": (post(INVERT, {"_target_": "ToNumpyd", "keys": "pred"}), "no_geometry"),
}


@pytest.mark.parametrize(("changes", "reason"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_a_wrong_output_is_refused(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    bundle = load(tmp_path, config(**changes))
    with pytest.raises(WrongOutput) as refusal:
        bundle.predict([volume_of(tmp_path)])
    assert refusal.value.reason == reason


CONTRACTS = {
    "a class that does not exist": ({"network_def": {"_target_": "scripts.net.Missing"}}, "load"),
    "a module that does not exist": ({"network_def": {"_target_": "scripts.missing.Net"}}, "load"),
    "an expression that fails": ({"inferer": "$1 / nothing"}, "load"),
    "an evaluator of its own": (evaluator(_target_="scripts.net.OwnEvaluator"), "engine"),
    "an inferer of its own": ({"inferer": {"_target_": "scripts.net.OwnInferer"}}, "engine"),
    "two images": ({"preprocessing": {"_target_": "Compose", "transforms": [{**LOAD, "keys": ["image", "other"]}]}}, "loader"),
    "no loader": ({"preprocessing": {"_target_": "Compose", "transforms": [RAS]}}, "loader"),
}


@pytest.mark.parametrize(("changes", "reason"), CONTRACTS.values(), ids=CONTRACTS.keys())
def test_a_bundle_outside_the_contract_is_not_loaded(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(BundleContract) as refusal:
        load(tmp_path, config(**changes))
    assert refusal.value.reason == reason


def test_a_bundle_without_configuration_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BundleMissing):
        Bundle(tmp_path, declare(), torch.device("cpu"))
