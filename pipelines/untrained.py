"""A bundle without training, in the form in which segmentation bundles are published: for measuring speed where there are no weights.

Its configuration is that of a spleen bundle: RAS, 1.5 x 1.5 x 2 mm, a window of Hounsfield units, UNet with 4.8 million parameters, windows
of 96 voxels that overlap by half, probabilities interpolated to the source grid, argmax there. What it finds means nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import UNet

from pipelines.catalog import pin

NAME = "untrained_spleen"

NETWORK: Mapping[str, Any] = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [16, 32, 64, 128, 256],
    "strides": [2, 2, 2, 2],
    "num_res_units": 2,
    "norm": "batch",
}
_IMAGE = {"type": "image", "format": "hounsfield", "modality": "CT", "num_channels": 1, "spatial_shape": [96, 96, 96], "dtype": "float32"}
_PRED = {**_IMAGE, "format": "segmentation", "num_channels": 2, "channel_def": {"0": "background", "1": "spleen"}}
METADATA: Mapping[str, Any] = {
    "version": "0.0.1",
    "name": "Untrained spleen",
    "task": "none: the weights are random numbers",
    "authors": "The RadNode authors",
    "network_data_format": {
        "inputs": {"image": {**_IMAGE, "value_range": [0, 1], "is_patch_data": True, "channel_def": {"0": "image"}}},
        "outputs": {"pred": {**_PRED, "value_range": [0, 1], "is_patch_data": True}},
    },
}
_PRE = [
    {"_target_": "LoadImaged", "keys": "@image_key"},
    {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
    {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
    {"_target_": "Spacingd", "keys": "@image_key", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
    {"_target_": "ScaleIntensityRanged", "keys": "@image_key", "a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1, "clip": True},
    {"_target_": "EnsureTyped", "keys": "@image_key"},
]
_INVERT = {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "@image_key", "nearest_interp": False}
_POST = [
    {"_target_": "Activationsd", "keys": "pred", "softmax": True},
    {**_INVERT, "meta_key_postfix": "meta_dict", "to_tensor": True},
    {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
    {"_target_": "SaveImaged", "keys": "pred", "meta_keys": "pred_meta_dict", "output_dir": "@output_dir"},
]
INFERENCE: Mapping[str, Any] = {
    "imports": ["$import glob", "$import os"],
    "bundle_root": ".",
    "image_key": "image",
    "output_dir": "$@bundle_root + '/eval'",
    "dataset_dir": "/data/Task09_Spleen",
    "datalist": "$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "network_def": NETWORK,
    "network": "$@network_def.to(@device)",
    "preprocessing": {"_target_": "Compose", "transforms": _PRE},
    "dataset": {"_target_": "Dataset", "data": "$[{'image': i} for i in @datalist]", "transform": "@preprocessing"},
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "shuffle": False, "num_workers": 0},
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [96, 96, 96], "sw_batch_size": 4, "overlap": 0.5},
    "postprocessing": {"_target_": "Compose", "transforms": _POST},
    "handlers": [
        {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
            "map_location": "@device",
        },
        {"_target_": "StatsHandler", "iteration_log": False},
    ],
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
        "val_handlers": "@handlers",
        "amp": True,
    },
    "run": ["$@evaluator.run()"],
}


def write_untrained(models: Path) -> Path:
    """Write the bundle into a folder of bundles and pin it there; the same weights every time.

    Returns
    -------
    Path
        The bundle's folder.
    """
    folder = models / NAME
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, content in (("metadata", METADATA), ("inference", {**INFERENCE, "imports": [*INFERENCE["imports"], "$import torch"]})):
        (folder / "configs" / f"{name}.json").write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet(**{key: value for key, value in NETWORK.items() if key != "_target_"})
        torch.save({"model": network.state_dict()}, folder / "models" / "model.pt")
    pin(NAME, models)
    return folder


def declaration_of(name: str, tables: str = "") -> str:
    """A pipeline.toml for the bundle, with further tables at its end."""
    return f"""name = "{name}"
title = "Untrained"
bundle = "{NAME}"
intended_use = "Measuring speed. What it finds means nothing."

[series]
modality = ["CT"]

[limits]
slice_spacing_mm = {{ min = 0.3, max = 15.0 }}
pixel_spacing_mm = {{ min = 0.3, max = 10.0 }}
coverage_mm = {{ min = 10.0, max = 2000.0 }}
max_voxels = 300_000_000
seconds = 3600

[[labels]]
value = 1
name = "Spleen"
category = {{ value = "123037004", scheme = "SCT", meaning = "Anatomical Structure" }}
type = {{ value = "78961009", scheme = "SCT", meaning = "Spleen" }}
rgb = [157, 108, 162]

[[measurements]]
kind = "volume_ml"

[outputs]
segmentation = "binary"
report = "tid1500"
{tables}"""
