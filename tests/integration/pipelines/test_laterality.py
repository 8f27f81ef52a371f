"""A pipeline that takes left for right is found out on a case whose answer is known."""

import shutil
from pathlib import Path

import pytest

from pipelines.catalog import load_entry, pin
from pipelines.errors import BundleContract
from pipelines.laterality import check_sides, read_known_case
from pipelines.phantom import make_chest_ct, write_datasets

REPOSITORY = Path(__file__).parents[3]
CASE = REPOSITORY / "pipelines" / "ct_lungs" / "known_case.toml"
LUNGS = ["Right lung right", "Left lung left"]


@pytest.fixture(scope="module")
def exchanged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The shipped pipeline with a bundle that calls the right lung left."""
    folder = tmp_path_factory.mktemp("exchanged")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "pipelines" / "ct_lungs", folder / "pipelines" / "ct_lungs", ignore=ignore)
    shutil.copytree(REPOSITORY / "models", folder / "models", ignore=ignore)
    script = folder / "models" / "ct_lungs" / "scripts" / "lungs.py"
    assert "def to_labels" in script.read_text()
    script.write_text(
        script.read_text().replace("def to_labels(", "def to_labels_rightly(")
        + "\n\ndef to_labels(field):\n    return to_labels_rightly(-field)\n"
    )
    pin("ct_lungs", folder / "models")
    return folder / "pipelines", folder / "models"


def test_the_shipped_pipeline_knows_left_from_right() -> None:
    entry = load_entry(REPOSITORY / "pipelines" / "ct_lungs" / "pipeline.toml", REPOSITORY / "models")
    report = check_sides(entry, CASE)
    assert report is not None
    assert [check.sentence for check in report.checks if not check.passed] == []
    names = [check.name for check in report.checks]
    assert [f"axial phantom: {lung}" for lung in [*LUNGS, "Right lung", "Left lung"]] == names[:4]
    assert [name for name in names if name.startswith("oblique phantom")]


def test_exchanged_sides_are_found_out_on_files(exchanged: tuple[Path, Path], tmp_path: Path) -> None:
    write_datasets(make_chest_ct().datasets, tmp_path / "case" / "chest")
    (tmp_path / "known_case.toml").write_text('folders = ["case/chest"]\n')
    report = check_sides(load_entry(exchanged[0] / "ct_lungs" / "pipeline.toml", exchanged[1]), tmp_path / "known_case.toml")
    assert report is not None
    assert not report.passed
    assert [check.passed for check in report.checks] == [False, False]
    assert "to the left; it lies right" in report.checks[0].sentence


def test_what_is_refused_is_no_success(tmp_path: Path) -> None:
    write_datasets(make_chest_ct(shape=(6, 16, 20)).datasets, tmp_path / "chest")
    (tmp_path / "known_case.toml").write_text('folders = ["chest"]\n')
    entry = load_entry(REPOSITORY / "pipelines" / "ct_lungs" / "pipeline.toml", REPOSITORY / "models")
    report = check_sides(entry, tmp_path / "known_case.toml")
    assert report is not None
    assert not report.passed
    assert "GEOMETRY" in report.checks[0].sentence


def test_no_known_case_is_no_report(tmp_path: Path) -> None:
    assert read_known_case(tmp_path / "known_case.toml") is None


@pytest.mark.parametrize(
    "text", ["", 'phantom = "chest"\nfolders = ["a"]', 'phantom = "head"', "more = 1", "[sides]\n1 = 'up'", "nonsense"]
)
def test_a_faulty_known_case_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "known_case.toml").write_text(text)
    with pytest.raises(BundleContract) as refusal:
        read_known_case(tmp_path / "known_case.toml")
    assert refusal.value.reason == "known_case"
