"""Bundles as far as `radnode pipelines add` looks at them: what the Model Zoo's metadata.json and inference.json say, without networks."""

import json
from collections.abc import Sequence
from pathlib import Path


def write_bundle(
    models: Path,
    name: str,
    labels: Sequence[str] = (),
    *,
    title: str = "A bundle",
    modality: str = "CT",
    channels: Sequence[str] = ("image",),
    evaluator: str = "SupervisedEvaluator",
    inferer: str = "SlidingWindowInferer",
) -> Path:
    """Write a bundle whose output is a label map of background and ``labels``; detects when there are none."""
    channel_def = {str(number): label for number, label in enumerate(("background", *labels))}
    pred = {"type": "image", "format": "segmentation", "num_channels": len(channel_def), "channel_def": channel_def}
    metadata = {
        "version": "0.1.0",
        "name": title,
        "intended_use": "This is an example, not to be used for diagnostic purposes",
        "network_data_format": {
            "inputs": {"image": {"modality": modality, "num_channels": len(channels), "channel_def": dict(enumerate(channels))}},
            "outputs": {"pred": pred if labels else {"type": "object", "format": "dict"}},
        },
    }
    configs = models / name / "configs"
    configs.mkdir(parents=True)
    (configs / "metadata.json").write_text(json.dumps(metadata))
    (configs / "inference.json").write_text(json.dumps({"evaluator": {"_target_": evaluator}, "inferer": {"_target_": inferer}}))
    return models / name
