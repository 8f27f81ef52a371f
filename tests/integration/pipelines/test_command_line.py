"""python -m pipelines, as a user meets it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.phantom import make_chest_ct
from tests.phantoms import TINY, write_ct_chest

REPOSITORY = Path(__file__).parents[3]


def pipelines(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200"}
    command = [sys.executable, "-m", "pipelines", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chest")
    write_ct_chest(folder)
    write_ct_chest(folder / "short", seed=1, shape=TINY)
    (folder / "readme.txt").write_text("not DICOM")
    return folder


def test_list_shows_what_is_available() -> None:
    done = pipelines("list")
    assert done.returncode == 0, done.stderr
    assert "ct_lungs" in done.stdout
    assert "available" in done.stdout


def test_run_chooses_measures_and_saves(chest: Path, tmp_path: Path) -> None:
    done = pipelines("run", "ct_lungs", str(chest), "--device", "cpu", "--save", str(tmp_path / "found"))
    assert done.returncode == 0, done.stderr
    for part in ("1 files are not DICOM", "Size is 6 instances", "Right lung", "Left lung", "ml", "[hnsf'U]", "below -950 HU"):
        assert part in done.stdout
    (arrays,) = (tmp_path / "found").glob("*.npz")
    assert json.loads(arrays.with_suffix(".json").read_text())["findings"][0]["name"] == "Right lung"
    saved = np.load(arrays)
    truth = make_chest_ct().labels
    assert saved["labels"].shape == truth.shape
    assert (saved["labels"] == truth).mean() > 0.99
    assert saved["affine_lps"].shape == (4, 4)
    assert "MONAI" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run", "no_such_pipeline", "{folder}"), "BUNDLE_CONTRACT.unreadable"),
        (("run", "ct_lungs", "{folder}/short"), "NO_USABLE_SERIES"),
        (("run", "ct_lungs", "{folder}", "--device", "abacus"), "BUNDLE_CONTRACT.device"),
        (("pin", "no_such_bundle"), "BUNDLE_MISSING"),
    ],
)
def test_a_refusal_is_one_coded_sentence_and_status_2(chest: Path, arguments: tuple[str, ...], code: str) -> None:
    done = pipelines(*(argument.format(folder=chest) for argument in arguments))
    assert done.returncode == 2
    assert done.stderr.startswith(code)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
