"""A bundle's configuration, and the few things in it that are changed before anything is built.

Only the ends are: what reads files (the node has none), what writes files, and when weights are loaded. Everything else stays as it was
published, or as pipeline.toml overrides it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path
from pickle import PickleError
from pydoc import ErrorDuringImport
from typing import Any

import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from pipelines.catalog import INFERENCE_CONFIGS
from pipelines.errors import BundleContract, BundleMissing, CodedError
from pipelines.reader import SUFFIX
from pipelines.spec import Pipeline

#: What MONAI raises for a configuration that it cannot build.
BUILD_ERRORS = (
    *(ImportError, OSError, LookupError, ValueError, TypeError, AttributeError, NameError, RuntimeError, AssertionError, SyntaxError),
    *(ErrorDuringImport, PickleError),  # of a module in scripts/, and of a checkpoint that holds more than tensors
)
#: Where the checkpoint loaders go that a bundle keeps among its handlers, which only an evaluator that runs would call.
LOADERS = "radnode_loaders"
_LOADS_WEIGHTS = re.compile(
    r"CheckpointLoader|checkpoint_loader|load_state_dict|load_net_with_metadata|jit\.load|export\.load|torch\.load|trt_compile"
)
_LOADS_ANYTHING = re.compile(r"weights_only\W{1,6}false", re.IGNORECASE)
#: How an evaluator is told to do something else with a sample than to give its image to the network.
_OWN_WAYS = ("prepare_batch", "iteration_update")
WORLD = "AffineBoxToWorldCoordinated"


def parse(root: Path, pipeline: Pipeline, device: torch.device, network: Any = None) -> ConfigWorkflow:
    """Read the inference configuration of a bundle and make it ready to be built.

    Parameters
    ----------
    root : Path
        The bundle's folder.
    pipeline : Pipeline
        Its overrides win over the configuration, and over what the node says of data and device.
    device : torch.device
        Where the network runs, and whatever of the transforms the bundle puts there.
    network : Module, optional
        Takes the place of what the configuration builds.

    Raises
    ------
    BundleMissing
        reason ``inference``: there is no inference configuration.
    BundleContract
        reason ``weights``, ``interpolation`` or ``boxes``.
    """
    config = next((path for name in INFERENCE_CONFIGS if (path := root / "configs" / name).is_file()), None)
    if config is None:
        raise BundleMissing(f"Bundle {root.name} has no inference configuration.", reason="inference")
    ours: dict[str, Any] = {"bundle_root": str(root), "device": device, "output_dir": str(root / "eval")}
    workflow = ConfigWorkflow(config_file=str(config), workflow_type="infer", logging_file=False, **ours)
    parser = workflow.parser
    _simplify_data(parser)
    parser.update(dict(pipeline.overrides))
    parser.resolve_macro_and_relative_ids()
    _part_from_files(parser)
    _gather_loaders(parser, device)
    if network is not None:
        parser["network_def"], parser["network"], parser[LOADERS], parser["checkpointloader"] = network, "@network_def", [], _leave_alone
    _check_weights(root, parser, given=network is not None)
    _check_interpolation(parser)
    if pipeline.outputs.kind == "boxes":
        _stop_before_world(root, parser)
    return workflow


def build(workflow: ConfigWorkflow, root: Path) -> Any:
    """Build what the configuration describes, load its weights, and return its evaluator.

    Raises
    ------
    BundleContract
        reason ``load``: MONAI cannot build it.
    BundleMissing
        reason ``file``: a file of the bundle is not there, its weights for example.
    """
    try:
        # As MONAI's own command does it; paths in a configuration may be relative to the bundle.
        with chdir(root):
            workflow.initialize()
            evaluator = workflow.parser.get_parsed_content("evaluator")
            for load in workflow.parser.get_parsed_content(LOADERS):
                load(evaluator)
    except BUILD_ERRORS as error:
        last = [*_causes(error)][-1]
        raise what_lacks(error, root.name) or BundleContract(
            f"MONAI cannot load bundle {root.name}: {type(last).__name__}: {last}.", reason="load"
        ) from error
    return evaluator


def own_ways(parser: ConfigParser) -> tuple[str, ...]:
    """What the evaluator is told in the configuration that only it can do."""
    return tuple(name for name in _OWN_WAYS if name in (parser.get("evaluator") or {}))


def postprocesses_itself(parser: ConfigParser) -> bool:
    """Whether the evaluator postprocesses; a detection bundle leaves that to the handler that saves."""
    return "postprocessing" in (parser.get("evaluator") or {})


def extras(parser: ConfigParser) -> dict[str, Any]:
    """What else is in the sample beside its images (a prompt, for example): the first item of ``dataset#data``."""
    items = parser.get_parsed_content("dataset#data")
    first = items[0] if isinstance(items, list) and items and isinstance(items[0], Mapping) else {}
    return {key: value for key, value in first.items() if not str(value).endswith(SUFFIX)}


def _simplify_data(parser: ConfigParser) -> None:
    """Let the bundle have one sample, of a file that is none; a cache would be filled before there is any."""
    dataset = parser.get("dataset")
    transform = dataset.get("transform", "@preprocessing") if isinstance(dataset, dict) else "@preprocessing"
    # Not empty: some bundles build a sampler on it, which refuses an empty list.
    parser["dataset"] = {"_target_": "Dataset", "data": [{"image": f"0{SUFFIX}"}], "transform": transform}
    if isinstance(parser.get("dataloader"), dict):
        parser["dataloader#num_workers"] = 0


def _part_from_files(parser: ConfigParser) -> None:
    """Take out savers, which want a library for their format at once, and the names of readers, which want one for theirs."""
    parser[""] = _without_savers(parser.config)
    for component in _components(parser.config):
        if _class_of(component) in {"LoadImage", "LoadImaged"}:
            component.pop("reader", None)


def _without_savers(config: Any) -> Any:
    if isinstance(config, list):
        return [_without_savers(item) for item in config if not is_saver(_class_of(item))]
    if isinstance(config, dict):
        return {key: _without_savers(value) for key, value in config.items()}
    return config


def is_saver(name: str) -> bool:
    """Whether a class of this name writes files: ``SaveImaged``, ``ClassificationSaver`` and their kind."""
    return name.startswith("Save") or name.endswith(("Saver", "Saverd"))


def _gather_loaders(parser: ConfigParser, device: torch.device) -> None:
    """Move the checkpoint loaders from the handlers to where we call them; an evaluator would load again at every run."""
    found: list[Any] = []
    for place in ("handlers", "val_handlers", "evaluator#val_handlers"):
        handlers = parser.get(place)
        if isinstance(handlers, list):
            found += [item for item in handlers if _class_of(item) == "CheckpointLoader"]
            parser[place] = [item for item in handlers if _class_of(item) != "CheckpointLoader"]
    parser[LOADERS] = found
    for component in _components(parser.config):
        if _class_of(component) == "CheckpointLoader":
            # Weights that were saved on a GPU are to be had without one, too.
            component.setdefault("map_location", device)


def _check_weights(root: Path, parser: ConfigParser, *, given: bool) -> None:
    text = json.dumps(parser.config, default=str)
    if _LOADS_ANYTHING.search(text):
        raise BundleContract(
            f"Bundle {root.name} loads a checkpoint with weights_only=False, which runs code; save the weights as tensors.",
            reason="weights",
        )
    parser["radnode_has_weights"] = given or bool(_LOADS_WEIGHTS.search(text))


def _check_interpolation(parser: ConfigParser) -> None:
    """Refuse a label map that is taken back by linear interpolation: between labels 0 and 2 it would find label 1."""
    post = parser.get("postprocessing")
    transforms = post.get("transforms") if isinstance(post, dict) else None
    discrete = False
    for number, item in enumerate(transforms if isinstance(transforms, list) else ()):
        if not isinstance(item, dict) or item.get("_disabled_") is True:
            continue
        discrete |= _class_of(item) == "AsDiscreted"
        if discrete and _class_of(item) == "Invertd" and item.get("nearest_interp", True) is False:
            raise BundleContract(
                "The bundle interpolates labels like grey values, which invents labels between them: set "
                f'"postprocessing#transforms#{number}#nearest_interp" = true in [overrides].',
                reason="interpolation",
            )


def _stop_before_world(root: Path, parser: ConfigParser) -> None:
    """Leave boxes in the image's own coordinates; see `pipelines.boxes` for what is done with them instead."""
    place = "postprocessing#transforms"
    transforms = parser.get(place)
    names = [_class_of(item) for item in transforms] if isinstance(transforms, list) else []
    if WORLD not in names:
        raise BundleContract(
            f"The postprocessing of bundle {root.name} has no {WORLD}, so nobody says where its boxes lie.", reason="boxes"
        )
    parser[place] = transforms[: names.index(WORLD)]


def _components(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        if "_target_" in config:
            yield config
        for value in config.values():
            yield from _components(value)
    elif isinstance(config, list):
        for value in config:
            yield from _components(value)


def _class_of(config: Any) -> str:
    return str(config.get("_target_", "")).rpartition(".")[2] if isinstance(config, dict) else ""


def _leave_alone(_evaluator: Any) -> None:
    """In the place of a checkpoint loader, when the network came from elsewhere."""


def what_lacks(error: BaseException, bundle: str) -> CodedError | None:
    """Say which file or package an error came from, if one; MONAI wraps what is raised several times."""
    for cause in _causes(error):
        if isinstance(cause, FileNotFoundError) and cause.filename:
            name = Path(str(cause.filename)).name
            return BundleMissing(
                f"Bundle {bundle} needs the file {name}, which is not there: put it where it was published.", reason="file"
            )
        if isinstance(cause, ImportError):
            first = str(cause).partition("\n")[0]
            return BundleContract(
                f"Bundle {bundle} needs a Python package that is not installed, or not for this machine: {first}", reason="load"
            )
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
