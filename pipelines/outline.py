"""What a bundle says of itself: its metadata and its inference configuration, read as data. Nothing of it is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.catalog import INFERENCE_CONFIGS
from pipelines.errors import BundleContract, BundleMissing

MONAI_EVALUATOR = "SupervisedEvaluator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What can be known of a bundle without running it; empty where it does not say.

    Attributes
    ----------
    name, version, task, intended_use, licence : str
        Out of metadata.json.
    modality : str
        Of the input, as DICOM writes it: CT, MR.
    channels : tuple of str
        The names of the input's channels, in their order; one empty name for each where they have none.
    pred_type, pred_format : str
        What metadata.json calls the output: image, object, segmentation, classification.
    labels : mapping of int to str
        Of the output: channel_def, or label_def where there is none.
    evaluator, inferer : str
        Their ``_target_`` in the inference configuration.
    """

    name: str
    version: str
    task: str
    intended_use: str
    licence: str
    modality: str
    channels: tuple[str, ...]
    pred_type: str
    pred_format: str
    labels: Mapping[int, str]
    evaluator: str
    inferer: str

    @property
    def mode(self) -> str:
        """``stages`` or ``engine`` as evaluator and inferer suggest; empty when they do not."""
        if "scripts." in self.evaluator or "scripts." in self.inferer:
            return "engine"
        ours = self.evaluator.rpartition(".")[2] == MONAI_EVALUATOR and self.inferer and not self.inferer.startswith(("$", "@", "%"))
        return "stages" if ours else ""

    @property
    def kind(self) -> str:
        """What `pipelines.spec.Outputs.kind` seems to be; empty when metadata.json does not tell."""
        if self.pred_type == "object":
            return "boxes"
        if {self.pred_type, self.pred_format} & {"classes", "classification", "probabilities", "regression"}:
            return "scores"
        if not self.labels or self.pred_format not in {"segmentation", "labels"}:
            return ""
        # Where channel 0 is no background, the channels do not exclude each other.
        return "labelmap" if self.labels.get(0, "").lower() == "background" else "channels"


def read_outline(bundle: Path) -> Outline:
    """Read what a bundle says of itself.

    Parameters
    ----------
    bundle : Path
        Its folder.

    Raises
    ------
    BundleMissing
        reason ``absent``, ``metadata`` or ``inference``.
    BundleContract
        reason ``metadata`` or ``load``: a file is neither JSON nor YAML, or no table.
    """
    if not bundle.is_dir():
        raise BundleMissing(
            f"There is no bundle {bundle.name} in {bundle.parent}: put its folder there as it was published.", reason="absent"
        )
    if not (bundle / "configs" / "metadata.json").is_file():
        raise BundleMissing(f"Bundle {bundle.name} has no configs/metadata.json.", reason="metadata")
    config = next((path for name in INFERENCE_CONFIGS if (path := bundle / "configs" / name).is_file()), None)
    if config is None:
        raise BundleMissing(f"Bundle {bundle.name} has no configs/{' or '.join(INFERENCE_CONFIGS)}.", reason="inference")
    metadata = _read_table(bundle / "configs" / "metadata.json", "metadata")
    image, pred = (_only(_table(metadata, "network_data_format", part)) for part in ("inputs", "outputs"))
    inference = _read_table(config, "load")
    return Outline(
        **{key: str(metadata.get(key, "")) for key in ("name", "version", "task", "intended_use")},
        licence=str(metadata.get("license", "")),
        modality={"MRI": "MR", "PET": "PT"}.get(modality := str(image.get("modality", "")).upper(), modality),
        channels=_channels(image),
        pred_type=str(pred.get("type", "")).lower(),
        pred_format=str(pred.get("format", "")).lower(),
        labels=_labels(pred),
        evaluator=str(_table(inference, "evaluator").get("_target_", "")),
        inferer=str(_table(inference, "inferer").get("_target_", "")),
    )


def _read_table(path: Path, reason: str) -> dict[str, Any]:
    """Read JSON or YAML; tags that would build objects are refused by both."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise BundleContract(f"{path.name} of bundle {path.parents[1].name} cannot be read: {error}.", reason=reason) from error
    if not isinstance(content, dict):
        raise BundleContract(f"{path.name} of bundle {path.parents[1].name} is no table.", reason=reason)
    return content


def _table(content: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The table behind some keys; an empty one where there is none."""
    for key in keys:
        inner = content.get(key)
        content = inner if isinstance(inner, dict) else {}
    return dict(content)


def _only(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The image among the inputs, or the prediction among the outputs: the first that is a table."""
    return next((entry for entry in entries.values() if isinstance(entry, dict)), {})


def _channels(image: Mapping[str, Any]) -> tuple[str, ...]:
    count = image.get("num_channels")
    names = _table(image, "channel_def")
    if not isinstance(count, int) or count < 1:
        return ()
    return tuple(str(names.get(str(number), "")) for number in range(count))


def _labels(pred: Mapping[str, Any]) -> dict[int, str]:
    names = _table(pred, "channel_def") or _table(pred, "label_def")
    return {int(value): str(name) for value, name in names.items() if str(value).isdecimal()}
