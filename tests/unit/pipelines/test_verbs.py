"""The verbs on pipelines that need no model, as a data scientist meets them."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from node.cli import app as radnode
from pipelines.__main__ import app
from pipelines.catalog import load_catalog
from pipelines.errors import CodedError
from pipelines.openings import MARK
from pipelines.place import Place
from pipelines.tables import of_catalog
from tests.published import write_bundle

REPOSITORY = Path(__file__).parents[3]
SHIPPED = REPOSITORY / "pipelines" / "ct_lungs" / "pipeline.toml"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A folder with an empty one for pipelines and one for bundles."""
    for name in ("pipelines", "models"):
        (tmp_path / name).mkdir()
    return tmp_path


def invoke(folders: Path, *arguments: str) -> Result:
    places = ("--pipelines", str(folders / "pipelines"), "--models", str(folders / "models"))
    return CliRunner(env={"COLUMNS": "300"}).invoke(app, [*arguments, *places])


def refusal(result: Result) -> str:
    assert isinstance(result.exception, CodedError)
    return str(result.exception)


def declare(folders: Path, origin: str) -> None:
    path = folders / "pipelines" / "ct_lungs" / "pipeline.toml"
    path.parent.mkdir()
    path.write_text(f"{SHIPPED.read_text()}\n{origin}")


def test_a_bundle_that_was_never_brought_is_no_fault(folders: Path) -> None:
    declare(folders, '[origin]\nget = "Fetch it [there]."\nlicence = "free"')
    result = invoke(folders, "list")
    assert result.exit_code == 0
    for part in ("ct_lungs", "Lung volumes", "BUNDLE_MISSING.absent", "Fetch it [there]."):
        assert part in result.stdout


@pytest.mark.parametrize(("enabled", "status"), [("[]", 0), ('["ct_lungs"]', 2)])
def test_a_node_wants_the_bundles_of_what_it_runs(folders: Path, enabled: str, status: int) -> None:
    declare(folders, "")
    config = folders / "config.toml"
    config.write_text(f'[pipelines]\nfolder = "{folders / "pipelines"}"\nmodels = "{folders / "models"}"\nenabled = {enabled}\n')
    command = [sys.executable, "-m", "node", "pipelines", "list", "--config", str(config)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, "")
    assert "BUNDLE_MISSING.absent" in done.stdout


@pytest.mark.parametrize(
    ("enabled", "standing"), [(("ct_lungs",), "available, enabled"), ((), "available, not enabled"), (None, "available")]
)
def test_what_a_node_runs_is_told_from_what_it_does_not(enabled: tuple[str, ...] | None, standing: str) -> None:
    place = Place(enabled=enabled)
    cells = of_catalog(load_catalog(place.pipelines, place.models), place).columns[-1].cells
    assert standing in [str(cell) for cell in cells]


def test_add_writes_what_is_known_and_says_what_is_open(folders: Path) -> None:
    write_bundle(folders / "models", "vessels", ["aorta", "vessel 7 [sic]"])
    result = invoke(folders, "add", "vessels")
    assert result.exit_code == 0, result.output
    for part in ("15825003", "vessel 7 [sic]", "left open", "limits.coverage_mm", "labels.1.type", "Next:", "pin vessels", "test vessels"):
        assert part in result.stdout
    assert MARK in (folders / "pipelines" / "vessels" / "pipeline.toml").read_text()
    assert not (folders / "models" / "manifest.toml").exists(), "adding is not pinning"
    listed = invoke(folders, "list")
    assert listed.exit_code == 2
    assert "BUNDLE_CONTRACT.open" in listed.stdout


def test_add_takes_a_path_into_models_and_another_name(folders: Path) -> None:
    bundle = write_bundle(folders / "models", "vessels", ["aorta"])
    assert invoke(folders, "add", str(bundle), "--name", "big_vessels").exit_code == 0
    assert 'bundle = "vessels"' in (folders / "pipelines" / "big_vessels" / "pipeline.toml").read_text()


def test_add_refuses_what_is_there_and_what_is_not(folders: Path) -> None:
    write_bundle(folders / "models", "vessels", ["aorta"])
    assert invoke(folders, "add", "vessels").exit_code == 0
    assert refusal(invoke(folders, "add", "vessels")).startswith("BUNDLE_CONTRACT.exists")
    assert refusal(invoke(folders, "add", "nothing")).startswith("BUNDLE_MISSING.absent")
    elsewhere = write_bundle(folders / "elsewhere", "bones", ["rib 1"])
    assert "put it there" in refusal(invoke(folders, "add", str(elsewhere)))


def test_pin_takes_the_name_of_a_pipeline_that_is_not_finished(folders: Path) -> None:
    write_bundle(folders / "models", "vessels", ["aorta"])
    invoke(folders, "add", "vessels", "--name", "big_vessels")
    result = invoke(folders, "pin", "big_vessels")
    assert result.exit_code == 0, result.output
    assert "[vessels]" in (folders / "models" / "manifest.toml").read_text()
    assert "manifest.toml" in result.stdout


@pytest.mark.parametrize("verb", ["list", "add", "pin", "run"])
def test_every_verb_has_an_example(verb: str) -> None:
    for program, before in ((app, []), (radnode, ["pipelines"])):
        result = CliRunner(env={"COLUMNS": "200"}).invoke(program, [*before, verb, "--help"])
        assert result.exit_code == 0
        assert f"Example: radnode pipelines {verb}" in result.stdout
