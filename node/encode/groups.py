"""The measurement groups of the report (TID 1411, 1410 and 1501): what was found, or that nothing was."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from highdicom import sr
from highdicom.seg import Segmentation
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as CodedValue

from node.core.errors import EncodeError
from node.encode.contour import find_key_slice, trace_outline
from node.encode.making import Making, Segment, algorithm_parameters, coded, tracking_uid
from pipelines.measure import describe
from pipelines.result import Finding, Measurement

#: Decimals to which measured values are written. More would be noise on a reader's screen.
DECIMALS = 3

#: Graphic Data (0070,0022) has Value Representation FL, whose length is a 16-bit number of bytes (PS3.5 section 7.1.2).
MOST_POINTS = 65534 // 8

AREA = CodedValue("42798000", "SCT", "Area")
SQUARE_MILLIMETRE = CodedValue("mm2", "UCUM", "square millimeter")
#: What says that a finding is a place in the body; other categories (a lesion) say nothing of where they are. PS3.16 CID 7150 has the first
#: code; the second is its parent, Body structure, which many objects have under the name of the first.
ANATOMICAL_STRUCTURES = frozenset({"91723000", "123037004"})


def list_groups(making: Making, segments: tuple[Segment, ...], segmentation: Segmentation | None, stand_ins: list[Dataset]) -> list[Any]:
    """List the measurement groups of a report.

    Each segment has two under one tracking UID: a volumetric one (TID 1411) that references the segment, and a planar one
    (TID 1410) with its outline in the key slice. OHIF crashes on a finding without any coordinates.
    Where nothing was found, each label that was looked for has a group (TID 1501) that says so.
    """
    if segmentation is None:
        return [_state_absence(describe(label), making) for label in making.pipeline.labels]
    groups: list[Any] = []
    for segment in segments:
        groups.append(_measure_volume(segment, making, segmentation))
        groups.append(_outline_key_slice(segment, making, stand_ins))
    return groups


def _state_absence(finding: Finding, making: Making) -> sr.MeasurementsAndQualitativeEvaluations:
    """Write TID 1501 for what was looked for and not found.

    An anatomical structure is not called absent: it may well lie outside of the images. For both, the algorithm succeeded and
    has no finding (CID 6047).
    """
    evaluations = [sr.QualitativeEvaluation(codes.DCM.CADProcessingAndFindingsSummary, codes.cid6047.AllAlgorithmsSucceededWithoutFindings)]
    if finding.category.value not in ANATOMICAL_STRUCTURES:
        evaluations.append(sr.QualitativeEvaluation(coded(finding.type), codes.cid241.Absent))
    return sr.MeasurementsAndQualitativeEvaluations(qualitative_evaluations=evaluations, **_describe(finding, making))


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
        measurements=[_state(measured) for measured in segment.finding.measurements],
        **_describe(segment.finding, making),
    )


def _outline_key_slice(segment: Segment, making: Making, stand_ins: list[Dataset]) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """Write TID 1410: the outline of the largest region in the slice that holds most of the segment, and the area within."""
    mask = making.inference.masks.mask(segment.finding.label)
    index = find_key_slice(mask)
    outline = trace_outline(mask[index])
    if len(outline.points) > MOST_POINTS:
        raise EncodeError(f"The outline of {segment.finding.name!r} is too ragged: {len(outline.points)} points.", reason="outline")
    _, row_mm, column_mm = making.inference.output.grid.spacing_mm
    region = sr.ImageRegion(
        graphic_type=sr.GraphicTypeValues.POLYLINE,
        graphic_data=outline.points,
        source_image=sr.SourceImageForRegion(
            referenced_sop_class_uid=stand_ins[index].SOPClassUID,
            referenced_sop_instance_uid=stand_ins[index].SOPInstanceUID,
        ),
    )
    area = sr.Measurement(name=AREA, value=round_value(outline.pixels * row_mm * column_mm), unit=SQUARE_MILLIMETRE)
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_region=region, measurements=[area], **_describe(segment.finding, making)
    )


def _state(measured: Measurement) -> sr.Measurement:
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
        "algorithm_id": sr.AlgorithmIdentification(
            name=making.model.name,
            version=making.model.version,
            parameters=algorithm_parameters(making.model, making.pipeline),
        ),
    }


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
