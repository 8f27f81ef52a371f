"""pipelines x bundles -> what can run, and for the rest the reason why not.

A bundle is code that will be executed. It runs only if its files are the ones that were pinned in ``models/manifest.toml``.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import BundleContract, BundleMissing, CodedError, DigestMismatch
from pipelines.result import Model
from pipelines.spec import Pipeline, read_pipeline

MANIFEST = "manifest.toml"
NOT_STATED = "not stated"
INFERENCE_CONFIGS = ("inference.json", "inference.yaml", "inference.yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One pipeline that can run: its declaration, its model's identity, its bundle's folder."""

    pipeline: Pipeline
    model: Model
    bundle: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Every folder with a pipeline.toml, by name, in one of two maps."""

    available: Mapping[str, Entry]
    unavailable: Mapping[str, CodedError]


class _Manifest(BaseModel):
    """One table of manifest.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    licence: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Channels(BaseModel):
    channel_def: dict[int, str] | None = None
    label_def: dict[int, str] | None = None


class _Outputs(BaseModel):
    pred: _Channels


class _DataFormat(BaseModel):
    outputs: _Outputs


class _Metadata(BaseModel):
    """The part of a bundle's metadata.json that the node relies on."""

    name: str = ""
    version: str = Field(min_length=1)
    authors: str = ""
    network_data_format: _DataFormat


def load_catalog(pipelines_folder: Path, models_folder: Path) -> Catalog:
    """Check every pipeline against its bundle.

    Parameters
    ----------
    pipelines_folder : Path
        Holds one folder per pipeline, each with its pipeline.toml.
    models_folder : Path
        Holds one folder per bundle, and manifest.toml.

    Returns
    -------
    Catalog
        Never raises for a bad pipeline: it becomes unavailable with ``BundleContract``, ``BundleMissing`` or ``DigestMismatch``.
    """
    available: dict[str, Entry] = {}
    unavailable: dict[str, CodedError] = {}
    for path in sorted(pipelines_folder.glob("*/pipeline.toml")):
        try:
            available[path.parent.name] = load_entry(path, models_folder)
        except CodedError as error:
            unavailable[path.parent.name] = error
    return Catalog(available=available, unavailable=unavailable)


def load_entry(path: Path, models_folder: Path) -> Entry:
    """Check one pipeline.toml against its bundle.

    Raises
    ------
    BundleContract
        reason ``metadata``, ``labels``, ``prerequisites``, ``measurement``, ``manifest``, ``symlink`` or those of `read_pipeline`.
    BundleMissing
        reason ``absent`` (there is no such folder; the sentence says where to get it), ``metadata`` or ``inference``.
    DigestMismatch
        reason ``unpinned`` or ``changed``.
    """
    pipeline = read_pipeline(path)
    _check_declaration(pipeline)
    bundle = models_folder / pipeline.bundle
    if not bundle.is_dir():
        get = pipeline.origin.get if pipeline.origin else ""
        how = f" To bring it: {get}; read it; then radnode pipelines pin {pipeline.name}." if get else ""
        raise BundleMissing(f"There is no bundle {pipeline.bundle} in {models_folder}.{how}", reason="absent")
    metadata = _read_metadata(bundle)
    _check_labels(pipeline, metadata.network_data_format.outputs.pred)
    tree = check_digest(bundle)
    _check_prerequisites(pipeline)
    return Entry(
        pipeline=pipeline,
        model=Model(
            name=metadata.name or pipeline.bundle,
            version=metadata.version,
            manufacturer=metadata.authors or "not stated",
            digest=_model_digest(tree, pipeline),
        ),
        bundle=bundle.resolve(),
    )


def check_digest(bundle: Path) -> str:
    """Compare a bundle with its entry in the manifest beside it, and return its tree digest.

    Raises
    ------
    DigestMismatch
        reason ``unpinned`` or ``changed``.
    BundleContract
        reason ``manifest`` or ``symlink``.
    """
    pinned = _read_manifest(bundle.parent).get(bundle.name)
    if pinned is None:
        raise DigestMismatch(
            f"Bundle {bundle.name} is not in models/{MANIFEST}: inspect it, then run radnode pipelines pin {bundle.name}.",
            reason="unpinned",
        )
    tree = tree_digest(bundle)
    if tree != pinned.sha256:
        raise DigestMismatch(
            f"The files of bundle {bundle.name} have sha256 {tree[:12]}…, pinned is {pinned.sha256[:12]}…: somebody changed them.",
            reason="changed",
        )
    return tree


def tree_digest(folder: Path) -> str:
    """sha256 (hexadecimal) over the relative path and content of every file below a folder.

    Folders called ``__pycache__`` do not count: Python writes them, and they are not read when a bundle is loaded.

    Raises
    ------
    BundleContract
        reason ``symlink``: a link could lead to a file that is not part of the digest.
    """
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise BundleContract(f"Bundle {folder.name} holds a symbolic link, {name}.", reason="symlink")
        if "__pycache__" in path.parts or not path.is_file():
            continue
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{content}  {name}\n".encode())
    return total.hexdigest()


def pin(name: str, models_folder: Path, *, source: str = NOT_STATED, licence: str = NOT_STATED) -> str:
    """Write the present digest of a bundle into manifest.toml, keeping everything else in it, and return the digest.

    Parameters
    ----------
    name : str
        The bundle's folder.
    models_folder : Path
        Where it and manifest.toml lie.
    source, licence : str
        What is written of a bundle that was not in there.

    Raises
    ------
    BundleMissing
        There is no such bundle.
    BundleContract
        reason ``manifest`` or ``symlink``.
    """
    _read_metadata(models_folder / name)
    digest = tree_digest(models_folder / name)
    path = models_folder / MANIFEST
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    table = re.compile(rf'(^\[{re.escape(name)}\]$(?:\n(?!\[).*)*?\nsha256 = )"[^"\n]*"', re.MULTILINE)
    if table.search(text):
        text = table.sub(rf'\g<1>"{digest}"', text)
    else:
        text += f'\n[{name}]\nsource = {json.dumps(source)}\nlicence = {json.dumps(licence)}\nsha256 = "{digest}"\n'
    path.write_text(text, encoding="utf-8")
    if _read_manifest(models_folder)[name].sha256 != digest:
        raise BundleContract(f"models/{MANIFEST} could not be rewritten; put sha256 = {digest!r} into it.", reason="manifest")
    return digest


def _check_declaration(pipeline: Pipeline) -> None:
    """What pipeline.toml cannot check key by key."""
    kinds, modality = {rule.kind for rule in pipeline.measurements}, pipeline.inputs[0].modality
    if ("percent_below" in kinds and modality != ("CT",)) or ("mean" in kinds and modality not in {("CT",), ("MR",)}):
        raise BundleContract(
            "percent_below is measured in Hounsfield units, on CT alone; mean on CT alone or on MR alone. The first input counts.",
            reason="measurement",
        )


def _check_labels(pipeline: Pipeline, pred: _Channels) -> None:
    """Hold the labels of pipeline.toml against what the bundle says of its output."""
    given = pred.channel_def or pred.label_def
    declared = {label.value for label in pipeline.labels}
    if given is None:
        if not pipeline.labels_source:
            raise BundleContract(
                "metadata.json of the bundle does not say what its output's labels mean: read it up, and say in labels_source where it is "
                "written.",
                reason="labels",
            )
        return
    wanted = set(given) - ({0} if pipeline.outputs.kind == "labelmap" else set())
    # An evaluator of its own may be asked for less than it can: that is what prompts are for.
    if declared != wanted and not (pipeline.mode == "engine" and declared <= wanted):
        raise BundleContract(
            f"pipeline.toml declares labels {sorted(declared)}, the bundle's channel_def gives {sorted(wanted)}.", reason="labels"
        )


def _check_prerequisites(pipeline: Pipeline) -> None:
    """A bundle that needs prepared images must not be run on others, as if the node had prepared them."""
    if pipeline.prerequisites and not pipeline.prerequisites_met_by_site:
        needs = " and ".join(name.replace("_", " ") for name in pipeline.prerequisites)
        raise BundleContract(
            f"{pipeline.name} needs images after {needs}, which the node does not do and must not pretend to have done. If the site sends "
            "such images, say so: prerequisites_met_by_site = true.",
            reason="prerequisites",
        )


def _read_metadata(bundle: Path) -> _Metadata:
    configs = bundle / "configs"
    if not (configs / "metadata.json").is_file():
        raise BundleMissing(f"Bundle {bundle.name} has no configs/metadata.json under models/.", reason="metadata")
    if not any((configs / name).is_file() for name in INFERENCE_CONFIGS):
        raise BundleMissing(f"Bundle {bundle.name} has no configs/inference.json or .yaml.", reason="inference")
    try:
        content: Any = json.loads((configs / "metadata.json").read_text(encoding="utf-8"))
        return _Metadata.model_validate(content)
    except (ValueError, ValidationError) as error:
        faults = (
            "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            if isinstance(error, ValidationError)
            else str(error)
        )
        raise BundleContract(f"metadata.json of bundle {bundle.name}: {faults}.", reason="metadata") from error


def _read_manifest(models_folder: Path) -> dict[str, _Manifest]:
    path = models_folder / MANIFEST
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _Manifest.model_validate(table) for name, table in tables.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BundleContract(f"models/{MANIFEST} cannot be used: {error}.", reason="manifest") from error


def _model_digest(tree: str, pipeline: Pipeline) -> str:
    """The identity of a model: its files, the overrides of its configuration, order of keys aside, and how else it is used."""
    uses = pipeline.model_dump(include={"mode", "weights", "speed", "prerequisites_met_by_site"}, exclude_defaults=True)
    canonical = json.dumps(
        {**pipeline.overrides, **({"radnode": uses} if uses else {})}, sort_keys=True, separators=(",", ":"), default=str
    )
    return hashlib.sha256(f"{tree}\n{canonical}".encode()).hexdigest()
