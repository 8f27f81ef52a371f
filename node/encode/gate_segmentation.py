"""What must be true of a stored Segmentation: it lies on the source's grid, and holds the label map, voxel by voxel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset

from node.core.job import Job
from node.encode.frames import Frame, list_frames, unpack_frame
from node.encode.making import tracking_uid
from node.encode.place import list_places
from pipelines.result import Channels, Code, Finding, Inference, Masks

#: Millimetres by which a stored position may differ from the source's: far less than any voxel, more than rounding to DS.
TOLERANCE_MM = 1e-3
#: Cosines of one stack may differ a little from slice to slice; ours are those of the first.
TOLERANCE_COSINE = 2e-4
#: Slices by which a source position may lie off the even grid that was laid through all of them; a stack that is worse is
#: refused when it is read. A label map that is shifted by one slice is four times as far away.
TOLERANCE_SLICES = 0.25


def check_grid(segmentation: Dataset, inference: Inference) -> Iterator[str]:
    """Compare Frame of Reference, matrix, orientation and spacing with the source's headers and the label map's grid."""
    headers, grid = inference.volume.headers, inference.output.grid
    if any(segmentation.FrameOfReferenceUID != uid for uid in {grid.frame_of_reference_uid, *(h.FrameOfReferenceUID for h in headers)}):
        yield "Frame of Reference UID is not the source's"
    if any((segmentation.Rows, segmentation.Columns) != (header.Rows, header.Columns) for header in headers):
        yield "Rows or Columns are not the source's"
    if (segmentation.SegmentationType, segmentation.BitsAllocated) != ("BINARY", 1):
        yield "it is not a binary segmentation"
    if segmentation.get("SegmentsOverlap") != ("YES" if _overlap(inference.masks) else "NO"):
        yield "Segments Overlap is not what the masks do"
    yield from _check_references(segmentation, inference)
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    cosines = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    if any(not _near(cosines, header.ImageOrientationPatient, TOLERANCE_COSINE) for header in headers):
        yield "Image Orientation (Patient) is not the source's"
    measures = shared.PixelMeasuresSequence[0]
    if any(not _near(measures.PixelSpacing, header.PixelSpacing, TOLERANCE_MM) for header in headers):
        yield "Pixel Spacing is not the source's"
    if not _near([measures.SpacingBetweenSlices], grid.spacing_mm[:1], TOLERANCE_MM):
        yield "Spacing Between Slices is not the distance of the source's positions"
    corners = [(grid.affine @ [index, 0, 0, 1])[:3] for index in range(grid.shape[0])]
    slack = max(TOLERANCE_SLICES * grid.spacing_mm[0], 0.1)
    if any(not _near(corner, header.ImagePositionPatient, slack) for corner, header in zip(corners, headers, strict=True)):
        yield "the label map's grid is not where the source's instances are"


def _check_references(segmentation: Dataset, inference: Inference) -> Iterator[str]:
    meant: dict[str, set[str]] = {}
    volumes = (inference.volume, *inference.others)
    for header in (header for volume in volumes for header in volume.headers):
        meant.setdefault(str(header.SeriesInstanceUID), set()).add(str(header.SOPInstanceUID))
    referenced = [
        (str(series.SeriesInstanceUID), sorted(str(item.ReferencedSOPInstanceUID) for item in series.ReferencedInstanceSequence))
        for series in segmentation.ReferencedSeriesSequence
    ]
    if referenced != [(series, sorted(uids)) for series, uids in meant.items()]:
        yield "Referenced Series Sequence is not the source series"
    sources = sorted(str(item.ReferencedSOPInstanceUID) for item in segmentation.get("SourceImageSequence", []))
    if sources != sorted(uid for uids in meant.values() for uid in uids):
        yield "Source Image Sequence is not the instances of the inputs"
    classes = {str(header.SOPInstanceUID): str(header.SOPClassUID) for volume in volumes for header in volume.headers}
    items = [item for item in segmentation.iterall() if item.keyword in {"ReferencedInstanceSequence", "SourceImageSequence"}]
    if any(classes.get(str(one.ReferencedSOPInstanceUID)) != one.ReferencedSOPClassUID for item in items for one in item.value):
        yield "a source instance is referenced under another SOP class"


def check_segments(segmentation: Dataset, inference: Inference, job: Job) -> Iterator[str]:
    """Compare each segment's meaning, side and provenance with the finding of the same tracking UID."""
    present = _list_present(inference)
    segments = list(segmentation.SegmentSequence)
    if [int(segment.SegmentNumber) for segment in segments] != list(range(1, len(present) + 1)):
        yield "segment numbers are not 1 to the number of findings"
        return
    for segment, finding in zip(segments, present, strict=True):
        where = f"segment {segment.SegmentNumber}"
        if (segment.TrackingUID, segment.TrackingID) != (tracking_uid(job, finding), finding.name):
            yield f"{where}: its tracking identifier is not the finding's"
        if segment.SegmentLabel != finding.name:
            yield f"{where}: Segment Label is not the finding's name"
        stated = _codes(segment, "SegmentedPropertyCategoryCodeSequence") + _codes(segment, "SegmentedPropertyTypeCodeSequence")
        if stated != [_pair(finding.category), _pair(finding.type)]:
            yield f"{where}: category or type is not the finding's"
        sides = _codes(segment.SegmentedPropertyTypeCodeSequence[0], "SegmentedPropertyTypeModifierCodeSequence")
        if sides != ([_pair(finding.laterality)] if finding.laterality else []):
            yield f"{where}: laterality is not the finding's"
        if len(segment.get("RecommendedDisplayCIELabValue", [])) != 3:
            yield f"{where}: no display colour"
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        if (algorithm.AlgorithmName, algorithm.AlgorithmVersion) != (inference.model.name, inference.model.version):
            yield f"{where}: the algorithm is not the model"
        if segment.SegmentAlgorithmType != "AUTOMATIC":
            yield f"{where}: Segment Algorithm Type is not AUTOMATIC"


def check_voxels(segmentation: Dataset, inference: Inference) -> Iterator[str]:
    """Compare the stored voxels with the label map: each frame by the source instance that it names, and none missing."""
    grid = inference.output.grid
    slices = {place: index for index, place in enumerate(list_places(grid))}
    labels = {number: finding.label for number, finding in enumerate(_list_present(inference), start=1)}
    strange = inference.masks.present() - set(labels.values())
    if strange:
        yield f"no finding stands for the labels {sorted(strange)}"
    frames = list(list_frames(segmentation))
    if len(frames) != int(segmentation.NumberOfFrames):
        yield "Number of Frames is not the number of its descriptions"
    if len(segmentation.PixelData) - -(-len(frames) * grid.shape[1] * grid.shape[2] // 8) not in {0, 1}:
        yield "the length of the pixel data is not that of its frames"
    seen: set[tuple[int, int]] = set()
    for frame in frames:
        index, label = slices.get(frame.source), labels.get(frame.segment_number)
        if index is None or label is None:
            yield f"frame {frame.index + 1}: it names no source instance, or no segment, of this job"
            continue
        if (label, index) in seen:
            yield f"frame {frame.index + 1}: this segment has a frame on this source instance already"
        seen.add((label, index))
        yield from _check_frame(segmentation, frame, inference, (label, index))
    missing = {(label, index) for label in labels.values() for index in _slices_with(inference.masks, label)} - seen
    if missing:
        yield f"{len(missing)} slices of the label map have no frame"


def _check_frame(segmentation: Dataset, frame: Frame, inference: Inference, place: tuple[int, int]) -> Iterator[str]:
    label, index = place
    if frame.position is None:
        yield f"frame {frame.index + 1}: it has no position"
    elif not _near(frame.position, inference.volume.headers[index].ImagePositionPatient, TOLERANCE_MM):
        yield f"frame {frame.index + 1}: its position is not its source instance's"
    stored, meant = unpack_frame(segmentation, frame.index), inference.masks.plane(label, index)
    if not np.array_equal(stored, meant):
        yield f"frame {frame.index + 1}: {int((stored != meant).sum())} voxels differ from the label map"


def _list_present(inference: Inference) -> list[Finding]:
    labels = inference.masks.present()
    return [finding for finding in inference.findings if finding.label in labels]


def _slices_with(masks: Masks, label: int) -> list[int]:
    return [int(index) for index in np.flatnonzero(masks.mask(label).any(axis=(1, 2)))]


def _overlap(masks: Masks) -> bool:
    return isinstance(masks, Channels) and any(bool((plane.sum(axis=0) > 1).any()) for plane in np.moveaxis(masks.array, 1, 0))


def _codes(item: Dataset, keyword: str) -> list[tuple[str, str]]:
    return [(str(code.CodeValue), str(code.CodingSchemeDesignator)) for code in item.get(keyword, [])]


def _pair(code: Code) -> tuple[str, str]:
    return code.value, code.scheme


def _near(ours: object, theirs: object, tolerance: float) -> bool:
    return bool(np.allclose(np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float), rtol=0.0, atol=tolerance))
