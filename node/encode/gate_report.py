"""What must be true of a stored report: unverified, complete in its evidence, and in step with the findings and the Segmentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from node.core.job import Job
from node.encode.content import codes_of, name_of, number_of, values_of, walk
from node.encode.frames import list_frames, unpack_frame
from node.encode.gate_outline import ROUNDING, check_outline
from node.encode.making import algorithm_parameters, device_uid, tracking_uid
from pipelines.measure import describe
from pipelines.result import Channels, Finding, Inference, LabelMap, Measurement
from pipelines.spec import Pipeline

VOLUME = "118565006"  # SCT

#: (111017, DCM, "CAD Processing and Findings Summary") = (111241, DCM, "All algorithms succeeded; without findings"), CID 6047.
WITHOUT_FINDINGS = ("111017", ("111241", "DCM"))
ABSENT = ("272519000", "SCT")  # CID 241
ANATOMICAL_STRUCTURES = frozenset({"91723000", "123037004"})  # SCT


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
        found = self.found()
        templates = ["1410", "1411"] if found else ["1501"]
        sought = found or [describe(label) for label in self.pipeline.labels]
        return {tracking_uid(self.job, finding): (finding, templates) for finding in sought}


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
    known = set(inference.output.grid.sop_instance_uids) | ({str(segmentation.SOPInstanceUID)} if segmentation is not None else set())
    if evidence != known:
        yield "the evidence is not the source's instances and the segmentation"
    references = {str(reference.ReferencedSOPInstanceUID) for item in walk(report) for reference in item.get("ReferencedSOPSequence", [])}
    if references - evidence:
        yield "the content references an instance that is not in the evidence"


def check_groups(report: Dataset, segmentation: Dataset | None, question: Question) -> Iterator[str]:
    """Compare the measurement groups with the findings: each has the groups of its kind, and no group is about anything else.

    What has voxels has one group with its segment and one with its outline; where nothing was found, each label that the
    pipeline declares has one that says so.
    """
    expected = question.expected()
    described: dict[str, list[str]] = {uid: [] for uid in expected}
    for group in (item for item in walk(report) if name_of(item) == "125007"):
        content = group.ContentSequence
        uids = values_of(content, "112040", "UID")
        if len(uids) != 1 or uids[0] not in expected:
            yield "a measurement group has no tracking identifier of this job"
            continue
        finding, _ = expected[uids[0]]
        template = str(group.ContentTemplateSequence[0].TemplateIdentifier)
        described[uids[0]].append(template)
        yield from (f"{finding.name}: {failure}" for failure in _check_meaning(content, finding, question))
        if segmentation is None:
            failures = _check_absence(content, finding)
        elif template == "1411":
            failures = _check_volume(content, segmentation, finding, question.inference)
        else:
            failures = check_outline(content, segmentation, question.inference)
        yield from (f"{finding.name}: {failure}" for failure in failures)
    for uid, templates in described.items():
        finding, meant = expected[uid]
        if sorted(templates) != meant:
            yield f"{finding.name}: its groups are of TID {', '.join(templates) or 'none'} and not of {', '.join(meant)}"
    missing = [label.name for label in question.pipeline.labels if label.required] if segmentation is None else []
    yield from (f"{name} must be there, and nothing was found" for name in missing)


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
    model = question.inference.model
    if [values_of(content, code, "TextValue") for code in ("111001", "111003")] != [[model.name], [model.version]]:
        yield "its algorithm is not the model"
    if values_of(content, "111002", "TextValue") != algorithm_parameters(model, question.pipeline):
        yield "its algorithm's parameters are not the model's digest and the pipeline's intended use"


def _check_absence(content: list[Dataset], finding: Finding) -> Iterator[str]:
    """Look for the statement that nothing was found, and for anything that would say otherwise (CID 6047, CID 241)."""
    name, value = WITHOUT_FINDINGS
    if codes_of(content, name) != [value]:
        yield "it does not say that the algorithm succeeded without findings"
    anatomical = finding.category.value in ANATOMICAL_STRUCTURES
    if codes_of(content, finding.type.value) != ([] if anatomical else [ABSENT]):
        yield "it calls an anatomical structure absent or present" if anatomical else "it does not say Absent"
    if any(item.ValueType in {"NUM", "IMAGE", "SCOORD", "SCOORD3D"} for item in content):
        yield "it has a number or a place, and nothing was found"


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
    numbers = [item for item in content if item.ValueType == "NUM"]
    if len(numbers) != len(finding.measurements):
        yield "it has not the finding's measurements"
        return
    for item, measured in zip(numbers, finding.measurements, strict=True):
        yield from _check_number(item, measured)
        if name_of(item) == VOLUME and abs(number_of(item) - _measure_segment(segmentation, number)) > ROUNDING:
            yield "its volume is not that of the segment's voxels"


def _check_number(item: Dataset, measured: Measurement) -> Iterator[str]:
    unit = item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]
    if (name_of(item), unit.CodeValue) != (measured.name.value, measured.unit.value):
        yield f"a measurement is not {measured.name.meaning} in {measured.unit.value}"
    if abs(number_of(item) - measured.value) > ROUNDING:
        yield f"{measured.name.meaning} is not the measured value"
    derivations = codes_of(item.get("ContentSequence", []), "121401")
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
