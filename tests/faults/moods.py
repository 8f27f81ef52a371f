"""A real bundle whose network behaves as badly as its pipeline asks it to, and the pipelines that do."""

import json
from pathlib import Path

from pipelines import catalog

SCRIPT = """
import ctypes
import os
import signal
import time

import torch

KEPT = []


class Moody(torch.nn.Module):
    def __init__(self, mood):
        super().__init__()
        self.mood = mood

    def forward(self, windows):
        if self.mood == "hangs":
            ctypes.PyDLL(None).sleep(600)
        if self.mood == "segfaults":
            ctypes.string_at(0)
        if self.mood == "deadly":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)  # it goes with its worker
        if self.mood == "greedy":
            torch.zeros(2**44)
        if self.mood == "leaky":
            # Too much for several windows at a time; for one it suffices, but not all is given back.
            torch.zeros(len(windows) ** 4, 30_000_000)
            KEPT.append(torch.ones(8_000_000))
        return (windows > -500.0).float()
"""

CONFIG = {
    "imports": ["$import torch"],
    "output_dir": "eval",
    "device": "$torch.device('cpu')",
    "network_def": {"_target_": "scripts.net.Moody", "mood": "sound"},
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "LoadImaged", "keys": "image"}, {"_target_": "EnsureChannelFirstd", "keys": "image"}],
    },
    "dataset": {"_target_": "Dataset", "data": [], "transform": "@preprocessing"},
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset"},
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 4, "overlap": 0},
    "postprocessing": {"_target_": "Compose", "transforms": []},
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network_def",
        "inferer": "@inferer",
    },
}

PIPELINE = """
name = "{mood}"
title = "{mood}"
bundle = "moody"
intended_use = "A test."
measurements = [{{ kind = "volume_ml" }}]

[series]
modality = ["CT"]
description_pattern = "^{mood}$"

[limits]
slice_spacing_mm = {{ min = 0.1, max = 50.0 }}
pixel_spacing_mm = {{ min = 0.1, max = 50.0 }}
coverage_mm = {{ min = 1.0, max = 5000.0 }}
max_voxels = 1_000_000
seconds = {seconds}

[[labels]]
value = 1
name = "Body"
category = {{ value = "123037004", scheme = "SCT", meaning = "Anatomical Structure" }}
type = {{ value = "38266002", scheme = "SCT", meaning = "Entire body" }}
rgb = [224, 170, 120]

[overrides]
"network_def#mood" = "{mood}"
"""


def write_moods(folder: Path, moods: dict[str, int]) -> None:
    """Write the bundle below ``models`` and a pipeline for each mood below ``pipelines``, with the seconds that it may take."""
    bundle = folder / "models" / "moody"
    for name, text in {
        "configs/inference.json": json.dumps(CONFIG),
        "configs/metadata.json": json.dumps(
            {"version": "1.0.0", "network_data_format": {"outputs": {"pred": {"channel_def": {"0": "background", "1": "body"}}}}}
        ),
        "scripts/__init__.py": "",
        "scripts/net.py": SCRIPT,
    }.items():
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_text(text)
    for mood, seconds in moods.items():
        (folder / "pipelines" / mood).mkdir(parents=True)
        (folder / "pipelines" / mood / "pipeline.toml").write_text(PIPELINE.format(mood=mood, seconds=seconds))
    catalog.pin("moody", folder / "models")
