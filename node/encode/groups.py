"""The measurement groups of the report (TID 1411 and 1410): what was found, and where."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from highdicom import sr
from highdicom.seg import Segmentation
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as CodedValue

from node.core.errors import EncodeError
from node.encode.box import cut_box
from node.encode.contour import find_key_slice, trace_outline
from node.encode.making import ANATOMICAL_STRUCTURES, Making, Segment, algorithm_parameters, coded, tracking_uid
from node.encode.place import list_places
from pipelines.result import Boxes, Finding, Measurement, Scores

#: Decimals to which measured values are written. More would be noise on a reader's screen.
DECIMALS = 3

#: Graphic Data (0070,0022) has Value Representation FL, whose length is a 16-bit number of bytes (PS3.5 section 7.1.2).
MOST_POINTS = 65534 // 8

AREA = CodedValue("42798000", "SCT", "Area")
SQUARE_MILLIMETRE = CodedValue("mm2", "UCUM", "square millimeter")


def list_groups(making: Making, segments: tuple[Segment, ...], segmentation: Segmentation | None) -> list[Any]:
    """List the measurement groups of a report; none when nothing was found.

    Each segment has two under one tracking UID: a volumetric one (TID 1411) that references the segment, and a planar one
    (TID 1410) with its outline in the key slice. OHIF crashes on a finding without any coordinates. Each box has a planar one with
    its section, each score one about the whole of all images.
    """
    inference = making.inference
    if isinstance(inference.output, Boxes):
        return [_draw_box(finding, making) for finding in inference.findings]
    if isinstance(inference.output, Scores):
        return [_state_score(finding, making) for finding in inference.findings]
    if segmentation is None:
        return []
    groups: list[Any] = []
    for segment in segments:
        groups.append(_measure_volume(segment, making, segmentation))
        groups.append(_outline_key_slice(segment, making))
    return groups


def _draw_box(finding: Finding, making: Making) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """Write TID 1410: the section of a box on the slice nearest to its centre, its sizes, and the score that the model gave it."""
    if finding.box is None:
        raise EncodeError(f"{finding.name} has no box.", reason="box")
    section = cut_box(finding.box, making.inference)
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_region=_draw(section.points, section.index, making), **_measure(finding, making)
    )


def _state_score(finding: Finding, making: Making) -> Any:
    return measure_all_images(making, **_measure(finding, making))


def measure_all_images(making: Making, **content: Any) -> Any:
    """Write TID 1410, of a volume TID 1411, about the whole of each image; viewers begin in the middle."""
    width, height = float(making.header.Columns), float(making.header.Rows)
    frame = np.asarray([[0, 0], [width, 0], [width, height], [0, height], [0, 0]], dtype=np.float32)
    slices = len(making.inference.volume.headers)
    if slices == 1:
        return sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=_draw(frame, 0, making), **content)
    regions = [_draw(frame, index, making) for index in (*range(slices // 2, slices), *range(slices // 2))]
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_regions=regions, **content)


def _measure_volume(segment: Segment, making: Making, segmentation: Dataset) -> sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    """Write TID 1411: the pipeline's measurements, and the segment on which they were made."""
    source = sr.SourceSeriesForSegmentation(making.inference.volume.series_instance_uid)
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=segment.number,
            source_series=source,
        ),
        **_measure(segment.finding, making),
    )


def _outline_key_slice(segment: Segment, making: Making) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """Write TID 1410: the outline of the largest region in the slice that holds most of the segment, and the area within."""
    mask = making.inference.masks.mask(segment.finding.label)
    index = find_key_slice(mask)
    outline = trace_outline(mask[index])
    if len(outline.points) > MOST_POINTS:
        raise EncodeError(f"The outline of {segment.finding.name!r} is too ragged: {len(outline.points)} points.", reason="outline")
    _, row_mm, column_mm = making.inference.output.grid.spacing_mm
    area = sr.Measurement(name=AREA, value=round_value(outline.pixels * row_mm * column_mm), unit=SQUARE_MILLIMETRE)
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_region=_draw(outline.points, index, making), measurements=[area], **_describe(segment.finding, making)
    )


def _draw(points: NDArray[np.float32], index: int, making: Making) -> sr.ImageRegion:
    """Write a closed polygon on one slice of the source."""
    uid, frame = list_places(making.inference.output.grid)[index]
    source = sr.SourceImageForRegion(
        referenced_sop_class_uid=making.inference.volume.headers[index].SOPClassUID,
        referenced_sop_instance_uid=uid,
        referenced_frame_numbers=[frame] if frame else None,
    )
    return sr.ImageRegion(graphic_type=sr.GraphicTypeValues.POLYLINE, graphic_data=points, source_image=source)


def _measure(finding: Finding, making: Making) -> dict[str, Any]:
    """Name what a group is about, and what was measured on it."""
    return {"measurements": [state(measured) for measured in finding.measurements], **_describe(finding, making)}


def state(measured: Measurement) -> sr.Measurement:
    """Write one measured number (TID 300)."""
    return sr.Measurement(
        name=coded(measured.name),
        value=round_value(measured.value),
        unit=coded(measured.unit),
        derivation=coded(measured.derivation) if measured.derivation else None,
    )


def _describe(finding: Finding, making: Making) -> dict[str, Any]:
    """Name what every group is about: the finding, its side, its tracking identifier and the algorithm (TID 4019)."""
    sites = None
    if finding.laterality is not None and finding.category.value in ANATOMICAL_STRUCTURES:
        sites = [sr.FindingSite(coded(finding.type), laterality=coded(finding.laterality))]
    return {
        "tracking_identifier": sr.TrackingIdentifier(uid=tracking_uid(making.job, finding), identifier=finding.name),
        "finding_category": coded(finding.category),
        "finding_type": coded(finding.type),
        "finding_sites": sites,
        "algorithm_id": identify_algorithm(making),
    }


def identify_algorithm(making: Making) -> sr.AlgorithmIdentification:
    """Write TID 4019: the model, its files and what they are meant for."""
    model = making.model
    return sr.AlgorithmIdentification(name=model.name, version=model.version, parameters=algorithm_parameters(model, making.pipeline))


def round_value(value: float) -> float:
    """Round a measured value as the report states it.

    Raises
    ------
    EncodeError
        When it is not a finite number.
    """
    if not math.isfinite(value):
        raise EncodeError("A measured value is not a finite number.", reason="value")
    return float(np.round(value, DECIMALS))
