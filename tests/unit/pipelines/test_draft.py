"""A drafted pipeline.toml holds what is known, is refused while something is open, and runs once it is finished."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from pipelines.draft import Draft, draft, write_draft
from pipelines.errors import BundleContract
from pipelines.openings import MARK
from pipelines.spec import Pipeline, read_pipeline
from tests.published import write_bundle
from tests.zoo_labels import WHOLE_BODY, ZOO

#: What somebody who knows fills in.
ANSWERS: dict[str, Any] = {
    "origin.licence": "free",
    "limits.slice_spacing_mm": {"min": 0.5, "max": 5.0},
    "limits.pixel_spacing_mm": {"min": 0.5, "max": 2.0},
    "limits.coverage_mm": {"min": 100.0, "max": 2000.0},
}


def finished(made: Draft) -> Pipeline:
    table: Any = tomllib.loads(made.text)
    for opening in made.openings:
        *path, last = opening.key.split(".")
        inner = table
        for step in path:
            inner = inner[int(step)] if isinstance(inner, list) else inner[step]
        inner[last] = ANSWERS[opening.key]
    return Pipeline.model_validate(table)


def test_only_what_metadata_cannot_say_is_left_open(tmp_path: Path) -> None:
    made = draft(write_bundle(tmp_path, "spleen_ct_segmentation", ["spleen"]))
    assert {opening.key for opening in made.openings} == set(ANSWERS)
    pipeline = finished(made)
    assert (pipeline.name, pipeline.bundle, pipeline.mode, pipeline.outputs.kind) == (
        "spleen_ct_segmentation",
        "spleen_ct_segmentation",
        "stages",
        "labelmap",
    )
    assert pipeline.inputs[0].modality == ("CT",)
    assert "1.2.840.10008.5.1.4.1.1.2" in pipeline.inputs[0].sop_class_uid


@pytest.mark.parametrize("bundle", [name for name in ZOO if not name.startswith("brats")])
def test_every_label_of_the_zoo_is_coded(tmp_path: Path, bundle: str) -> None:
    pipeline = finished(draft(write_bundle(tmp_path, bundle, ZOO[bundle])))
    assert [label.value for label in pipeline.labels] == list(range(1, len(ZOO[bundle]) + 1))
    assert pipeline.bundle == bundle
    assert pipeline.name == bundle.lower()


def test_left_and_right_are_where_the_bundle_has_them(tmp_path: Path) -> None:
    pipeline = finished(draft(write_bundle(tmp_path, "wholeBody_ct_segmentation", WHOLE_BODY)))
    for label, name in zip(pipeline.labels, WHOLE_BODY, strict=True):
        sides = {"left", "right"} & set(name.split("_"))
        if label.laterality is not None:
            assert {label.laterality.meaning.lower()} == sides, name


def test_an_unknown_label_is_left_open_and_refused(tmp_path: Path) -> None:
    made = draft(write_bundle(tmp_path / "models", "vessels", ["aorta", "vessel 7 [sic]"]))
    assert made.labels["vessel 7 [sic]"] is None
    assert {"labels.1.category", "labels.1.type", "labels.1.rgb"} <= {opening.key for opening in made.openings}
    path = write_draft(made, tmp_path / "pipelines")
    with pytest.raises(BundleContract, match="vessel 7") as fault:
        read_pipeline(path)
    assert fault.value.reason == "open"


def test_every_input_of_several_has_its_name_and_an_open_rule(tmp_path: Path) -> None:
    made = draft(write_bundle(tmp_path, "brain", ["brain"], modality="MR", channels=("T1c", "T1", "T2", "FLAIR", "7T")))
    inputs = tomllib.loads(made.text)["inputs"]
    assert [given["name"] for given in inputs[:4]] == ["t1c", "t1", "t2", "flair"]
    assert inputs[4]["name"].startswith(MARK), "7t is no name"
    assert all(given["description_pattern"].startswith(MARK) for given in inputs)


def test_a_detector_without_labels_leaves_them_open(tmp_path: Path) -> None:
    made = draft(write_bundle(tmp_path, "nodules", evaluator="scripts.evaluator.DetectionEvaluator"))
    table = tomllib.loads(made.text)
    assert (table["mode"], table["outputs"]["kind"]) == ("engine", "boxes")
    assert "measurements" not in table
    assert table["labels"][0]["value"].startswith(MARK)
    assert table["labels_source"].startswith(MARK)


def test_what_is_strange_in_a_bundle_stays_text(tmp_path: Path) -> None:
    strange = 'a "quoted" \\ name\n[labels]\x7f\x00'
    made = draft(write_bundle(tmp_path, "strange", [strange], title="x" * 25))
    table = tomllib.loads(made.text)
    assert table["labels"][0]["name"] == strange
    assert table["title"].startswith(MARK), "a title of 25 characters is too long, and is not cut"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    made = draft(write_bundle(tmp_path / "models", "liver", ["liver"]))
    path = write_draft(made, tmp_path / "pipelines")
    path.write_text("mine")
    with pytest.raises(BundleContract) as fault:
        write_draft(made, tmp_path / "pipelines")
    assert fault.value.reason == "exists"
    assert path.read_text() == "mine"


@pytest.mark.parametrize(("bundle", "name"), [("bad.name", ""), ("9lives", ""), ("good", "Not_Small"), ("good", "../up")])
def test_names_that_a_pipeline_cannot_have_are_refused(tmp_path: Path, bundle: str, name: str) -> None:
    with pytest.raises(BundleContract) as fault:
        draft(write_bundle(tmp_path, bundle, ["liver"]), name)
    assert fault.value.reason == "name"
