"""The Segmentation (PS3.3 A.51): each finding as a binary segment on the grid of its source."""

from __future__ import annotations

import numpy as np
from highdicom import AlgorithmIdentificationSequence, PixelMeasuresSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import DS

from node.encode.equipment import code_item, sign
from node.encode.making import Making, Segment, coded
from node.encode.source import list_stand_ins, name_sources
from pipelines.result import Channels

SERIES_NUMBER = 901


def encode_segmentation(making: Making, segments: tuple[Segment, ...]) -> Segmentation:
    """Encode the label map as a BINARY Segmentation in Explicit VR Little Endian.

    The frames lie on the source's own grid and name their source instance; those without a voxel are left out. OHIF refuses
    other grids, and the Label Map and fractional kinds are not shown right by every viewer. Of several inputs the frames lie on
    the first.
    """
    stand_ins = list_stand_ins(making.inference)
    dataset = Segmentation(
        source_images=stand_ins,
        pixel_array=_number_segments(making, segments),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe_segment(segment, making) for segment in segments],
        series_instance_uid=making.job.derive_uid("SEG", "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=making.job.derive_uid("SEG", "instance"),
        instance_number=1,
        manufacturer=making.equipment.manufacturer,
        manufacturer_model_name=making.equipment.model_name,
        software_versions=making.equipment.software_version,
        device_serial_number=making.equipment.serial_number,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        pixel_measures=_measure_pixels(stand_ins[0]),
        omit_empty_frames=True,
        content_label="AI_SEG",
        content_description="AI segmentation, unverified",
        specific_character_set=None,
    )
    dataset.ContentCreatorName = None  # no person made it; dcmqi and DCMTK expect the attribute to be there, though empty
    name_sources(dataset, making.inference)
    _state_slice_spacing(dataset, making)
    _fix_dimension_organization(dataset, making.job.derive_uid("SEG", "dimension organization"))
    sign(dataset, "SEG", making)
    return dataset


def _number_segments(making: Making, segments: tuple[Segment, ...]) -> np.ndarray:
    """Turn labels into segments: (slice, row, column) of their numbers, or with an axis for them at the end where they may overlap."""
    masks = making.inference.masks
    if isinstance(masks, Channels):
        return np.stack([masks.mask(segment.finding.label) for segment in segments], axis=-1)
    if all(segment.number == segment.finding.label for segment in segments):
        return masks.array
    numbers = np.zeros(256, dtype=np.uint8)
    for segment in segments:
        numbers[segment.finding.label] = segment.number
    return np.asarray(numbers[masks.array])


def _describe_segment(segment: Segment, making: Making) -> SegmentDescription:
    finding, model = segment.finding, making.model
    algorithm = AlgorithmIdentificationSequence(
        name=model.name,
        family=codes.cid7162.ArtificialIntelligence,
        version=model.version,
        source=model.manufacturer,
        parameters={"model_sha256": model.digest},
    )
    description = SegmentDescription(
        segment_number=segment.number,
        segment_label=finding.name,
        segmented_property_category=coded(finding.category),
        segmented_property_type=coded(finding.type),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=segment.tracking_uid,
        tracking_id=segment.tracking_id,
        display_color=CIELabColor.from_rgb(*finding.rgb),
    )
    if finding.laterality is not None:
        # left and right are told apart by this modifier (PS3.3 Table C.8.20-4), for which highdicom has no argument
        modifier = [code_item(coded(finding.laterality))]
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = modifier
    return description


def _measure_pixels(stand_in: Dataset) -> PixelMeasuresSequence:
    return PixelMeasuresSequence(
        pixel_spacing=[float(value) for value in stand_in.PixelSpacing],
        slice_thickness=float(stand_in.SliceThickness),
    )


def _state_slice_spacing(dataset: Dataset, making: Making) -> None:
    """State the slice spacing of the grid, in which the volumes of the report are measured.

    It comes from the positions: Spacing Between Slices (0018,0088) of a source is often wrong. highdicom leaves it out where
    positions are a little uneven, as scanners round them.
    """
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = DS(making.inference.output.grid.spacing_mm[0], auto_format=True)


def _fix_dimension_organization(dataset: Dataset, uid: str) -> None:
    """Replace the UID that highdicom drew at random (PS3.3 C.7.6.17)."""
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for index in dataset.DimensionIndexSequence:
        index.DimensionOrganizationUID = uid
