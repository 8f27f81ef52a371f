"""pipeline.toml: one pipeline as a declaration.

A pipeline binds a bundle in ``models/`` to the series that it takes, the labels that it gives and the numbers that are
measured on them. There is no Python in it, and nothing in it is optional by accident: an unknown key is a fault.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from pipelines.declaration import Declaration, Name, Span
from pipelines.errors import BundleContract
from pipelines.openings import openings_in
from pipelines.rules import Input, SeriesRule

__all__ = ["Declaration", "Input", "Name", "Pipeline", "SeriesRule", "Span", "read_pipeline"]

#: Bundles keep the names under which they were published.
BundleName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{1,63}$")]
#: What can be measured on each kind of output.
MEASURABLE: dict[str, frozenset[str]] = {
    "labelmap": frozenset({"volume_ml", "mean", "percent_below"}),
    "channels": frozenset({"volume_ml", "mean", "percent_below"}),
    "boxes": frozenset({"diameter_mm", "size_mm"}),
    "scores": frozenset(),
}


class Concept(Declaration):
    """A coded concept; the scheme is SCT (SNOMED CT), DCM, UCUM, NCIt, or 99RADNODE where no standard has a code."""

    value: Annotated[str, Field(min_length=1, max_length=16)]
    scheme: Literal["SCT", "DCM", "UCUM", "NCIt", "99RADNODE"]
    meaning: Annotated[str, Field(min_length=1, max_length=64)]


class Limits(Declaration):
    """What the volume must be before the model sees it."""

    slice_spacing_mm: Span
    pixel_spacing_mm: Span
    coverage_mm: Span
    max_voxels: int
    seconds: Annotated[int, Field(gt=0)]


class Quality(Declaration):
    """What the voxels must be before the model sees them; what is absent is not checked, and see `pipelines.quality` for what always is.

    Percentages are of the voxels within the body's outline, the area is the median over slices.
    """

    empty_slices: Annotated[int, Field(ge=0)] | None = None
    body_area_cm2: Span | None = None
    lung_percent: Span | None = None
    bone_percent: Span | None = None
    soft_tissue_percent: Span | None = None

    @property
    def is_about_the_body(self) -> bool:
        """Whether the outline of the body is needed."""
        spans = (self.body_area_cm2, self.lung_percent, self.bone_percent, self.soft_tissue_percent)
        return any(span is not None for span in spans)


class Label(Declaration):
    """What one integer of the bundle's output stands for: a label of a label map, or the index of a channel, class or score."""

    value: Annotated[int, Field(ge=0, le=255)]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    category: Concept
    type: Concept
    laterality: Concept | None = None
    rgb: tuple[Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)]]
    required: bool = False


class MeasurementRule(Declaration):
    """One number to measure on each label; the sides of a box are three."""

    kind: Literal["volume_ml", "mean", "percent_below", "diameter_mm", "size_mm"]
    threshold: float | None = None

    @model_validator(mode="after")
    def _threshold_where_needed(self) -> MeasurementRule:
        if (self.kind == "percent_below") != (self.threshold is not None):
            raise ValueError("threshold belongs to percent_below, and only there")
        return self


class Plausible(Declaration):
    """What a true result looks like; outside of it nothing is reported."""

    total_volume_ml: Span | None = None
    label_volume_ml: Span | None = None
    label_extent_mm: Span | None = None


class Outputs(Declaration):
    """What the bundle gives, and which objects are made of it.

    Boxes that score less than ``min_score`` are not reported.
    """

    kind: Literal["labelmap", "channels", "boxes", "scores"] = "labelmap"
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.0
    segmentation: Literal["binary"] = "binary"
    report: Literal["tid1500"] = "tid1500"


class Speed(Declaration):
    """How the same is computed in less time. All of it is off unless it is asked for, and part of the model's identity.

    Attributes
    ----------
    argmax_in_slices : bool
        ``Invertd`` of probabilities and ``argmax`` as one step; see `pipelines.inversion`.
    backend : str
        ``openvino``: on a CPU, where it gives what torch gives; see `pipelines.backend`.
    transforms_on_device : bool
        On a GPU, the bundle's preprocessing runs there from its loader on; see `pipelines.upload`. Never run on one so far.
    """

    argmax_in_slices: bool = False
    backend: Literal["torch", "openvino"] = "torch"
    transforms_on_device: bool = False


class Origin(Declaration):
    """Where the bundle comes from, for those who have to bring it, and on what terms its weights may be used."""

    get: str = ""
    licence: Annotated[str, Field(min_length=1)]


#: What has to be done to the images before the bundle sees them, and which no part of RadNode does.
Prerequisite = Literal["atlas_registration", "skull_stripping", "phase_registration", "centre_crop", "resampling"]


class Pipeline(Declaration):
    """One pipeline.toml.

    Attributes
    ----------
    mode : str
        ``stages``: the bundle's own preprocessing, inferer, network and postprocessing, one after the other. ``engine``: its own evaluator.
    weights : str
        A TorchScript file (``models/NAME.ts``) or an exported program (``models/NAME.pt2``) that takes the place of the network which the
        bundle's configuration builds.
    labels_source : str
        Where it is written what the labels mean, for a bundle whose metadata.json does not say it.
    prerequisites : tuple of str
        Done to the images by somebody else; the pipeline is unavailable unless ``prerequisites_met_by_site``.
    overrides : dict
        Changes of the bundle's configuration: MONAI's id to value. Part of the model's identity, as are ``mode``, ``weights``, ``speed``
        and ``prerequisites_met_by_site``.
    """

    name: Name
    title: Annotated[str, Field(min_length=1, max_length=24)]
    bundle: BundleName
    intended_use: Annotated[str, Field(min_length=1)]
    origin: Origin | None = None
    mode: Literal["stages", "engine"] = "stages"
    inputs: Annotated[tuple[Input, ...], Field(min_length=1)]
    limits: Limits
    quality: Quality = Quality()
    labels: Annotated[tuple[Label, ...], Field(min_length=1)]
    measurements: tuple[MeasurementRule, ...] = ()
    plausible: Plausible = Plausible()
    outputs: Outputs = Outputs()
    weights: Annotated[str, Field(pattern=r"^(|models/[A-Za-z0-9._-]+\.(ts|pt2))$")] = ""
    labels_source: str = ""
    prerequisites: tuple[Prerequisite, ...] = ()
    prerequisites_met_by_site: bool = False
    speed: Speed = Speed()
    overrides: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _one_series_is_one_input(cls, table: Any) -> Any:
        """Read ``[series]``, the short form for the many pipelines that take one series."""
        if isinstance(table, dict) and "series" in table:
            if "inputs" in table:
                raise ValueError("[series] and [[inputs]] say the same; keep one of them")
            return {**{key: value for key, value in table.items() if key != "series"}, "inputs": [table["series"]]}
        return table

    @model_validator(mode="after")
    def _each_once(self) -> Pipeline:
        for what, values in (("labels", [label.value for label in self.labels]), ("inputs", [given.name for given in self.inputs])):
            if len(set(values)) != len(values):
                raise ValueError(f"two {what} have the same {'value' if what == 'labels' else 'name'}")
        if len(self.inputs) > 1 and any(given.choose == "all" for given in self.inputs):
            raise ValueError('choose = "all" belongs to a pipeline of one input')
        if any(given.kind == "image" for given in self.inputs) and (len(self.inputs) > 1 or self.outputs.kind != "scores"):
            raise ValueError('kind = "image" is for one input and for scores: a radiograph has no place in the patient')
        if self.quality.is_about_the_body and not any("CT" in given.modality for given in self.inputs):
            raise ValueError("[quality] is in Hounsfield units, and no input is a CT")
        if self.outputs.kind == "labelmap" and any(label.value == 0 for label in self.labels):
            raise ValueError("0 is the background of a label map and no label")
        return self

    @model_validator(mode="after")
    def _fits_the_output(self) -> Pipeline:
        kind = self.outputs.kind
        strange = {rule.kind for rule in self.measurements} - MEASURABLE[kind]
        if strange:
            raise ValueError(f"{', '.join(sorted(strange))} cannot be measured on {kind}")
        if self.outputs.min_score > 0 and kind != "boxes":
            raise ValueError("min_score belongs to boxes, and only there")
        if self.plausible != Plausible() and kind in {"boxes", "scores"}:
            raise ValueError(f"[plausible] is about volumes, of which {kind} have none")
        return self


def read_pipeline(path: Path) -> Pipeline:
    """Read one pipeline.toml.

    Raises
    ------
    BundleContract
        With every fault in the file, each with its key; reason ``open`` while something in it is still to be filled in.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        if openings := list(openings_in(table)):
            raise BundleContract(f"{path} is not finished; open are: {'; '.join(map(str, openings))}.", reason="open")
        pipeline = Pipeline.model_validate(table)
    except OSError as error:
        raise BundleContract(f"{path} cannot be read: {error.strerror}.", reason="unreadable") from error
    except tomllib.TOMLDecodeError as error:
        raise BundleContract(f"{path} is not TOML: {error}.", reason="syntax") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(str(step) for step in fault['loc'])}: {fault['msg']}" for fault in error.errors())
        raise BundleContract(f"{path} has faults: {faults}.", reason="declaration") from error
    if pipeline.name != path.parent.name:
        raise BundleContract(f"{path} calls itself {pipeline.name!r}; name it as its folder.", reason="name")
    return pipeline
