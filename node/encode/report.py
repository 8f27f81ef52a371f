"""The Structured Report (PS3.3 A.35.13, Comprehensive 3D SR): what was measured, by template TID 1500 "Measurement Report"."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from highdicom import sr
from highdicom.seg import Segmentation
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as CodedValue
from pydicom.uid import ExplicitVRLittleEndian

from node.core.errors import EncodeError
from node.encode.contour import find_key_slice, trace_outline
from node.encode.equipment import sign
from node.encode.making import Making, Segment, coded, device_uid
from node.encode.source import list_stand_ins

SERIES_NUMBER = 902

#: Decimals to which measured values are written. More would be noise on a reader's screen.
DECIMALS = 3

#: Graphic Data (0070,0022) has Value Representation FL, whose length is a 16-bit number of bytes (PS3.5 section 7.1.2).
MOST_POINTS = 65534 // 8

ENGLISH = CodedValue("en-US", "RFC5646", "English (United States)")
AREA = CodedValue("42798000", "SCT", "Area")
SQUARE_MILLIMETRE = CodedValue("mm2", "UCUM", "square millimeter")
ANATOMICAL_STRUCTURE = "123037004"  # SCT; other categories (a lesion) say nothing of where they are

#: Procedure Reported (121058, DCM) by the source's Modality (0008,0060), from CID 100.
PROCEDURES = {
    "CT": codes.cid100.CTUnspecifiedBodyRegion,
    "MR": codes.cid100.MRIUnspecifiedBodyRegion,
    "NM": codes.cid100.NMUnspecifiedBodyRegion,
    "PT": codes.cid100.PETUnspecifiedBodyRegion,
    "CR": codes.cid100.XRUnspecifiedBodyRegion,
    "DX": codes.cid100.XRUnspecifiedBodyRegion,
}


def encode_report(making: Making, segments: tuple[Segment, ...], segmentation: Segmentation) -> sr.Comprehensive3DSR:
    """Encode the findings as an unverified, preliminary Comprehensive 3D SR in Explicit VR Little Endian.

    Each segment has two measurement groups under one tracking UID: a volumetric one (TID 1411) that references the segment,
    and a planar one (TID 1410) with its outline in the key slice. OHIF crashes on a finding without any coordinates.

    Raises
    ------
    EncodeError
        When there is no Procedure Reported for the modality, or a measured value is not a number.
    """
    stand_ins = list_stand_ins(making.inference)
    groups: list[Any] = []
    for segment in segments:
        groups.append(_measure_volume(segment, making, segmentation))
        groups.append(_outline_key_slice(segment, making, stand_ins))
    dataset = sr.Comprehensive3DSR(
        evidence=[*stand_ins, segmentation],  # sources first: highdicom takes patient, study and scanner from the first
        content=_compose(making, groups),
        series_instance_uid=making.job.derive_uid("SR", "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=making.job.derive_uid("SR", "instance"),
        instance_number=1,
        manufacturer=making.equipment.manufacturer,
        is_complete=True,
        is_final=False,
        is_verified=False,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set=None,
    )
    sign(dataset, "SR", making)
    return dataset


def _compose(making: Making, groups: list[Any]) -> sr.MeasurementReport:
    """Write the root of TID 1500. The observer is the model, not the host that it ran on (IHE AIR section 6.5.3.1)."""
    modality = str(making.header.get("Modality", ""))
    if modality not in PROCEDURES:
        raise EncodeError(f"There is no Procedure Reported for modality {modality!r}.", reason="procedure")
    model = making.model
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=device_uid(model), name=model.name, manufacturer_name=model.manufacturer, model_name=model.name
    )
    observer = sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=PROCEDURES[modality],
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(ENGLISH),
    )


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
        measurements=[
            sr.Measurement(
                name=coded(measured.name),
                value=round_value(measured.value),
                unit=coded(measured.unit),
                derivation=coded(measured.derivation) if measured.derivation else None,
            )
            for measured in segment.finding.measurements
        ],
        **_describe(segment, making),
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
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, measurements=[area], **_describe(segment, making))


def _describe(segment: Segment, making: Making) -> dict[str, Any]:
    """Name what both groups are about: the finding, its side, its tracking identifier and the algorithm (TID 4019)."""
    finding, model = segment.finding, making.model
    sites = None
    if finding.laterality is not None and finding.category.value == ANATOMICAL_STRUCTURE:
        sites = [sr.FindingSite(coded(finding.type), laterality=coded(finding.laterality))]
    return {
        "tracking_identifier": sr.TrackingIdentifier(uid=segment.tracking_uid, identifier=segment.tracking_id),
        "finding_category": coded(finding.category),
        "finding_type": coded(finding.type),
        "finding_sites": sites,
        "algorithm_id": sr.AlgorithmIdentification(name=model.name, version=model.version, parameters=[f"model_sha256={model.digest}"]),
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
