"""`radnode pipelines test`: every check is printed, and one that fails ends it with 2."""

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.__main__ import app
from pipelines.catalog import pin
from tests.bundles.writing import write
from tests.bundles.zoo import ZOO

REPOSITORY = Path(__file__).parents[3]
NAME = "spleen_ct_segmentation"


def bring(folder: Path, *, keeps_its_promise: bool = True) -> None:
    """Write a bundle with the pipeline.toml that ships; one that breaks its promise forgets to bring its output back to the source."""
    published = ZOO[NAME]()
    config = json.loads(json.dumps(published.config))
    if not keeps_its_promise:
        transforms = config["postprocessing"]["transforms"]
        config["postprocessing"]["transforms"] = [item for item in transforms if item["_target_"] != "Invertd"]
    write(dataclasses.replace(published, config=config), folder / "models" / NAME)
    pin(NAME, folder / "models")
    declare(folder, NAME)


def declare(folder: Path, name: str) -> None:
    path = folder / "pipelines" / name / "pipeline.toml"
    path.parent.mkdir(parents=True)
    path.write_text((REPOSITORY / "pipelines" / name / "pipeline.toml").read_text())


def prove(folder: Path, *arguments: str) -> Result:
    places = ("--pipelines", str(folder / "pipelines"), "--models", str(folder / "models"))
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["test", *arguments, *places])


def test_a_bundle_that_brings_everything_back_passes_check_by_check(tmp_path: Path) -> None:
    bring(tmp_path)
    result = prove(tmp_path, NAME)
    assert result.exit_code == 0, result.output
    for part in ("axial: Spleen from image", "oblique by 12 degrees: Spleen from image", "No case is named in"):
        assert part in result.stdout
    assert "NO" not in result.stdout


def test_a_bundle_that_does_not_fails_and_says_what_came_out(tmp_path: Path) -> None:
    bring(tmp_path, keeps_its_promise=False)
    result = prove(tmp_path, NAME)
    assert result.exit_code == 2
    assert "NO" in result.stdout
    assert "WRONG_OUTPUT." in result.stdout


def test_all_passes_over_what_nobody_has_brought_but_not_over_faults(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    declare(tmp_path, "pancreas_ct_dints_segmentation")
    absent = prove(tmp_path, "--all")
    assert (absent.exit_code, "BUNDLE_MISSING.absent" in absent.stdout) == (0, True)
    (tmp_path / "pipelines" / "broken").mkdir()
    (tmp_path / "pipelines" / "broken" / "pipeline.toml").write_text("nonsense")
    assert prove(tmp_path, "--all").exit_code == 2


@pytest.mark.parametrize("arguments", [(), (NAME, "--all")])
def test_it_is_said_what_to_test(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert prove(tmp_path, *arguments).exit_code == 2
