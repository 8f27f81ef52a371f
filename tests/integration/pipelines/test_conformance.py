"""Every published bundle passes the identity-network test, and each way of breaking one fails it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.bundle import Bundle
from pipelines.checks import Report
from pipelines.conformance import conform
from pipelines.ellipsoids import make_known
from pipelines.errors import BundleContract
from pipelines.result import Boxes, Channels, LabelMap
from tests.bundles.parts import Config, one
from tests.bundles.writing import entry, pipeline_of, write
from tests.bundles.zoo import ZOO, Published

KINDS = {"labelmap": LabelMap, "channels": Channels, "boxes": Boxes}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Published, Path]]:
    """Every bundle of the zoo, once."""
    folder = tmp_path_factory.mktemp("zoo")
    return {name: (made := make(), write(made, folder / name)) for name, make in ZOO.items()}


@pytest.mark.parametrize("name", ZOO)
def test_a_published_bundle_brings_back_what_its_network_sees(name: str, written: dict[str, tuple[Published, Path]]) -> None:
    report = conform(entry(*written[name]))
    assert [check.sentence for check in report.checks if not check.passed] == []
    assert {check.name.partition(":")[0] for check in report.checks} == {"axial", "oblique by 12 degrees"}


@pytest.mark.parametrize("name", ZOO)
def test_a_published_bundle_runs_with_its_own_network(name: str, written: dict[str, tuple[Published, Path]]) -> None:
    published, root = written[name]
    pipeline = pipeline_of(published)
    bundle = Bundle(root, pipeline, torch.device("cpu"))
    stored = torch.load(next((root / "models").iterdir()), weights_only=True)
    torch.testing.assert_close(bundle.network.state_dict(), stored)
    volumes = [make_known(number, is_ct=True, degrees=12.0).volume for number in range(len(pipeline.inputs))]
    output, seconds = bundle.predict(volumes)
    assert isinstance(output, KINDS[pipeline.outputs.kind])
    assert output.grid is volumes[0].grid
    assert {"preprocess", "network"} <= set(seconds)


def broken(published: Published, folder: Path, change: Any) -> Report:
    """The report on a bundle whose configuration was changed."""
    config = json.loads(json.dumps(published.config))
    change(config)
    changed = dataclasses.replace(published, config=config)
    return conform(entry(changed, write(changed, folder / "broken")))


def before_network(function: str, key: str = "image", place: int = 2) -> Any:
    """Slip a transform into the preprocessing that nobody takes back."""
    return lambda config: config["preprocessing"]["transforms"].insert(place, one("Lambdad", key, func=f"$lambda x: {function}"))


def after_network(function: str, place: int) -> Any:
    return lambda config: config["postprocessing"]["transforms"].insert(place, one("Lambdad", "pred", func=f"$lambda x: {function}"))


def without_inversion(config: Config) -> None:
    transforms = config["postprocessing"]["transforms"]
    config["postprocessing"]["transforms"] = [item for item in transforms if item["_target_"] != "Invertd"]


def labels_like_grey_values(config: Config) -> None:
    config["postprocessing"]["transforms"][0] = one("Lambdad", "pred", func="$lambda x: x.argmax(0, keepdim=True).float()")
    del config["postprocessing"]["transforms"][2]


def outputs_exchanged(config: Config) -> None:
    config["postprocessing"]["transforms"][0] = one("Lambdad", "pred", func="$lambda x: torch.sigmoid(x)[[0, 2, 1]]")


BREAKS = {
    "flipped left to right": ("spleen_ct_segmentation", before_network("torch.flip(x, [1])"), "Dice"),
    "flipped front to back": ("spleen_ct_segmentation", before_network("torch.flip(x, [2])"), "Dice"),
    "flipped head to feet": ("spleen_ct_segmentation", before_network("torch.flip(x, [3])"), "Dice"),
    "moved by some voxels": ("spleen_ct_segmentation", before_network("torch.roll(x, 4, 1)"), "Dice"),
    "never taken back": ("spleen_ct_segmentation", without_inversion, "WRONG_OUTPUT.shape"),
    "labels interpolated": ("renalStructures_UNEST_segmentation", labels_like_grey_values, "WRONG_OUTPUT.not_discrete"),
    "another label": ("renalStructures_UNEST_segmentation", after_network("torch.where(x == 1, 2, x)", 3), "Dice"),
    "no such label": ("renalStructures_UNEST_segmentation", after_network("torch.where(x == 1, 9, x)", 3), "WRONG_OUTPUT.labels"),
    "inputs exchanged": ("brats_mri_segmentation", before_network("x[[1, 0, 2, 3]]", place=1), "Dice"),
    "outputs exchanged": ("brats_mri_segmentation", outputs_exchanged, "Dice"),
    "phases exchanged": ("renalStructures_CECT_segmentation", before_network("x[[0, 2, 1]]", place=5), "Dice"),
    "a slice turned": ("ventricular_short_axis_3label", before_network("torch.flip(x, [3])"), "Dice"),
    "boxes flipped": ("lung_nodule_ct_detection", before_network("torch.flip(x, [1])", place=3), "boxes came out"),
    "a prompt's mask flipped": ("vista3d", after_network("torch.flip(x, [1])", 4), "Dice"),
}


@pytest.mark.parametrize(("name", "change", "words"), BREAKS.values(), ids=BREAKS.keys())
def test_a_broken_bundle_fails(name: str, change: Any, words: str, tmp_path: Path) -> None:
    published = ZOO[name]()
    report = broken(published, tmp_path, change)
    assert not report.passed
    assert any(words in check.sentence for check in report.checks if not check.passed)


def test_the_prostate_bundle_as_it_is_published_is_refused_with_its_cure(tmp_path: Path) -> None:
    published = dataclasses.replace(ZOO["prostate_mri_anatomy"](), declaration={"labels": (1, 2), "modality": "MR"})
    with pytest.raises(BundleContract, match=r'"postprocessing#transforms#2#nearest_interp" = true') as refusal:
        Bundle(write(published, tmp_path / "bundle"), pipeline_of(published), torch.device("cpu"))
    assert refusal.value.reason == "interpolation"
