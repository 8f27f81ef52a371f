"""What must be true of a stored report: unverified, complete in its evidence, and in step with the findings and the Segmentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from node.core.job import Job
from node.encode.content import codes_of, name_of, number_of, values_of, walk
from node.encode.frames import list_frames, unpack_frame
from node.encode.gate_absence import QUALITATIVE_EVALUATIONS, check_absence, check_algorithm
from node.encode.gate_box import check_box, check_reported
from node.encode.gate_identity import list_instances
from node.encode.gate_numbers import ROUNDING, check_numbers
from node.encode.gate_outline import check_outline
from node.encode.gate_score import check_score
from node.encode.making import device_uid, tracking_uid
from pipelines.result import Boxes, Channels, Finding, Inference, LabelMap, Scores
from pipelines.spec import Pipeline

VOLUME = "118565006"  # SCT


@dataclass(frozen=True, slots=True)
class Question:
    """What a report has to answer for."""

    inference: Inference
    job: Job
    pipeline: Pipeline

    def found(self) -> list[Finding]:
        """List the findings that the report must describe, each under its own tracking identifier."""
        output, findings = self.inference.output, self.inference.findings
        if isinstance(output, LabelMap | Channels):
            labels = output.present()
            return [finding for finding in findings if finding.label in labels]
        return list(findings)

    def expected(self) -> dict[str, tuple[Finding, list[str]]]:
        """Map each tracking UID to its finding and to the templates of its measurement groups."""
        templates = ["1410", "1411"]
        if isinstance(self.inference.output, Boxes):
            templates = ["1410"]
        elif isinstance(self.inference.output, Scores):
            templates = ["1410" if len(self.inference.volume.headers) == 1 else "1411"]
        return {tracking_uid(self.job, finding): (finding, templates) for finding in self.found()}


def check_document(report: Dataset, inference: Inference) -> Iterator[str]:
    """Look at the document's flags, its template and its observer (PS3.3 C.17.2, TID 1500, TID 1004)."""
    flags = (report.VerificationFlag, report.PreliminaryFlag, report.CompletionFlag)
    if flags != ("UNVERIFIED", "PRELIMINARY", "COMPLETE"):
        yield "it is not unverified, preliminary and complete"
    if report.ContentTemplateSequence[0].TemplateIdentifier != "1500":
        yield "its template is not TID 1500"
    root = report.ContentSequence
    if codes_of(root, "121005") != [("121007", "DCM")]:
        yield "the observer is not a device"
    observed = [values_of(root, "121012", "UID"), values_of(root, "121014", "TextValue"), values_of(root, "121015", "TextValue")]
    model = inference.model
    if observed != [[device_uid(model)], [model.manufacturer], [model.name]]:
        yield "the device observer is not the model (IHE AIR 6.5.3.1)"
    if not codes_of(root, "121058"):
        yield "no Procedure Reported"


def check_evidence(report: Dataset, segmentation: Dataset | None, inference: Inference) -> Iterator[str]:
    """Compare the evidence (PS3.3 C.17.2.3) with the source, the Segmentation and all that the content tree references."""
    evidence = {
        str(item.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        if study.StudyInstanceUID == report.StudyInstanceUID
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    known = list_instances(inference) | ({str(segmentation.SOPInstanceUID)} if segmentation is not None else set())
    if evidence != known:
        yield "the evidence is not the source's instances and the segmentation"
    references = {str(reference.ReferencedSOPInstanceUID) for item in walk(report) for reference in item.get("ReferencedSOPSequence", [])}
    if references - evidence:
        yield "the content references an instance that is not in the evidence"


def check_groups(report: Dataset, segmentation: Dataset | None, question: Question) -> Iterator[str]:
    """Compare the measurement groups with the findings: each has the groups of its kind, and no group is about anything else.

    What has voxels has one group with its segment and one with its outline; a box has one with its section; a score has one.
    Where nothing was found, there is one group that says so, and no other.
    """
    inference, expected = question.inference, question.expected()
    if isinstance(inference.output, Boxes):
        yield from check_reported(inference.findings, inference.output, question.pipeline.outputs.min_score)
    if not expected:
        yield from check_absence(report, inference, question.job, question.pipeline)
        return
    described: dict[str, list[str]] = {uid: [] for uid in expected}
    for group in (item for item in walk(report) if name_of(item) == "125007"):
        content = group.ContentSequence
        uids = values_of(content, "112040", "UID")
        if len(uids) != 1 or uids[0] not in expected:
            yield "a measurement group has no tracking identifier of this job"
            continue
        finding, _ = expected[uids[0]]
        described[uids[0]].append(str(group.ContentTemplateSequence[0].TemplateIdentifier))
        failures = [*_check_meaning(content, finding, question), *_check_group(group, finding, segmentation, inference)]
        yield from (f"{finding.name}: {failure}" for failure in failures)
    for uid, templates in described.items():
        finding, meant = expected[uid]
        if sorted(templates) != meant:
            yield f"{finding.name}: its groups are of TID {', '.join(templates) or 'none'} and not of {', '.join(meant)}"
    if any(name_of(item) == QUALITATIVE_EVALUATIONS for item in report.ContentSequence):
        yield "it says that nothing was found"


def _check_group(group: Dataset, finding: Finding, segmentation: Dataset | None, inference: Inference) -> Iterator[str]:
    content, output = group.ContentSequence, inference.output
    if isinstance(output, Boxes):
        yield from check_box(content, finding, inference)
    elif isinstance(output, Scores):
        yield from check_score(content, finding, inference, output)
    elif segmentation is not None and group.ContentTemplateSequence[0].TemplateIdentifier == "1411":
        yield from _check_volume(content, segmentation, finding, inference)
    elif segmentation is not None:
        yield from check_outline(content, segmentation, inference)


def _check_meaning(content: list[Dataset], finding: Finding, question: Question) -> Iterator[str]:
    if values_of(content, "112039", "TextValue") != [finding.name]:
        yield "its Tracking Identifier is not the finding's name"
    if codes_of(content, "121071") != [(finding.type.value, finding.type.scheme)]:
        yield "its Finding is not the finding's type"
    sites = [item for item in content if name_of(item) == "363698007"]
    sides = [side for site in sites for side in codes_of(site.get("ContentSequence", []), "272741003")]
    if finding.laterality and sides not in ([], [(finding.laterality.value, finding.laterality.scheme)]):
        yield "its laterality is not the finding's"
    if finding.laterality is None and sides:
        yield "it has a laterality, the finding has none"
    yield from check_algorithm(content, question.inference.model, question.pipeline)


def _check_volume(content: list[Dataset], segmentation: Dataset, finding: Finding, inference: Inference) -> Iterator[str]:
    """Compare a TID 1411 group with the segment that it references and with the pipeline's measurements."""
    references = [item.ReferencedSOPSequence[0] for item in content if name_of(item) == "121191"]
    if len(references) != 1 or references[0].ReferencedSOPInstanceUID != segmentation.SOPInstanceUID:
        yield "it does not reference the segmentation of this job"
        return
    number = int(references[0].ReferencedSegmentNumber)
    tracking = [(s.TrackingUID, s.TrackingID) for s in segmentation.SegmentSequence if int(s.SegmentNumber) == number]
    if tracking != [(values_of(content, "112040", "UID")[0], values_of(content, "112039", "TextValue")[0])]:
        yield "its tracking identifier is not that of the segment it references (PS3.3 Table C.8.20-4)"
    if values_of(content, "121232", "UID") != [inference.volume.series_instance_uid]:
        yield "its source series is not the segmentation's"
    yield from check_numbers(content, finding.measurements)
    for item in content:
        if name_of(item) == VOLUME and abs(number_of(item) - _measure_segment(segmentation, number)) > ROUNDING:
            yield "its volume is not that of the segment's voxels"


def _measure_segment(segmentation: Dataset, number: int) -> float:
    """Measure one segment in millilitres: its stored voxels times the size that the same object states."""
    voxels = sum(
        int(unpack_frame(segmentation, frame.index).sum()) for frame in list_frames(segmentation) if frame.segment_number == number
    )
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    row_mm, column_mm = (float(value) for value in measures.PixelSpacing)
    return voxels * row_mm * column_mm * float(measures.SpacingBetweenSlices) / 1000.0
