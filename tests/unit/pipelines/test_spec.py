"""pipeline.toml says everything, or says what is wrong with it."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import BundleContract
from pipelines.spec import Pipeline, Span, read_pipeline

SHIPPED = Path(__file__).parents[3] / "pipelines" / "ct_lungs" / "pipeline.toml"


def test_the_shipped_pipeline_reads() -> None:
    pipeline = read_pipeline(SHIPPED)
    assert [label.name for label in pipeline.labels] == ["Right lung", "Left lung"]


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ('choose = "thinnest"', 'chose = "thinnest"', "inputs.0.chose"),
        ('choose = "thinnest"', 'choose = "newest"', "inputs.0.choose"),
        ("value = 2\n", "value = 1\n", "two labels have the same value"),
        ("value = 2\n", "value = 0\n", "0 is the background"),
        ("threshold = -950.0", "", "threshold belongs to percent_below"),
        ("slice_spacing_mm = { min = 0.3", "slice_spacing_mm = { min = 9.3", "min 9.3 is above max 5"),
        ("rgb = [224, 170, 120]", "rgb = [224, 170, 300]", "labels.0.rgb"),
        ('scheme = "SCT", meaning = "Lung"', 'scheme = "HOME", meaning = "Lung"', "labels.0.type.scheme"),
        ('title = "Lung volumes"', 'title = "Lung volumes and very much more"', "title"),
        ('segmentation = "binary"', 'kind = "boxes"', "mean, percent_below, volume_ml cannot be measured on boxes"),
        ('segmentation = "binary"', "min_score = 0.5", "min_score belongs to boxes"),
        ("seconds = 600", "seconds = 0", "limits.seconds"),
        ('name = "ct_lungs"', 'name = "../lungs"', "name"),
        ('bundle = "ct_lungs"', 'bundle = "../lungs"', "bundle"),
        ('bundle = "ct_lungs"', 'bundle = "ct_lungs"\norigin = { get = "somewhere" }', "origin.licence"),
    ],
)
def test_a_fault_is_named_by_its_key(old: str, new: str, part: str, tmp_path: Path) -> None:
    text = SHIPPED.read_text()
    assert old in text
    path = tmp_path / "ct_lungs" / "pipeline.toml"
    path.parent.mkdir()
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BundleContract) as fault:
        read_pipeline(path)
    assert fault.value.reason == "declaration"
    assert part in fault.value.sentence


@pytest.mark.parametrize(
    ("folder", "write", "reason"),
    [
        ("ct_lungs", lambda path: path.write_text("name = "), "syntax"),
        ("ct_lungs", lambda path: None, "unreadable"),
        ("other", lambda path: path.write_text(SHIPPED.read_text()), "name"),
    ],
)
def test_an_unusable_file_has_its_own_reason(folder: str, write: Callable[[Path], Any], reason: str, tmp_path: Path) -> None:
    path = tmp_path / folder / "pipeline.toml"
    path.parent.mkdir()
    write(path)
    with pytest.raises(BundleContract) as fault:
        read_pipeline(path)
    assert fault.value.reason == reason


def test_every_fault_is_reported_at_once() -> None:
    content = tomllib.loads(SHIPPED.read_text())
    content["limits"]["seconds"] = -1
    content["labels"][0]["value"] = 999
    with pytest.raises(ValueError, match="2 validation errors"):
        Pipeline.model_validate(content)


def test_a_span_includes_both_ends() -> None:
    span = Span(min=0.3, max=5.0)
    assert 0.3 in span
    assert 5.0 in span
    assert 5.001 not in span
    assert "5" not in span


def test_a_bundle_keeps_the_name_under_which_it_was_published(tmp_path: Path) -> None:
    table = tomllib.loads(SHIPPED.read_text()) | {"bundle": "renalStructures_UNEST_segmentation"}
    assert Pipeline.model_validate(table).bundle == "renalStructures_UNEST_segmentation"


def test_what_is_left_open_is_refused_and_listed(tmp_path: Path) -> None:
    text = SHIPPED.read_text()
    for old, new in (
        ('title = "Lung volumes"', 'title = "OPEN: up to 24 characters"'),
        ("coverage_mm = { min = 120.0, max = 2000.0 }", 'coverage_mm = "OPEN: a span"'),
        ("rgb = [120, 190, 224]", 'rgb = "OPEN: a colour"'),
    ):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "ct_lungs" / "pipeline.toml"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(BundleContract) as fault:
        read_pipeline(path)
    assert fault.value.reason == "open"
    for part in ("title (up to 24 characters)", "limits.coverage_mm (a span)", "labels.1.rgb (a colour)"):
        assert part in fault.value.sentence
