"""What the headers of a series say that a pipeline may ask for; plain values, so that they can be stored and shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from pipelines.damage import damage_refused
from pipelines.errors import GeometryError
from pipelines.frames import Slice, slices_of
from pipelines.geometry import Grid
from pipelines.physics import Range, contrast_of, range_of, sequence_of
from pipelines.rules import Distinction
from pipelines.stacking import SAME_COSINES, numbers, stack
from pipelines.stacks import Stack, split

#: A plane is called axial, coronal or sagittal while its normal is within 30 degrees of that axis.
PLANE_COSINE = float(np.cos(np.radians(30.0)))
PLANES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFacts:
    """What selection needs to know of one series, or of one of its stacks.

    Attributes
    ----------
    stack : str
        The stack's key; empty when the series is a single one. See `pipelines.stacks`.
    split_by : tuple of str
        By what it is told apart from the other stacks of the series.
    modality, body_part, view_position, description, frame_of_reference_uid : str
        Of the first instance, upper case for the first three.
    sop_class_uids, kernels : tuple of str
        All that occur, sorted.
    image_type_everywhere, image_type_anywhere : frozenset of str
        Values of Image Type (0008,0008) that every, or at least one, slice has.
    orientation : str
        ``axial``, ``coronal``, ``sagittal``, ``oblique``, ``mixed`` or ``unknown``.
    instances : int
        Slices; each frame of a multi-frame instance counts.
    slice_thickness_mm : float or None
        The largest that occurs; None when an instance does not say.
    slice_spacing_mm, coverage_mm : float or None
        The distance between slice positions, and that times the number of slices; None when it is no volume.
    fault : str
        The code of what keeps it from being a volume, ``GEOMETRY.gap``; empty when nothing does.
    contrast : str
        ``given``, ``none`` or ``mixed``.
    sequence : frozenset of str
        Scanning Sequence (0018,0020) of any slice; for enhanced MR what stands for it.
    echo_time_ms, repetition_time_ms, inversion_time_ms, b_value : (float, float) or None
        The least and the most that occur; None when a slice does not say.
    acquired_at : str
        When the last slice was acquired, YYYYMMDDHHMMSS; empty when none says it.
    """

    series_instance_uid: str
    modality: str
    sop_class_uids: tuple[str, ...]
    image_type_everywhere: frozenset[str]
    image_type_anywhere: frozenset[str]
    body_part: str
    orientation: str
    instances: int
    slice_thickness_mm: float | None
    description: str
    study_instance_uid: str = ""
    frame_of_reference_uid: str = ""
    stack: str = ""
    split_by: tuple[Distinction, ...] = ()
    view_position: str = ""
    slice_spacing_mm: float | None = None
    coverage_mm: float | None = None
    fault: str = ""
    kernels: tuple[str, ...] = ()
    contrast: str = "none"
    sequence: frozenset[str] = frozenset()
    echo_time_ms: Range | None = None
    repetition_time_ms: Range | None = None
    inversion_time_ms: Range | None = None
    b_value: Range | None = None
    acquired_at: str = ""

    @property
    def name(self) -> str:
        """The series, and the stack when it is not all of it; for people and as a key of reasons."""
        return f"{self.series_instance_uid} [{self.stack}]" if self.stack else self.series_instance_uid


@damage_refused()
def survey(headers: Sequence[Dataset]) -> tuple[SeriesFacts, ...]:
    """Collect the facts of one series, of each of its stacks if it has several.

    Parameters
    ----------
    headers : sequence of Dataset
        Of all its instances, at least one.

    Raises
    ------
    UnsupportedPixelData
        reason ``unreadable``: a header holds damaged values; ``frames``: see `pipelines.frames.slices_of`.
    """
    slices = slices_of(headers)
    return tuple(_facts(found, [slices[index] for index in found.members]) for found in split([each.header for each in slices]))


def facts_of(headers: Sequence[Dataset]) -> SeriesFacts:
    """Collect the facts of one series as a whole, whatever stacks it has.

    Raises
    ------
    UnsupportedPixelData
        As `survey`.
    """
    with damage_refused():
        slices = slices_of(headers)
        return _facts(Stack(key="", by=(), members=tuple(range(len(slices)))), slices)


def _facts(found: Stack, slices: Sequence[Slice]) -> SeriesFacts:
    headers = [each.header for each in slices]
    first = headers[0]
    types = [frozenset(words(header.get("ImageType"))) for header in headers]
    thickness = [numbers(header, "SliceThickness", 1) for header in headers]
    known = [float(value[0]) for value in thickness if value is not None and np.isfinite(value[0])]
    grid, fault = _grid_of(slices)
    return SeriesFacts(
        study_instance_uid=str(first.get("StudyInstanceUID", "")),
        series_instance_uid=str(first.get("SeriesInstanceUID", "")),
        frame_of_reference_uid=str(first.get("FrameOfReferenceUID") or ""),
        stack=found.key,
        split_by=found.by,
        modality=str(first.get("Modality", "")).upper(),
        sop_class_uids=tuple(sorted({str(header.get("SOPClassUID", "")) for header in headers})),
        image_type_everywhere=frozenset.intersection(*types),
        image_type_anywhere=frozenset.union(*types),
        body_part=str(first.get("BodyPartExamined", "")).upper(),
        view_position=str(first.get("ViewPosition", "")).upper(),
        orientation=_orientation(headers),
        instances=len(headers),
        slice_thickness_mm=max(known) if len(known) == len(headers) else None,
        slice_spacing_mm=grid.spacing_mm[0] if grid else None,
        coverage_mm=grid.spacing_mm[0] * grid.shape[0] if grid else None,
        fault=fault,
        kernels=tuple(sorted({"\\".join(words(header.get("ConvolutionKernel"))) for header in headers} - {""})),
        contrast=contrast_of(headers),
        sequence=sequence_of(headers),
        echo_time_ms=range_of(headers, "EffectiveEchoTime", "EchoTime"),
        repetition_time_ms=range_of(headers, "RepetitionTime"),
        inversion_time_ms=range_of(headers, "InversionTimes", "InversionTime"),
        b_value=range_of(headers, "DiffusionBValue"),
        acquired_at=max(map(_acquired_at, headers)),
        description=str(first.get("SeriesDescription", "")),
    )


def _grid_of(slices: Sequence[Slice]) -> tuple[Grid | None, str]:
    try:
        return stack([each.header for each in slices], [each.frame for each in slices])[1], ""
    except GeometryError as error:
        return None, error.full_code


def _acquired_at(header: Dataset) -> str:
    """When an image was acquired, or else its series begun; to the second, on the clock of its modality."""
    moment = str(header.get("AcquisitionDateTime") or header.get("FrameAcquisitionDateTime") or "")
    for prefix in ("Acquisition", "Series"):
        moment = moment or str(header.get(f"{prefix}Date") or "") + str(header.get(f"{prefix}Time") or "")
    return moment.partition(".")[0]


def words(value: object) -> tuple[str, ...]:
    """The values of a multi-valued text attribute, upper case."""
    if not value:
        return ()
    values = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    return tuple(str(word).strip().upper() for word in values)


def _orientation(headers: Sequence[Dataset]) -> str:
    """Name the plane that all instances share (PS3.3 C.7.6.2.1.1)."""
    planes = [numbers(header, "ImageOrientationPatient", 6) for header in headers]
    known = [plane for plane in planes if plane is not None]
    if len(known) < len(planes):
        return "unknown"
    if np.abs(np.stack(known) - known[0]).max() > SAME_COSINES:
        return "mixed"
    normal = np.abs(np.cross(known[0][:3], known[0][3:]))
    axis = int(np.argmax(normal))
    return PLANES[axis] if normal[axis] >= PLANE_COSINE else "oblique"
