"""Bundles of MONAI's Model Zoo, as their published configurations have them, with small networks and random weights.

Same keys, references, expressions, transforms, order, spacings and intensity windows. What differs: networks are small, and so are windows
where the published ones cost too much; code under ``scripts/`` is ours; what only concerns training data is shortened.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.bundles import scripts
from tests.bundles.parts import (
    ARGMAX,
    CHANNEL_FIRST,
    DECIDE_AT_THE_SOURCE,
    HALF,
    LOADED_AT_FIRST,
    LOADER_AMONG_HANDLERS,
    SIGMOID,
    SOFTMAX,
    STATS,
    Config,
    bundle,
    compose,
    invert,
    one,
    ras,
    save,
    segresnet,
    sliding,
    spacing,
    unet,
    window,
)

ROI = [48, 48, 48]
TYPED = one("EnsureTyped")
LOAD = one("LoadImaged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One bundle, and the pipeline.toml that it needs.

    Attributes
    ----------
    channels : dict
        ``network_data_format.outputs.pred`` of its metadata.
    declaration : dict
        See `tests.bundles.declaring.declare`.
    is_yaml : bool
        Its configuration is YAML.
    """

    config: Config
    channels: dict[str, Any]
    declaration: dict[str, Any]
    scripts: dict[str, str] = field(default_factory=dict)
    is_yaml: bool = False


def known_as(*names: str, channels: int | None = None, key: str = "channel_def") -> dict[str, Any]:
    """What metadata.json says of the output."""
    return {"num_channels": len(names) if channels is None else channels, key: {str(number): name for number, name in enumerate(names)}}


def spleen() -> Published:
    config = bundle(
        network=unet(2),
        preprocessing=compose(LOAD, CHANNEL_FIRST, ras(), spacing([1.5, 1.5, 2.0]), window(-57, 164), TYPED),
        inferer=sliding(ROI, 0.5),
        postprocessing=compose(
            SOFTMAX, invert(), ARGMAX, save(output_ext="@output_ext", output_dtype="@output_dtype", separate_folder="@separate_folder")
        ),
        output_ext=".nii.gz",
        output_dtype="$numpy.float32",
        separate_folder=True,
        **LOADED_AT_FIRST,
    )
    return Published(config=config, channels=known_as("background", "spleen"), declaration={})


def whole_body() -> Published:
    key = "@image_key"
    config = bundle(
        network=segresnet(105),
        preprocessing=compose(
            one("LoadImaged", key),
            one("EnsureTyped", key),
            one("EnsureChannelFirstd", key),
            ras(key),
            spacing("@pixdim", key),
            one("NormalizeIntensityd", key, nonzero=True),
            one("ScaleIntensityd", key, minv=-1.0, maxv=1.0),
        ),
        inferer=sliding(
            ROI,
            "@displayable_configs#sw_overlap",
            "@displayable_configs#sw_batch_size",
            padding_mode="replicate",
            mode="gaussian",
            device="$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        ),
        postprocessing=compose(SOFTMAX, ARGMAX, invert(orig_keys=key, nearest_interp=True), save()),
        displayable_configs={"highres": True, "sw_overlap": 0.25, "sw_batch_size": 1},
        image_key="image",
        pixdim="$[1.5, 1.5, 1.5] if @displayable_configs#highres else [3.0, 3.0, 3.0]",
        modelname="$'model.pt' if @displayable_configs#highres else 'model_lowres.pt'",
        **LOADED_AT_FIRST,
    )
    config["checkpointloader"] = {**config["checkpointloader"], "load_path": "$@bundle_root + '/models/' + @modelname"}
    names = ["background", *(f"structure {number}" for number in range(1, 105))]
    return Published(config=config, channels=known_as(*names), declaration={"labels": range(1, 105)})


def swin_unetr_btcv() -> Published:
    network = {
        "_target_": "SwinUNETR",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 14,
        "feature_size": 12,
        "use_checkpoint": False,
    }
    config = bundle(
        network={**network, "img_size": 96},
        preprocessing=compose(
            one("LoadImaged", reader="ITKReader"), CHANNEL_FIRST, ras(), spacing([1.5, 1.5, 2.0]), window(-175, 250), TYPED
        ),
        inferer=sliding([64, 64, 64], 0.5),
        postprocessing=compose(*DECIDE_AT_THE_SOURCE),
        initialize=["$monai.utils.set_determinism(seed=123)"],
    )
    names = ["background", *(f"organ {number}" for number in range(1, 14))]
    # SwinUNETR no longer takes img_size.
    return Published(config=config, channels=known_as(*names), declaration={"labels": range(1, 14), "overrides": {"network_def": network}})


def _dints(classes: int, low: float, high: float) -> Published:
    """A network that was searched for; the file that describes it only loads on a GPU, so these need another network_def."""
    space = {
        "_target_": "monai.networks.nets.TopologyInstance",
        "channel_mul": 1,
        "num_blocks": 12,
        "num_depths": 4,
        "use_downsample": True,
        "arch_code": ["$@arch_ckpt['arch_code_a']", "$@arch_ckpt['arch_code_c']"],
        "device": "$torch.device('cuda')",
    }
    network = {
        "_target_": "monai.networks.nets.DiNTS",
        "dints_space": "@dints_space",
        "in_channels": "@input_channels",
        "num_classes": "@output_classes",
        "use_downsample": True,
        "node_a": "$@arch_ckpt['node_a']",
    }
    config = bundle(
        network=network,
        preprocessing=compose(LOAD, CHANNEL_FIRST, ras(), spacing([1, 1, 1]), window(low, high), TYPED),
        inferer=sliding(ROI, 0.625),
        postprocessing=compose(SOFTMAX, invert(meta_key_postfix="meta_dict"), ARGMAX, save()),
        data="@datalist",
        run="evaluating",
        input_channels=1,
        output_classes=classes,
        arch_ckpt_path="$@bundle_root + '/models/search_code.pt'",
        arch_ckpt="$torch.load(@arch_ckpt_path, map_location=torch.device('cuda'))",
        data_list_file_path="$@bundle_root + '/configs/dataset_0.json'",
        datalist="$monai.data.load_decathlon_datalist(@data_list_file_path, data_list_key='testing', base_dir=@dataset_dir)",
        dints_space=space,
    )
    names = ["background", *(f"organ {number}" for number in range(1, classes))]
    declaration = {"labels": range(1, classes), "overrides": {"network_def": unet(classes)}}
    return Published(config=config, channels=known_as(*names), declaration=declaration, is_yaml=True)


def pancreas_dints() -> Published:
    return _dints(3, -87, 199)


def multi_organ() -> Published:
    return _dints(8, -500, 500)


def pediatric() -> Published:
    key = "@image_key"
    network = {
        "_target_": "monai.networks.nets.DynUNet",
        "spatial_dims": "$len(@spatial_size)",
        "in_channels": 1,
        "out_channels": "@output_channels",
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, [2, 2, 1]],
        "upsample_kernel_size": [2, [2, 2, 1]],
        "filters": [4, 8, 8],
        "norm_name": "instance",
        "deep_supervision": False,
        "res_block": True,
    }
    config = bundle(
        network=network,
        imports=("$import glob", "$import os", "$import scripts.monai_utils"),
        preprocessing=compose(
            one("LoadImaged", key, reader="ITKReader"),
            one("EnsureChannelFirstd", key),
            ras(),
            one("Spacingd", [key], pixdim=[1.5, 1.5, 3.0], mode=["bilinear"]),
            {**window(-250, 400), "keys": key},
            one("CropForegroundd", [key], source_key=key, mode=["minimum"]),
            TYPED,
            one("CastToTyped", key, dtype="$torch.float32"),
        ),
        # % takes a piece of the configuration as it is written, @ what it becomes.
        inferer=sliding("%spatial_size", 0.75),
        postprocessing=compose(SOFTMAX, invert(meta_key_postfix="meta_dict"), ARGMAX, save(output_dtype="$torch.int16")),
        data="@datalist",
        spatial_size=ROI,
        output_channels=4,
        image_key="image",
        labels={"background": 0, "liver": 1, "spleen": 2, "pancreas": 3},
        handlers=[{**LOADER_AMONG_HANDLERS, "load_path": "$@bundle_root + '/models/dynunet_FT.pt'"}, STATS],
        initialize=["$setattr(torch.backends.cudnn, 'benchmark', True)"],
    )
    return Published(
        config=config,
        channels=known_as("background", "liver", "spleen", "pancreas", key="label_def"),
        declaration={"labels": (1, 2, 3)},
        scripts={"monai_utils": ""},
        is_yaml=True,
    )


def renal_unest() -> Published:
    config = bundle(
        network={"_target_": "scripts.networks.unest.UNesT", "in_channels": 1, "out_channels": 4},
        preprocessing=compose(LOAD, CHANNEL_FIRST, ras(), spacing([1.0, 1.0, 1.0]), window(-175, 250), TYPED),
        inferer=sliding(ROI, 0.5),
        postprocessing=compose(SOFTMAX, invert(meta_key_postfix="meta_dict"), ARGMAX, save()),
        handlers=[{**LOADER_AMONG_HANDLERS, "strict": "True"}, STATS],
        run="evaluating",
        amp=False,
    )
    return Published(
        config=config,
        channels=known_as("background", "cortex", "medulla", "pelvicalyceal system"),
        declaration={"labels": (1, 2, 3)},
        scripts={"networks/unest": scripts.UNEST},
    )


def renal_cect() -> Published:
    phases = ["artery", "vein", "excret"]
    config = bundle(
        network=segresnet(6, 3, upsample_mode="deconv", norm_name="group"),
        preprocessing=compose(
            one("LoadImaged", [*phases, "label"], image_only=False),
            one("EnsureChannelFirstd", phases),
            ras(phases, "LPS"),
            spacing([0.8, 0.8, 0.8], phases),
            {"_target_": "scripts.my_transforms.ConcatImages", "keys_merge": phases, "keys_out": "image"},
            window(-1000, 1000),
            TYPED,
        ),
        inferer=sliding(ROI, 0.25),
        postprocessing=compose(
            invert(transform="$@preprocessing", device="@device", orig_keys="artery", meta_keys="pred_meta_dict"),
            {**SIGMOID, "softmax": False},
            HALF,
            one("scripts.my_transforms.MergeClassesd", "pred"),
            save(data_root_dir="@dataset_dir"),
            {**save(data_root_dir="@dataset_dir"), "keys": "label"},
        ),
        data="$[{'label': l, **i} for i, l in zip(@images, @labels)]",
        images="$[{'artery':a, 'vein':b, 'excret':c} for a,b,c in zip(glob.glob(@dataset_dir + '/*/12.nii.gz'), [], [])]",
        labels="$list(glob.glob(@dataset_dir + '/*/merged.nii.gz'))",
        handlers=[{**LOADER_AMONG_HANDLERS, "strict": "True"}, STATS],
        run="inference",
        amp=False,
    )
    return Published(
        config=config,
        channels=known_as("background", "artery", "vein", "ureter", "neoplasm", "parenchyma"),
        declaration={
            "labels": range(1, 6),
            "inputs": phases,
            "prerequisites": ["phase_registration"],
            "prerequisites_met_by_site": True,
            # A reference segmentation, which only its saver wants.
            "overrides": {"preprocessing#transforms#0#keys": phases},
        },
        scripts={"my_transforms": scripts.MY_TRANSFORMS},
    )


def prostate() -> Published:
    config = bundle(
        network=unet(3),
        imports=("$import pandas as pd", "$import os"),
        preprocessing=compose(
            LOAD,
            CHANNEL_FIRST,
            ras(),
            spacing([0.5, 0.5, 0.5]),
            one("ScaleIntensityd", minv=0, maxv=1),
            one("NormalizeIntensityd"),
            TYPED,
        ),
        inferer=sliding([96, 96, 96], 0.5),
        postprocessing=compose(
            ARGMAX,
            one("KeepLargestConnectedComponentd", "pred", applied_labels=[1, 2]),
            invert(meta_key_postfix="meta_dict"),
            save(resample=False),
        ),
        datalist="$list(@dataset_dir + pd.read_csv(@dataset_dir + 'test.csv').t2)",
        initialize=["$setattr(torch.backends.cudnn, 'benchmark', True)"],
        handlers=[{**LOADER_AMONG_HANDLERS, "map_location": {"_target_": "torch.device", "device": "@device"}}, STATS],
    )
    declaration = {"labels": (1, 2), "modality": "MR", "overrides": {"postprocessing#transforms#2#nearest_interp": True}}
    return Published(config=config, channels=known_as("background", "central gland", "peripheral zone"), declaration=declaration)


def brats() -> Published:
    merge = "$lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))"
    config = bundle(
        network=segresnet(3, 4),
        preprocessing=compose(LOAD, one("NormalizeIntensityd", nonzero=True, channel_wise=True)),
        inferer=sliding([64, 64, 64], 0.5, 1),
        postprocessing=compose(
            SIGMOID,
            invert(meta_keys="pred_meta_dict"),
            HALF,
            one("Lambdad", "pred", func=merge),
            save(output_postfix="seg", output_dtype="uint8", resample=False, squeeze_end_dims=True),
        ),
        data="@test_datalist",
        run="evaluating",
        data_list_file_path="$@bundle_root + '/configs/datalist.json'",
        test_datalist="$monai.data.load_decathlon_datalist(@data_list_file_path, data_list_key='testing', base_dir=@dataset_dir)",
    )
    config["dataloader"]["shuffle"] = True
    declaration = {
        "kind": "channels",
        "labels": (0, 1, 2),
        "inputs": ("t1c", "t1", "t2", "flair"),
        "modality": "MR",
        "prerequisites": ["skull_stripping"],
        "prerequisites_met_by_site": True,
        # The three overlap; merged into labels 1, 2 and 4 they would not be what channel_def says.
        "overrides": {"postprocessing#transforms#3#_disabled_": True},
    }
    return Published(config=config, channels=known_as("Tumor core", "Whole tumor", "Enhancing tumor"), declaration=declaration)


def whole_brain() -> Published:
    config = bundle(
        network={
            "_target_": "scripts.networks.unest_base_patch_4.UNesT",
            "in_channels": 1,
            "out_channels": 133,
            "patch_size": 4,
            "depths": [2, 2, 8],
            "embed_dim": [128, 256, 512],
            "num_heads": [4, 8, 16],
        },
        preprocessing=compose(LOAD, CHANNEL_FIRST, one("NormalizeIntensityd", nonzero="True", channel_wise="True"), TYPED),
        inferer=sliding(ROI, 0.7),
        postprocessing=compose(SOFTMAX, invert(meta_key_postfix="meta_dict"), ARGMAX, save()),
        handlers=[{**LOADER_AMONG_HANDLERS, "strict": "True"}, STATS],
        run="evaluating",
        amp=False,
    )
    names = ["background", *(f"region {number}" for number in range(1, 133))]
    declaration = {
        "labels": range(1, 133),
        "modality": "MR",
        "prerequisites": ["atlas_registration"],
        "prerequisites_met_by_site": True,
    }
    return Published(
        config=config, channels=known_as(*names), declaration=declaration, scripts={"networks/unest_base_patch_4": scripts.UNEST}
    )


def ventricular() -> Published:
    config = bundle(
        network=unet(4, dimensions=2),
        imports=("$import glob",),
        preprocessing=compose(
            one("LoadImaged", image_only=False), CHANNEL_FIRST, one("ScaleIntensityd"), one("EnsureTyped", device="@device")
        ),
        inferer={"_target_": "SliceInferer", "roi_size": [64, 64], "spatial_dim": 2},
        postprocessing=compose(SOFTMAX, invert(meta_key_postfix="meta_dict"), ARGMAX, save()),
        handlers=[{**LOADER_AMONG_HANDLERS, "load_path": "@ckpt_path"}],
        ckpt_path="$@bundle_root + '/models/model.pt'",
        output_dir="./output",
        run="evaluating",
        amp=False,
    )
    names = ("background", "left ventricular pool", "myocardium", "right ventricular pool")
    return Published(config=config, channels=known_as(*names), declaration={"labels": (1, 2, 3), "modality": "MR"})


def lung_nodules() -> Published:
    config = bundle(
        network={
            "_target_": "RetinaNet",
            "spatial_dims": 3,
            "num_classes": 1,
            "num_anchors": 3,
            "feature_extractor": "@feature_extractor",
            "size_divisible": [8, 8, 8],
        },
        preprocessing=compose(
            one("LoadImaged", meta_key_postfix="meta_dict", _disabled_="@whether_raw_luna16"),
            one(
                "LoadImaged",
                meta_key_postfix="meta_dict",
                reader="itkreader",
                affine_lps_to_ras=True,
                _disabled_="@whether_resampled_luna16",
            ),
            one("EnsureChannelFirstd"),
            ras(),
            one("Spacingd", pixdim=[0.703125, 0.703125, 1.25], _disabled_="@whether_resampled_luna16"),
            window(-1024.0, 300.0),
            TYPED,
        ),
        inferer={"_target_": "scripts.detection_inferer.RetinaNetInferer", "detector": "@detector"},
        postprocessing=compose(
            {
                "_target_": "ClipBoxToImaged",
                "box_keys": "box",
                "label_keys": ["label", "label_scores"],
                "box_ref_image_keys": "image",
                "remove_empty": True,
            },
            {
                "_target_": "AffineBoxToWorldCoordinated",
                "box_keys": "box",
                "box_ref_image_keys": "image",
                "image_meta_key_postfix": "meta_dict",
                "affine_lps_to_ras": True,
            },
            {"_target_": "ConvertBoxModed", "box_keys": "box", "src_mode": "xyzxyz", "dst_mode": "cccwhd"},
            one("DeleteItemsd", ["image"]),
        ),
        data="$@test_datalist",
        run="evaluating",
        whether_raw_luna16=False,
        whether_resampled_luna16="$(not @whether_raw_luna16)",
        data_list_file_path="$@bundle_root + '/LUNA16_datasplit/dataset_fold0.json'",
        test_datalist="$monai.data.load_decathlon_datalist(@data_list_file_path, data_list_key='validation')",
        feature_extractor={"_target_": "scripts.features.SmallPyramid"},
        anchor_generator={
            "_target_": "monai.apps.detection.utils.anchor_utils.AnchorGeneratorWithAnchorShape",
            "feature_map_scales": [1, 2],
            "base_anchor_shapes": [[6, 8, 4], [8, 6, 5], [10, 10, 6]],
        },
        detector={"_target_": "RetinaNetDetector", "network": "@network", "anchor_generator": "@anchor_generator", "debug": False},
        detector_ops=[
            "$@detector.set_target_keys(box_key='box', label_key='label')",
            "$@detector.set_box_selector_parameters(score_thresh=0.02,topk_candidates_per_level=50,nms_thresh=0.22,detections_per_img=20)",
            "$@detector.set_sliding_window_inferer(roi_size=[48,48,32],overlap=0.25,sw_batch_size=1,mode='constant',device='cpu')",
        ],
        handlers=[
            LOADER_AMONG_HANDLERS,
            STATS,
            {
                "_target_": "scripts.detection_saver.DetectionSaver",
                "output_dir": "@output_dir",
                "filename": "result_luna16_fold0.json",
                "output_transform": "$lambda x: [@postprocessing({**xx['pred'],'image':xx['image']}) for xx in x]",
            },
        ],
        evaluator={
            "_target_": "scripts.evaluator.DetectionEvaluator",
            "_requires_": "@detector_ops",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "val_handlers": "@handlers",
            "amp": True,
        },
    )
    config["dataloader"]["collate_fn"] = "$monai.data.utils.no_collation"
    return Published(
        config=config,
        channels={"type": "object", "format": "dict", "num_channels": 1},
        declaration={
            "kind": "boxes",
            "mode": "engine",
            "labels": (0,),
            "labels_source": "pred_classes in metadata.json",
            "overrides": {"whether_raw_luna16": True},
        },
        scripts={
            "features": scripts.FEATURES,
            "detection_inferer": scripts.DETECTION_INFERER,
            "evaluator": scripts.DETECTION_EVALUATOR,
            "detection_saver": scripts.DETECTION_SAVER,
        },
    )


def prompted() -> Published:
    """As vista3d: an evaluator that is asked for some of the classes that it knows."""
    key = "@image_key"
    everything = [label for label in range(1, 133) if label not in {2, 16, 18, 20, 21, 23}]
    transforms = [
        one("LoadImaged", key, reader="NibabelGPUReader", image_only=True),
        one("EnsureChannelFirstd", key),
        one("EnsureTyped", key, device="@device", track_meta=True),
        spacing("@resample_spacing", key),
        one("CropForegroundd", key, allow_smaller=True, margin=10, source_key=key),
        one("monai.apps.vista3d.transforms.VistaPreTransformd", key, subclass="@subclass", labels_dict="@labels_dict"),
        {**window(-963.8, 1053.7), "keys": key},
        ras(key),
        one("CastToTyped", key, dtype="$torch.float32"),
    ]
    config = bundle(
        network={"_target_": "scripts.network.PromptNetwork", "in_channels": "@input_channels"},
        imports=("$import scripts", "$import numpy as np", "$import copy", "$import json", "$import pathlib"),
        preprocessing={"_target_": "Compose", "transforms": "$@preprocessing_transforms "},
        inferer={"_target_": "scripts.inferer.PromptInferer", "roi_size": ROI, "overlap": 0.3, "sw_batch_size": 1},
        postprocessing=compose(
            one("ToDeviced", "pred", device="cpu", _disabled_=True),
            one("monai.apps.vista3d.transforms.VistaPostTransformd", "pred"),
            invert(transform="$copy.deepcopy(@preprocessing)", orig_keys=key, nearest_interp=True),
            one("Lambdad", "pred", func="$lambda x: torch.nan_to_num(x, nan=255)"),
            save(resample=False),
        ),
        data="$[@input_dict]",
        image_key="image",
        input_dict="${'image': '/workspace/Task09_Spleen/imagesTr/spleen_10.nii.gz', 'label_prompt': [3]}",
        everything_labels="$list(set([i+1 for i in range(132)]) - set([2,16,18,20,21,23]))",
        metadata="$json.loads(pathlib.Path(@bundle_root + '/configs/metadata.json').read_text())",
        labels_dict="$@metadata['network_data_format']['outputs']['pred']['channel_def']",
        subclass={"2": [14, 5], "20": [28, 29, 30]},
        input_channels=1,
        resample_spacing=[1.5, 1.5, 1.5],
        preprocessing_transforms=transforms,
        evaluator={
            "_target_": "scripts.evaluator.PromptEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
            "amp": True,
            "hyper_kwargs": {"user_prompt": True, "everything_labels": "@everything_labels"},
        },
        **LOADED_AT_FIRST,
    )
    config["dataloader"]["_target_"] = "ThreadDataLoader"
    names = {str(label): f"structure {label}" for label in [0, *everything]}
    return Published(
        config=config,
        channels={"num_channels": 1, "channel_def": names},
        declaration={
            "mode": "engine",
            "labels": (1, 3, 14),
            "overrides": {"dataset#data": [{"image": "0.radnode", "label_prompt": [1, 3, 14]}]},
        },
        scripts={"evaluator": scripts.PROMPT_EVALUATOR, "inferer": scripts.PROMPT_INFERER, "network": scripts.PROMPT_NETWORK},
    )


ZOO = {
    "spleen_ct_segmentation": spleen,
    "wholeBody_ct_segmentation": whole_body,
    "swin_unetr_btcv_segmentation": swin_unetr_btcv,
    "pancreas_ct_dints_segmentation": pancreas_dints,
    "multi_organ_segmentation": multi_organ,
    "pediatric_abdominal_ct_segmentation": pediatric,
    "renalStructures_UNEST_segmentation": renal_unest,
    "renalStructures_CECT_segmentation": renal_cect,
    "prostate_mri_anatomy": prostate,
    "brats_mri_segmentation": brats,
    "wholeBrainSeg_Large_UNEST_segmentation": whole_brain,
    "ventricular_short_axis_3label": ventricular,
    "lung_nodule_ct_detection": lung_nodules,
    "vista3d": prompted,
}
