"""A stored Segmentation, ours or anybody's, back into masks in the patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from highdicom.seg import segread
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import SegmentationStorage

from pipelines.errors import EvaluationError
from pipelines.evaluation.masks import Masks, placed
from pipelines.geometry import LPS_TO_RAS


def subject_of(path: Path) -> tuple[str, ...] | None:
    """Which study and series a Segmentation is about, or None when the file is no Segmentation.

    Two that have this in common are about the same images: Study Instance UID, and the UIDs of Referenced Series Sequence
    (PS3.3 C.12.2), or the Frame of Reference UID where that is missing.
    """
    try:
        dataset = dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, OSError):
        return None
    if dataset.get("SOPClassUID") != SegmentationStorage:
        return None
    series = sorted(str(item.SeriesInstanceUID) for item in dataset.get("ReferencedSeriesSequence", ()))
    return str(dataset.get("StudyInstanceUID")), *(series or [str(dataset.get("FrameOfReferenceUID"))])


def read_segmentation(path: Path) -> Masks:
    """Read the segments of a DICOM SEG, named by their Segment Label (0062,0005).

    Frames without a voxel may be left out of it, so that its grid begins and ends where its segments do.

    Raises
    ------
    EvaluationError
        reason ``unreadable`` (no Segmentation, or frames that form no volume), ``fractional`` or ``labels`` (two of one name).
    """
    try:
        segmentation = segread(path)
        if segmentation.SegmentationType == "FRACTIONAL":
            raise EvaluationError(f"{path} holds fractions and no masks; nothing says where to cut them.", reason="fractional")
        numbers = list(segmentation.segment_numbers)
        names = [str(segmentation.get_segment_description(number).segment_label) for number in numbers]
        if len(set(names)) != len(names):
            raise EvaluationError(f"{path} has two segments of one Segment Label.", reason="labels")
        volume = segmentation.get_volume(segment_numbers=numbers)
    except (AttributeError, InvalidDicomError, KeyError, OSError, RuntimeError, ValueError) as error:
        raise EvaluationError(f"{path} cannot be read as a segmentation: {error}.", reason="unreadable") from error
    masks = {name: np.asarray(volume.array[..., place] != 0) for place, name in enumerate(names)}
    return placed(masks, np.asarray(LPS_TO_RAS @ volume.affine, dtype=np.float64))
