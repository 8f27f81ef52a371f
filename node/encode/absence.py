"""What a report says when a model ran and found nothing."""

from __future__ import annotations

from typing import Any

from highdicom import sr
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as CodedValue

from node.encode.groups import identify_algorithm, measure_all_images, state
from node.encode.making import ANATOMICAL_STRUCTURES, NOTHING, Making, coded
from pipelines.measure import describe, images_without
from pipelines.result import Finding

QUALITATIVE_EVALUATIONS = CodedValue("C0034375", "UMLS", "Qualitative Evaluations")
CONTAINS = sr.RelationshipTypeValues.CONTAINS
MODIFIES = sr.RelationshipTypeValues.HAS_CONCEPT_MOD


def count_nothing(making: Making) -> Any:
    """Write a measurement group about all images: on how many of them each label was looked for and not found.

    It has no Finding, lest somebody counts it as one. It is there for OHIF, which crashes on a report without coordinates, and shows
    the names and values of numbers only.
    """
    return measure_all_images(
        making,
        tracking_identifier=sr.TrackingIdentifier(uid=making.job.derive_uid("tracking", NOTHING), identifier=NOTHING),
        algorithm_id=identify_algorithm(making),
        measurements=[state(images_without(label, len(making.inference.volume.headers))) for label in making.pipeline.labels],
    )


def evaluate_absence(making: Making) -> sr.ContainerContentItem:
    """Say that the algorithm succeeded and has no finding (CID 6047), and of each label that it was looked for (TID 1500).

    An anatomical structure is not called absent: it may well lie outside of the images.
    """
    findings = [describe(label) for label in making.pipeline.labels]
    succeeded = codes.cid6047.AllAlgorithmsSucceededWithoutFindings
    container = sr.ContainerContentItem(QUALITATIVE_EVALUATIONS, relationship_type=CONTAINS)
    summary = sr.CodeContentItem(codes.DCM.CADProcessingAndFindingsSummary, succeeded, CONTAINS)
    words = f"Looked for and not found: {', '.join(finding.name for finding in findings)}."
    evaluations = [_evaluate(finding, succeeded) for finding in findings]
    container.ContentSequence = sr.ContentSequence([summary, *evaluations, sr.TextContentItem(codes.DCM.Comment, words, CONTAINS)])
    return container


def _evaluate(finding: Finding, succeeded: CodedValue) -> sr.CodeContentItem:
    anatomical = finding.category.value in ANATOMICAL_STRUCTURES
    item = sr.CodeContentItem(coded(finding.type), succeeded if anatomical else codes.cid241.Absent, CONTAINS)
    if finding.laterality is not None:
        item.ContentSequence = sr.ContentSequence([sr.CodeContentItem(codes.SCT.Laterality, coded(finding.laterality), MODIFIES)])
    return item
