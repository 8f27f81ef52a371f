"""Pieces of MONAI configurations, as the Model Zoo writes them."""

from typing import Any

Config = dict[str, Any]

CUDA_OR_CPU = "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')"
LOADER_AMONG_HANDLERS = {
    "_target_": "CheckpointLoader",
    "load_path": "$@bundle_root + '/models/model.pt'",
    "load_dict": {"model": "@network"},
}
STATS = {"_target_": "StatsHandler", "iteration_log": False}


def one(target: str, keys: Any = "image", **options: Any) -> Config:
    """One component."""
    return {"_target_": target, "keys": keys, **options}


def compose(*transforms: Config) -> Config:
    return {"_target_": "Compose", "transforms": list(transforms)}


def ras(key: Any = "image", axcodes: str = "RAS") -> Config:
    return one("Orientationd", key, axcodes=axcodes)


def spacing(pixdim: Any, key: Any = "image") -> Config:
    return one("Spacingd", key, pixdim=pixdim, mode="bilinear")


def window(low: float, high: float) -> Config:
    return one("ScaleIntensityRanged", a_min=low, a_max=high, b_min=0.0, b_max=1.0, clip=True)


def invert(**options: Any) -> Config:
    return one(
        "Invertd", "pred", **{"transform": "@preprocessing", "orig_keys": "image", "nearest_interp": False, "to_tensor": True, **options}
    )


def save(**options: Any) -> Config:
    return one("SaveImaged", "pred", **{"meta_keys": "pred_meta_dict", "output_dir": "@output_dir", **options})


SOFTMAX = one("Activationsd", "pred", softmax=True)
SIGMOID = one("Activationsd", "pred", sigmoid=True)
ARGMAX = one("AsDiscreted", "pred", argmax=True)
HALF = one("AsDiscreted", "pred", threshold=0.5)
CHANNEL_FIRST = one("EnsureChannelFirstd")
#: What most of the zoo does after its network: probabilities are taken back, and then decided.
DECIDE_AT_THE_SOURCE = (SOFTMAX, invert(), ARGMAX, save())


def unet(classes: int, dimensions: int = 3, channels: int = 1) -> Config:
    """The zoo's UNet in small."""
    return {
        "_target_": "UNet",
        "spatial_dims": dimensions,
        "in_channels": channels,
        "out_channels": classes,
        "channels": [4, 8],
        "strides": [2],
        "num_res_units": 2,
        "norm": "batch",
    }


def segresnet(classes: int, channels: int = 1, **options: Any) -> Config:
    """The zoo's SegResNet in small."""
    sizes = {"blocks_down": [1, 1], "blocks_up": [1], "init_filters": 8}
    return {"_target_": "SegResNet", **sizes, "in_channels": channels, "out_channels": classes, "dropout_prob": 0.2, **options}


def sliding(roi: Any, overlap: Any, batch: Any = 4, **options: Any) -> Config:
    return {"_target_": "SlidingWindowInferer", "roi_size": roi, "sw_batch_size": batch, "overlap": overlap, **options}


def bundle(
    *,
    network: Any,
    preprocessing: Config,
    inferer: Config,
    postprocessing: Config,
    imports: tuple[str, ...] = ("$import glob", "$import os"),
    data: Any = "$[{'image': i} for i in @datalist]",
    run: str = "run",
    amp: bool = True,
    **more: Any,
) -> Config:
    """A whole inference configuration; ``more`` adds to it, or replaces parts."""
    return {
        "imports": list(imports),
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "/workspace/data",
        "datalist": "$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))",
        "device": CUDA_OR_CPU,
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": preprocessing,
        "dataset": {"_target_": "Dataset", "data": data, "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "shuffle": False, "num_workers": 4},
        "inferer": inferer,
        "postprocessing": postprocessing,
        "handlers": [LOADER_AMONG_HANDLERS, STATS],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
            "amp": amp,
        },
        run: ["$setattr(torch.backends.cudnn, 'benchmark', True)", "$@evaluator.run()"],
        **more,
    }


#: How newer bundles load their weights: not by a handler, but before the first run.
LOADED_AT_FIRST: Config = {
    "handlers": [STATS],
    "checkpointloader": {
        "_target_": "CheckpointLoader",
        "load_path": "$@bundle_root + '/models/model.pt'",
        "load_dict": {"model": "@network"},
    },
    "initialize": ["$monai.utils.set_determinism(seed=123)", "$@checkpointloader(@evaluator)"],
}
