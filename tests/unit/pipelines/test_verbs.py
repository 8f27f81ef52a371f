"""The verbs on pipelines that need no model, as a data scientist meets them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from rich.table import Table
from typer.testing import CliRunner, Result

from node.cli import app as radnode
from pipelines.__main__ import app
from pipelines.catalog import load_catalog
from pipelines.errors import CodedError
from pipelines.openings import MARK
from pipelines.place import Place
from pipelines.tables import of_catalog
from tests.phantoms import TINY, write_ct_chest
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
    table = of_catalog(load_catalog(place.pipelines, place.models), place).renderables[0]
    assert isinstance(table, Table)
    assert standing in [str(cell) for cell in table.columns[-1].cells]


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
    pinned = tomllib.loads((folders / "models" / "manifest.toml").read_text())["vessels"]
    assert pinned["licence"] == "not stated", "what is open is no licence"
    assert "manifest.toml" in result.stdout


def test_pin_states_what_the_declaration_says_of_source_and_licence(folders: Path) -> None:
    write_bundle(folders / "models", "ct_lungs", ["right lung", "left lung"])
    declare(folders, '[origin]\nget = "wget it"\nlicence = "as \\"free\\" as air"')
    assert "see that" in invoke(folders, "pin", "ct_lungs").stdout
    pinned = tomllib.loads((folders / "models" / "manifest.toml").read_text())["ct_lungs"]
    assert (pinned["source"], pinned["licence"]) == ("wget it", 'as "free" as air')


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Twenty slices that ct_lungs takes, six that it does not, and a text."""
    folder = tmp_path / "study"
    write_ct_chest(folder, shape=(20, 16, 20))
    write_ct_chest(folder / "short", seed=1, shape=TINY)
    (folder / "readme.txt").write_text("not DICOM")
    return folder


def test_explain_tells_field_by_field_what_was_wanted_and_what_was_found(folders: Path, study: Path) -> None:
    declare(folders, "")  # its bundle is not there, and need not be
    result = invoke(folders, "explain", str(study))
    assert result.exit_code == 0, result.output
    for part in ("1 files are not DICOM", "ct_lungs: takes:", "20 slices: taken", "Size is 6 instances", "Slice thickness", "20 to 3000"):
        assert part in result.stdout
    assert result.stdout.count(" no ") == 1, "the short series fails one criterion, the other one none"


def test_explain_goes_on_behind_a_pipeline_that_cannot_be_asked(folders: Path, study: Path) -> None:
    declare(folders, "")
    (folders / "pipelines" / "broken").mkdir()
    (folders / "pipelines" / "broken" / "pipeline.toml").write_text("nonsense")
    result = invoke(folders, "explain", str(study))
    assert result.exit_code == 2
    assert "ct_lungs: takes:" in result.stdout
    assert "broken: BUNDLE_CONTRACT.syntax" in result.stdout
    alone = invoke(folders, "explain", str(study), "--pipeline", "ct_lungs")
    assert alone.exit_code == 0
    assert "broken" not in alone.stdout


def test_explain_refuses_a_folder_that_is_not_there(folders: Path) -> None:
    assert refusal(invoke(folders, "explain", str(folders / "nowhere"))).startswith("NO_USABLE_SERIES.no_folder")


def test_four_contrasts_of_one_patient_are_taken_in_the_bundles_order(test_data: Path) -> None:
    arguments = ["explain", str(test_data / "mr_brain_enhanced_nema_tumour"), "--pipeline", "brats_mri_segmentation"]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert result.exit_code == 0, result.output
    taken = re.findall(r"5020\.(\d+)\.\S+, 24 slices: taken as (\w+)", result.stdout)
    assert dict(taken) == {"8": "t1c", "5": "t1", "4": "t2", "3": "flair"}


@pytest.mark.parametrize("verb", ["list", "add", "pin", "test", "explain", "run"])
def test_every_verb_has_an_example(verb: str) -> None:
    for program, before in ((app, []), (radnode, ["pipelines"])):
        result = CliRunner(env={"COLUMNS": "200"}).invoke(program, [*before, verb, "--help"])
        assert result.exit_code == 0
        assert f"Example: radnode pipelines {verb}" in result.stdout
