"""`radnode pipelines run` on a pipeline of several inputs: the right series in the right order, and every channel saved."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipelines.__main__ import app
from pipelines.catalog import pin
from tests.bundles.writing import write
from tests.bundles.zoo import ZOO
from tests.phantoms import tiny_ct, write_series

REPOSITORY = Path(__file__).parents[3]
NAME = "brats_mri_segmentation"
INPUTS = ("t1c", "t1", "t2", "flair")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Write a bundle with random weights and a pipeline.toml whose inputs are told apart by what they are called."""
    write(ZOO[NAME](), tmp_path / "models" / NAME)
    pin(NAME, tmp_path / "models")
    text = (REPOSITORY / "pipelines" / NAME / "pipeline.toml").read_text().replace("by_site = false", "by_site = true")
    before, after = text[: text.index("[[inputs]]")], text[text.index("[limits]") :]
    inputs = "".join(f'[[inputs]]\nname = "{name}"\nmodality = ["CT"]\ndescription_pattern = "^{name}$"\n' for name in INPUTS)
    wide = re.sub(r"(slice_spacing_mm|pixel_spacing_mm|coverage_mm) = \{[^}]*\}", r"\1 = { min = 0.1, max = 1000.0 }", after)
    path = tmp_path / "pipelines" / NAME / "pipeline.toml"
    path.parent.mkdir(parents=True)
    path.write_text(f"{before}{inputs}{wide}")
    return tmp_path


def test_four_series_are_run_in_the_declared_order_and_overlapping_channels_are_saved(site: Path) -> None:
    uids = {}
    for number, name in enumerate(reversed(INPUTS)):
        datasets = tiny_ct(seed=number)
        for dataset in datasets:
            dataset.SeriesDescription = name
            dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = "2.25.1", "2.25.2"
        uids[name] = write_series(datasets, site / "study" / name).series_instance_uid
    places = ["--pipelines", str(site / "pipelines"), "--models", str(site / "models")]
    arguments = ["run", NAME, str(site / "study"), "--device", "cpu", "--save", str(site / "found"), *places]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert result.exit_code == 0, result.output
    for name in INPUTS:
        assert re.search(rf"{re.escape(uids[name])}\D.*taken as {name}\b", result.stdout), result.stdout
    described = json.loads((site / "found" / f"{uids['t1c']}.json").read_text())
    assert [given["series_instance_uid"] for given in described["inputs"]] == [uids[name] for name in INPUTS]
    with np.load(site / "found" / f"{uids['t1c']}.npz") as saved:
        assert saved["labels"].shape == (3, 6, 16, 20)
        assert saved["channels"].tolist() == [0, 1, 2]
