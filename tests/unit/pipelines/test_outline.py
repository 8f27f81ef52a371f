"""A bundle is read as data: what it says is taken, what it does not say stays empty, and nothing of it runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import BundleContract, BundleMissing
from pipelines.outline import Outline, read_outline


def write(models: Path, metadata: Any, inference: str = "{}", *, suffix: str = ".json") -> Path:
    configs = models / "some_bundle" / "configs"
    configs.mkdir(parents=True)
    (configs / "metadata.json").write_text(metadata if isinstance(metadata, str) else json.dumps(metadata))
    (configs / f"inference{suffix}").write_text(inference)
    return models / "some_bundle"


def outline_of(
    models: Path, pred: dict[str, Any], evaluator: str = "SupervisedEvaluator", inferer: str = "SlidingWindowInferer"
) -> Outline:
    inference = json.dumps({"evaluator": {"_target_": evaluator}, "inferer": {"_target_": inferer}})
    return read_outline(write(models, {"network_data_format": {"outputs": {"pred": pred}}}, inference))


def test_a_bundle_that_says_nothing_is_an_outline_of_nothing(tmp_path: Path) -> None:
    outline = read_outline(write(tmp_path, {}))
    assert (outline.name, outline.modality, outline.channels, dict(outline.labels), outline.mode, outline.kind) == ("", "", (), {}, "", "")


def test_inputs_are_read_in_their_order(tmp_path: Path) -> None:
    image = {"modality": "MRI", "num_channels": 3, "channel_def": {"2": "FLAIR", "0": "T1c", "1": "T1"}}
    outline = read_outline(write(tmp_path, {"network_data_format": {"inputs": {"image": image}}}))
    assert (outline.modality, outline.channels) == ("MR", ("T1c", "T1", "FLAIR"))


def test_labels_may_stand_under_another_name(tmp_path: Path) -> None:
    outline = outline_of(tmp_path, {"type": "image", "format": "segmentation", "label_def": {"0": "background", "1": "liver"}})
    assert outline.labels == {0: "background", 1: "liver"}


@pytest.mark.parametrize(
    ("evaluator", "inferer", "mode"),
    [
        ("SupervisedEvaluator", "SlidingWindowInferer", "stages"),
        ("monai.engines.SupervisedEvaluator", "monai.inferers.SimpleInferer", "stages"),
        ("scripts.evaluator.DetectionEvaluator", "SlidingWindowInferer", "engine"),
        ("SupervisedEvaluator", "scripts.detection_inferer.RetinaNetInferer", "engine"),
        ("EnsembleEvaluator", "SlidingWindowInferer", ""),
        ("SupervisedEvaluator", "$some.expression()", ""),
        ("SupervisedEvaluator", "", ""),
    ],
)
def test_the_mode_is_guessed_only_where_it_can_be(tmp_path: Path, evaluator: str, inferer: str, mode: str) -> None:
    assert outline_of(tmp_path, {}, evaluator, inferer).mode == mode


@pytest.mark.parametrize(
    ("pred", "kind"),
    [
        ({"type": "image", "format": "segmentation", "channel_def": {"0": "background", "1": "spleen"}}, "labelmap"),
        ({"type": "image", "format": "labels", "channel_def": {"0": "Background", "1": "central gland"}}, "labelmap"),
        ({"type": "image", "format": "segmentation", "channel_def": {"0": "Tumor core", "1": "Whole tumor"}}, "channels"),
        ({"type": "object", "format": "dict"}, "boxes"),
        ({"type": "probabilities", "format": "classes", "channel_def": {"0": "A"}}, "scores"),
        ({"type": "image", "format": "segmentation"}, ""),
        ({"type": "image", "format": "magnitude", "channel_def": {"0": "image"}}, ""),
    ],
)
def test_the_kind_of_output_is_guessed_only_where_it_can_be(tmp_path: Path, pred: dict[str, Any], kind: str) -> None:
    assert outline_of(tmp_path, pred).kind == kind


def test_yaml_is_read_and_builds_nothing(tmp_path: Path) -> None:
    outline = read_outline(
        write(tmp_path, {}, "evaluator:\n  _target_: SupervisedEvaluator\ndevice: $torch.device('cpu')\n", suffix=".yaml")
    )
    assert outline.evaluator == "SupervisedEvaluator"


@pytest.mark.parametrize(
    ("metadata", "inference", "suffix", "reason"),
    [
        ("{", "{}", ".json", "metadata"),
        ("[]", "{}", ".json", "metadata"),
        ("{}", "{", ".json", "load"),
        ("{}", "- a list", ".yaml", "load"),
        ("{}", "a: [", ".yaml", "load"),
        ("{}", "!!python/object/apply:os.getcwd []", ".yaml", "load"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, metadata: str, inference: str, suffix: str, reason: str) -> None:
    with pytest.raises(BundleContract) as fault:
        read_outline(write(tmp_path, metadata, inference, suffix=suffix))
    assert fault.value.reason == reason


@pytest.mark.parametrize(
    ("missing", "reason"), [("", "absent"), ("configs/metadata.json", "metadata"), ("configs/inference.json", "inference")]
)
def test_what_is_missing_is_named(tmp_path: Path, missing: str, reason: str) -> None:
    bundle = write(tmp_path, {})
    (bundle / missing).unlink() if missing else bundle.rename(tmp_path / "elsewhere")
    with pytest.raises(BundleMissing) as fault:
        read_outline(bundle)
    assert fault.value.reason == reason
