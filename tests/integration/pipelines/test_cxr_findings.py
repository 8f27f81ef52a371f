"""The radiograph demonstration: what its weights say about simulated radiographs that they have not seen."""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.networks.nets import ResNet
from pydicom.dataset import Dataset

from pipelines.catalog import Entry, check_digest, load_entry
from pipelines.conformance import conform
from pipelines.isolation import OwnModules
from pipelines.result import Scores
from pipelines.runner import Runner
from tests.phantoms import write_series
from tests.radiographs import BUNDLE, HEART, LEFT_EFFUSION, NOTHING, RIGHT_EFFUSION, as_dicom, make_radiograph

REPOSITORY = Path(__file__).parents[3]
EFFUSION, LARGE_HEART = 0, 1


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, Any]]:
    """The bundle's own modules."""
    with OwnModules(BUNDLE).importable():
        yield {name: import_module(f"scripts.{name}") for name in ("picture", "saliency")}


@pytest.fixture(scope="module")
def made() -> dict[int, Any]:
    """Radiographs by seed."""
    return {seed: make_radiograph(seed) for seed in (RIGHT_EFFUSION, NOTHING, HEART, LEFT_EFFUSION)}


@pytest.fixture(scope="module")
def entry() -> Entry:
    return load_entry(REPOSITORY / "pipelines" / "cxr_findings" / "pipeline.toml", REPOSITORY / "models")


@pytest.fixture(scope="module")
def runner(entry: Entry) -> Runner:
    return Runner(entry, "cpu")


def scores_of(runner: Runner, dataset: Dataset, folder: Path) -> dict[int, float]:
    output = runner.run(write_series([dataset], folder)).output
    assert isinstance(output, Scores)
    return dict(output.values)


def test_the_weights_are_the_pinned_ones() -> None:
    check_digest(BUNDLE)
    assert (BUNDLE / "models" / "model.pt").stat().st_size < 1_000_000


def test_the_card_holds_the_scores_of_every_radiograph_held_out() -> None:
    cases = json.loads((BUNDLE / "docs" / "held_out.json").read_text())["cases"]
    assert len(cases) == 150
    assert {name for case in cases for name in case["output"]} == {"effusion", "cardiomegaly"}


@pytest.mark.parametrize(
    ("seed", "truth"), [(RIGHT_EFFUSION, (1, 0)), (LEFT_EFFUSION, (1, 0)), (HEART, (0, 1)), (NOTHING, (0, 0))], ids=str
)
def test_what_is_on_a_radiograph_that_was_never_seen_is_told(
    seed: int, truth: tuple[int, int], made: dict[int, Any], runner: Runner, tmp_path: Path
) -> None:
    assert tuple(made[seed].truth) == truth
    values = scores_of(runner, as_dicom(made[seed].image), tmp_path)
    assert tuple(int(values[finding] > 0.5) for finding in (EFFUSION, LARGE_HEART)) == truth, values


def test_the_negative_has_the_same_scores(made: dict[int, Any], runner: Runner, tmp_path: Path) -> None:
    image = made[HEART].image
    plain, negative = (scores_of(runner, as_dicom(image, negative=turned), tmp_path / str(turned)) for turned in (False, True))
    assert negative == pytest.approx(plain, abs=1e-5)


@pytest.mark.parametrize(("seed", "side"), [(RIGHT_EFFUSION, "right"), (LEFT_EFFUSION, "left")])
def test_the_map_of_an_effusion_points_to_its_side(seed: int, side: str, made: dict[int, Any], scripts: dict[str, Any]) -> None:
    config = json.loads((BUNDLE / "configs" / "inference.json").read_text())
    network = ResNet(**{key: value for key, value in config["network_def"].items() if key != "_target_"}).eval()
    network.load_state_dict(torch.load(BUNDLE / "models" / "model.pt", weights_only=True))
    assert [height > 0 for height in made[seed].effusion] == [side == "right", side == "left"]
    picture = scripts["picture"].to_picture(torch.from_numpy(made[seed].image.T.copy())[None], config["size"])
    evidence = scripts["saliency"].saliency(network, picture, EFFUSION)
    assert evidence.shape == tuple(picture.shape[1:])
    assert evidence.max() == 1
    column = float((evidence.sum(axis=1) * np.arange(config["size"])).sum() / evidence.sum())
    # The patient's right is on the left of the picture.
    assert ("right" if column < config["size"] / 2 - 10 else "left" if column > config["size"] / 2 + 10 else "neither") == side


def test_scores_come_out_under_the_right_names(entry: Entry) -> None:
    report = conform(entry)
    assert report.passed, report
    assert {check.name.partition(": ")[2] for check in report.checks} == {"Pleural effusion", "Cardiomegaly"}
