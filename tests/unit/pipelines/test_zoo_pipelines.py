"""The declarations that ship for the Model Zoo: whole, true to what the bundles publish, and waiting for their weights."""

from pathlib import Path

import pytest

from pipelines.catalog import load_catalog
from pipelines.codes.table import read_table
from pipelines.spec import Pipeline, read_pipeline
from tests.zoo_labels import ZOO

REPOSITORY = Path(__file__).parents[3]
NAMES = (
    "brats_mri_segmentation",
    "lung_nodule_ct_detection",
    "pancreas_ct_dints_segmentation",
    "prostate_mri_anatomy",
    "renalstructures_unest_segmentation",
    "spleen_ct_segmentation",
    "swin_unetr_btcv_segmentation",
    "ventricular_short_axis_3label",
    "wholebody_ct_segmentation",
)
SHIPPED = {name: read_pipeline(REPOSITORY / "pipelines" / name / "pipeline.toml") for name in NAMES}
TABLE = read_table()
#: A bundle's name for a label, where its documentation says more than its metadata.
SAYS_MORE = {("ventricular_short_axis_3label", "myocardium"): "left ventricular myocardium"}

every_pipeline = pytest.mark.parametrize("pipeline", SHIPPED.values(), ids=lambda found: found.name)


@every_pipeline
def test_its_bundle_keeps_the_published_name_and_somebody_must_bring_it(pipeline: Pipeline) -> None:
    assert pipeline.name == pipeline.bundle.lower()
    error = load_catalog(REPOSITORY / "pipelines", REPOSITORY / "models").unavailable[pipeline.name]
    assert error.full_code == "BUNDLE_MISSING.absent"
    assert f"monai.bundle download --name {pipeline.bundle} --version " in error.sentence
    assert pipeline.origin is not None
    assert "MIT" in pipeline.origin.licence or "Apache-2.0" in pipeline.origin.licence
    assert "trained on" in pipeline.origin.licence


@every_pipeline
def test_it_promises_nothing(pipeline: Pipeline) -> None:
    assert "not to be used for diagnostic purposes" in pipeline.intended_use


@pytest.mark.parametrize("bundle", [pipeline.bundle for pipeline in SHIPPED.values() if pipeline.bundle in ZOO])
def test_labels_stand_in_the_bundles_order_with_the_codes_of_the_table(bundle: str) -> None:
    pipeline = SHIPPED[bundle.lower()]
    first = 0 if pipeline.outputs.kind == "channels" else 1
    assert [label.value for label in pipeline.labels] == list(range(first, first + len(ZOO[bundle])))
    for label, published in zip(pipeline.labels, ZOO[bundle], strict=True):
        match = TABLE.find(SAYS_MORE.get((bundle, published), published), bundle)
        assert match is not None
        declared = (label.name, label.category, label.type, label.laterality, label.rgb)
        assert declared == (match.name, match.category, match.type, match.laterality, match.rgb)


def test_four_contrasts_are_told_apart_by_how_they_were_acquired() -> None:
    inputs = SHIPPED["brats_mri_segmentation"].inputs
    assert [given.name for given in inputs] == ["t1c", "t1", "t2", "flair"]
    assert all(given.description_pattern == "" for given in inputs)


@pytest.mark.parametrize("name", ["brats_mri_segmentation", "prostate_mri_anatomy"])
def test_what_the_node_does_not_do_is_not_claimed_for_the_site(name: str) -> None:
    assert SHIPPED[name].prerequisites
    assert not SHIPPED[name].prerequisites_met_by_site


def test_a_detector_that_takes_resampled_images_resamples_them_itself() -> None:
    assert SHIPPED["lung_nodule_ct_detection"].overrides == {"whether_raw_luna16": True}
