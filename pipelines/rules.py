"""Which series a pipeline takes: the ``[series]`` table of pipeline.toml, or one of ``[[inputs]]``."""

from __future__ import annotations

from typing import Literal

from pipelines.declaration import Declaration, Name, Pattern, Span

#: By what the stacks of one series are told apart; see `pipelines.stacks`.
Distinction = Literal[
    "ImageType",
    "ComplexImageComponent",
    "EchoTime",
    "EchoNumbers",
    "InversionTime",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "TemporalPosition",
    "CardiacPhase",
    "TriggerTime",
    "AcquisitionNumber",
    "ContentTime",
]
#: Scanning Sequence (0018,0020): spin echo, gradient, inversion recovery, echo planar, research mode.
ScanningSequence = Literal["SE", "GR", "IR", "EP", "RM"]


class SeriesRule(Declaration):
    """Which series of a complete study the pipeline takes, or which stacks of them; docs/pipelines.md explains each key.

    Empty lists, empty patterns and absent spans are rules that always hold. Times are in milliseconds, b-values in s/mm2.
    """

    modality: tuple[str, ...]
    sop_class_uid: tuple[str, ...] = ()
    image_type_all: tuple[str, ...] = ()
    image_type_none: tuple[str, ...] = ()
    body_part: tuple[str, ...] = ()
    orientation: Literal["axial", "coronal", "sagittal", "any"] = "any"
    view_position: tuple[str, ...] = ()
    stacks_by: tuple[Distinction, ...] = ()
    instances: Span = Span(min=1, max=100_000)
    slice_thickness_mm: Span | None = None
    slice_spacing_mm: Span | None = None
    coverage_mm: Span | None = None
    kernel_pattern: Pattern = ""
    contrast: Literal["given", "none", "any"] = "any"
    sequence_all: tuple[ScanningSequence, ...] = ()
    sequence_none: tuple[ScanningSequence, ...] = ()
    echo_time_ms: Span | None = None
    repetition_time_ms: Span | None = None
    inversion_time_ms: Span | None = None
    b_value: Span | None = None
    description_pattern: Pattern = ""
    choose: Literal["thinnest", "most_instances", "latest", "all"] = "thinnest"
    kernel_preference: tuple[Pattern, ...] = ()


class Input(SeriesRule):
    """One of the images that the bundle loads; with several, their order is the order of the bundle's channels.

    A ``volume`` is read as slices in the patient (`pipelines.series`), an ``image`` as one radiograph (`pipelines.picture`).
    """

    name: Name = "image"
    kind: Literal["volume", "image"] = "volume"
