"""``radnode evaluate`` on real DICOM SEG objects, label files and files of cases, as an operator types it."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from node.cli import app
from node.encode.objects import encode
from pipelines.errors import EvaluationError
from pipelines.measure import measure
from pipelines.phantom import make_chest_ct, write_datasets
from pipelines.result import Inference, LabelMap, SeriesFiles
from pipelines.series import read_volume
from pipelines.spec import read_pipeline
from tests.unit.encode.sources import EQUIPMENT, MODEL, make_job

ROOT = Path(__file__).parents[3]
DECLARATION = ROOT / "pipelines" / "ct_lungs" / "pipeline.toml"


def evaluate(*arguments: str | Path) -> str:
    """Run the verb within this process, which has loaded torch already, and return what it prints."""
    done = CliRunner().invoke(app, ["evaluate", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.fixture(scope="module")
def chest(tmp_path_factory):
    """A phantom's volume and truth, and a function that encodes labels as a SEG of it."""
    phantom = make_chest_ct(shape=(24, 64, 80), spacing_mm=(12.0, 3.0, 3.0))
    folder = tmp_path_factory.mktemp("chest")
    uid = phantom.series_instance_uid
    volume = read_volume(SeriesFiles(series_instance_uid=uid, paths=tuple(write_datasets(phantom.datasets, folder))))
    pipeline = read_pipeline(DECLARATION)

    def segmentation(labels, path):
        label_map = LabelMap(array=labels, grid=volume.grid)
        inference = Inference(
            pipeline=pipeline.name,
            model=MODEL,
            volume=volume,
            output=label_map,
            findings=measure(pipeline, volume, label_map),
            device="cpu",
            seconds={},
        )
        job = replace(make_job(), study_instance_uid=phantom.study_instance_uid, series_instance_uids=(uid,))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(inference, job, EQUIPMENT, pipeline)[0].content)

    return phantom.labels, volume.grid, segmentation


def shifted(labels: np.ndarray) -> np.ndarray:
    """One slice further: the frames of the SEG begin and end elsewhere than those of the reference."""
    found = np.zeros_like(labels)
    found[1:] = labels[:-1]
    return found


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def test_segmentations_in_folders(chest, tmp_path) -> None:
    labels, _, segmentation = chest
    segmentation(labels, tmp_path / "truth" / "reader.dcm")
    segmentation(shifted(labels), tmp_path / "found" / "ours.dcm")
    assert len(dcmread(tmp_path / "truth" / "reader.dcm").PerFrameFunctionalGroupsSequence) < 48, "frames without a voxel are left out"
    text = evaluate(tmp_path / "truth", tmp_path / "found", "--out", tmp_path / "out", "--resamples", "20")
    with (tmp_path / "out" / "cases.csv").open() as file:
        lines = {line["label"]: line for line in csv.DictReader(file)}
    assert set(lines) == {"Right lung", "Left lung"}
    for value, name in ((1, "Right lung"), (2, "Left lung")):
        assert float(lines[name]["dice"]) == pytest.approx(dice(labels == value, shifted(labels) == value), abs=1e-6)
        assert float(lines[name]["volume_error_ml"]) == pytest.approx(0.0, abs=1e-6)
        assert 0.0 < float(lines[name]["hausdorff_95_mm"]) <= 12.0
    assert (tmp_path / "out" / "dice.png").stat().st_size > 10_000
    assert "Right lung" in text


def test_a_segmentation_against_a_label_file(chest, tmp_path) -> None:
    labels, grid, segmentation = chest
    np.savez_compressed(tmp_path / "truth.npz", labels=labels, affine_lps=grid.affine)
    segmentation(labels, tmp_path / "seg" / "ours.dcm")
    names = ("--label", "1=Right lung", "--label", "2=Left lung")
    evaluate(tmp_path / "truth.npz", tmp_path / "seg" / "ours.dcm", *names, "--out", tmp_path / "out", "--resamples", "20")
    estimates = json.loads((tmp_path / "out" / "summary.json").read_text())["estimates"]
    assert {one["value"] for one in estimates if one["measure"] == "Dice"} == {1.0}


def test_a_case_without_its_output_is_no_evaluation(chest, tmp_path) -> None:
    labels, _, segmentation = chest
    segmentation(labels, tmp_path / "truth" / "reader.dcm")
    (tmp_path / "found").mkdir()
    with pytest.raises(EvaluationError, match=r"EVALUATION\.pairs.*reader\.dcm has no output"):
        evaluate(tmp_path / "truth", tmp_path / "found", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_a_file_of_cases(task, tmp_path) -> None:
    thing = {"center_mm": [0, 0, 0], "size_mm": [5, 5, 5]}
    cases = {
        "detection": [{"case": str(n), "reference": [thing], "output": [thing | {"score": 0.1 * n}]} for n in range(1, 5)],
        "classification": [{"case": str(n), "reference": {"A": n % 2, "B": 0}, "output": {"A": 0.2 * n, "B": 0.1}} for n in range(1, 5)],
    }
    (tmp_path / "cases.json").write_text(json.dumps({"task": task, "title": "made", "cases": cases[task]}))
    evaluate(tmp_path / "cases.json", "--out", tmp_path / "out", "--resamples", "20")
    figures = {"detection": ["froc.png"], "classification": ["roc.png", "confusion.png"]}[task]
    assert all((tmp_path / "out" / name).stat().st_size > 5_000 for name in figures)
    assert (tmp_path / "out" / "summary.md").read_text().startswith("made\n")
