"""What must be true of a stored report: unverified, complete in its evidence, and in step with the stored Segmentation."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy import ndimage

from node.core.job import Job
from node.encode.frames import list_frames, unpack_frame
from node.encode.making import device_uid, tracking_uid
from pipelines.result import Finding, Inference, Measurement

#: What a value may lose by being written with three decimals.
ROUNDING = 0.0005 + 1e-9

VOLUME = "118565006"  # SCT


def check_document(report: Dataset, inference: Inference) -> Iterator[str]:
    """Look at the document's flags, its template and its observer (PS3.3 C.17.2, TID 1500, TID 1004)."""
    flags = (report.VerificationFlag, report.PreliminaryFlag, report.CompletionFlag)
    if flags != ("UNVERIFIED", "PRELIMINARY", "COMPLETE"):
        yield "it is not unverified, preliminary and complete"
    if report.ContentTemplateSequence[0].TemplateIdentifier != "1500":
        yield "its template is not TID 1500"
    root = report.ContentSequence
    if _coded_values(root, "121005") != [("121007", "DCM")]:
        yield "the observer is not a device"
    observed = [_values(root, "121012", "UID"), _values(root, "121014", "TextValue"), _values(root, "121015", "TextValue")]
    model = inference.model
    if observed != [[device_uid(model)], [model.manufacturer], [model.name]]:
        yield "the device observer is not the model (IHE AIR 6.5.3.1)"
    if not _coded_values(root, "121058"):
        yield "no Procedure Reported"


def check_evidence(report: Dataset, segmentation: Dataset, inference: Inference) -> Iterator[str]:
    """Compare the evidence (PS3.3 C.17.2.3) with the source, the Segmentation and all that the content tree references."""
    evidence = {
        str(item.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        if study.StudyInstanceUID == report.StudyInstanceUID
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    known = {*inference.output.grid.sop_instance_uids, str(segmentation.SOPInstanceUID)}
    if evidence != known:
        yield "the evidence is not the source's instances and the segmentation"
    references = {str(reference.ReferencedSOPInstanceUID) for item in _walk(report) for reference in item.get("ReferencedSOPSequence", [])}
    if references - evidence:
        yield "the content references an instance that is not in the evidence"


def check_groups(report: Dataset, segmentation: Dataset, inference: Inference, job: Job) -> Iterator[str]:
    """Compare the measurement groups with the findings: for each that has voxels one with its segment, one with its outline."""
    labels = inference.masks.present()
    findings = {tracking_uid(job, f): f for f in inference.findings if f.label in labels}
    described: dict[str, list[str]] = {uid: [] for uid in findings}
    for group in (item for item in _walk(report) if _name(item) == "125007"):
        content = group.ContentSequence
        uids = _values(content, "112040", "UID")
        if len(uids) != 1 or uids[0] not in findings:
            yield "a measurement group has no tracking identifier of this job"
            continue
        finding = findings[uids[0]]
        described[uids[0]].append(str(group.ContentTemplateSequence[0].TemplateIdentifier))
        yield from (f"{finding.name}: {failure}" for failure in _check_meaning(content, finding, inference))
        if described[uids[0]][-1] == "1411":
            failures = _check_volume(content, segmentation, finding, inference)
        else:
            failures = _check_outline(content, segmentation, inference)
        yield from (f"{finding.name}: {failure}" for failure in failures)
    for uid, templates in described.items():
        if sorted(templates) != ["1410", "1411"]:
            yield f"{findings[uid].name}: not one group with its segment and one with its outline (without coordinates OHIF crashes)"


def _check_meaning(content: list[Dataset], finding: Finding, inference: Inference) -> Iterator[str]:
    if _values(content, "112039", "TextValue") != [finding.name]:
        yield "its Tracking Identifier is not the segment's"
    if _coded_values(content, "121071") != [(finding.type.value, finding.type.scheme)]:
        yield "its Finding is not the finding's type"
    sites = [item for item in content if _name(item) == "363698007"]
    sides = [side for site in sites for side in _coded_values(site.get("ContentSequence", []), "272741003")]
    if finding.laterality and sides not in ([], [(finding.laterality.value, finding.laterality.scheme)]):
        yield "its laterality is not the finding's"
    if finding.laterality is None and sides:
        yield "it has a laterality, the finding has none"
    if [_values(content, code, "TextValue") for code in ("111001", "111003")] != [[inference.model.name], [inference.model.version]]:
        yield "its algorithm is not the model"


def _check_volume(content: list[Dataset], segmentation: Dataset, finding: Finding, inference: Inference) -> Iterator[str]:
    """Compare a TID 1411 group with the segment that it references and with the pipeline's measurements."""
    references = [item.ReferencedSOPSequence[0] for item in content if _name(item) == "121191"]
    if len(references) != 1 or references[0].ReferencedSOPInstanceUID != segmentation.SOPInstanceUID:
        yield "it does not reference the segmentation of this job"
        return
    number = int(references[0].ReferencedSegmentNumber)
    tracking = [(s.TrackingUID, s.TrackingID) for s in segmentation.SegmentSequence if int(s.SegmentNumber) == number]
    if tracking != [(_values(content, "112040", "UID")[0], _values(content, "112039", "TextValue")[0])]:
        yield "its tracking identifier is not that of the segment it references (PS3.3 Table C.8.20-4)"
    if _values(content, "121232", "UID") != [inference.volume.series_instance_uid]:
        yield "its source series is not the segmentation's"
    numbers = [item for item in content if item.ValueType == "NUM"]
    if len(numbers) != len(finding.measurements):
        yield "it has not the finding's measurements"
        return
    for item, measured in zip(numbers, finding.measurements, strict=True):
        yield from _check_number(item, measured)
        if _name(item) == VOLUME and abs(_number(item) - _measure_segment(segmentation, number)) > ROUNDING:
            yield "its volume is not that of the segment's voxels"


def _check_number(item: Dataset, measured: Measurement) -> Iterator[str]:
    unit = item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]
    if (_name(item), unit.CodeValue) != (measured.name.value, measured.unit.value):
        yield f"a measurement is not {measured.name.meaning} in {measured.unit.value}"
    if abs(_number(item) - measured.value) > ROUNDING:
        yield f"{measured.name.meaning} is not the measured value"
    derivations = _coded_values(item.get("ContentSequence", []), "121401")
    if derivations != ([(measured.derivation.value, measured.derivation.scheme)] if measured.derivation else []):
        yield f"{measured.name.meaning} has another derivation"


def _measure_segment(segmentation: Dataset, number: int) -> float:
    """Measure one segment in millilitres: its stored voxels times the size that the same object states."""
    voxels = sum(
        int(unpack_frame(segmentation, frame.index).sum()) for frame in list_frames(segmentation) if frame.segment_number == number
    )
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    row_mm, column_mm = (float(value) for value in measures.PixelSpacing)
    return voxels * row_mm * column_mm * float(measures.SpacingBetweenSlices) / 1000.0


def _check_outline(content: list[Dataset], segmentation: Dataset, inference: Inference) -> Iterator[str]:
    """Compare a TID 1410 group with the stored segment: the outline must enclose its largest region in the slice it names."""
    regions = [item for item in content if item.ValueType == "SCOORD"]
    if len(regions) != 1 or regions[0].GraphicType != "POLYLINE":
        yield "it has not one outline"
        return
    source_uid = str(regions[0].ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
    uids = [str(s.TrackingUID) for s in segmentation.SegmentSequence]
    number = uids.index(_values(content, "112040", "UID")[0]) + 1
    planes = [f.index for f in list_frames(segmentation) if (f.segment_number, f.source_uid) == (number, source_uid)]
    if len(planes) != 1:
        yield "its outline lies on an instance where the segment is not"
        return
    mask = unpack_frame(segmentation, planes[0])
    points = np.asarray(regions[0].GraphicData, dtype=float).reshape(-1, 2)
    enclosed = rasterize(points, mask.shape)
    regions_of_mask, _ = ndimage.label(mask)
    largest = np.bincount(regions_of_mask[mask]).max()
    if not np.array_equal(points[0], points[-1]) or not _outlines(enclosed, mask, int(largest)):
        yield "its outline is not that of the segment"
    _, row_mm, column_mm = inference.output.grid.spacing_mm
    areas = [_number(item) for item in content if item.ValueType == "NUM" and _name(item) == "42798000"]
    if len(areas) != 1 or abs(areas[0] - float(enclosed.sum()) * row_mm * column_mm) > ROUNDING:
        yield "its area is not that of its outline"


def _outlines(enclosed: NDArray[np.bool_], mask: NDArray[np.bool_], largest: int) -> bool:
    """Tell whether ``enclosed`` is one region of ``mask`` with its holes filled, and none is larger."""
    inside = enclosed & mask
    border = enclosed & ~ndimage.binary_erosion(enclosed)
    parts, _ = ndimage.label(mask)
    main = np.bincount(parts[inside], minlength=1).max(initial=0)
    outside = mask & ~enclosed
    touching = ndimage.binary_dilation(enclosed) & outside
    return bool(main == largest and mask[border].all() and not touching.any())


def rasterize(points: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Fill a closed polygon of (column, row) points by the even-odd rule, at pixel centres: array of shape (row, column)."""
    rows, columns = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    filled = np.zeros(shape[:2], dtype=np.bool_)
    for (x0, y0), (x1, y1) in pairwise(points):
        crossed = np.flatnonzero((rows >= min(y0, y1)) & (rows < max(y0, y1)))
        if crossed.size:
            at = x0 + (rows[crossed] - y0) * (x1 - x0) / (y1 - y0)
            filled[crossed] ^= columns[None, :] >= at[:, None]
    return filled


def _walk(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        yield child
        yield from _walk(child)


def _name(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


def _values(content: list[Dataset], name: str, keyword: str) -> list[str]:
    return [str(item.get(keyword)) for item in content if _name(item) == name]


def _coded_values(content: list[Dataset], name: str) -> list[tuple[str, str]]:
    codes = [item.ConceptCodeSequence[0] for item in content if _name(item) == name]
    return [(str(code.CodeValue), str(code.CodingSchemeDesignator)) for code in codes]


def _number(item: Dataset) -> float:
    return float(item.MeasuredValueSequence[0].NumericValue)
