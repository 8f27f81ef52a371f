"""What must be true of a report that says that nothing was found: it says so of every label, and has nothing else to say."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from node.core.job import Job
from node.encode.content import codes_of, name_of, number_of, values_of, walk
from node.encode.gate_numbers import check_numbers
from node.encode.gate_score import check_regions
from node.encode.making import ANATOMICAL_STRUCTURES, NOTHING, algorithm_parameters
from pipelines.measure import describe, images_without
from pipelines.result import Finding, Inference, Model
from pipelines.spec import Pipeline

QUALITATIVE_EVALUATIONS = "C0034375"  # UMLS
#: (111017, DCM, "CAD Processing and Findings Summary") and (111241, DCM, "All algorithms succeeded; without findings"), CID 6047.
SUMMARY, WITHOUT_FINDINGS = "111017", ("111241", "DCM")
ABSENT = ("272519000", "SCT")  # CID 241


def check_absence(report: Dataset, inference: Inference, job: Job, pipeline: Pipeline) -> Iterator[str]:
    """Look for the statement that nothing was found, label by label, and for anything that would say otherwise."""
    yield from (f"{label.name} must be there, and nothing was found" for label in pipeline.labels if label.required)
    groups = [item.ContentSequence for item in walk(report) if name_of(item) == "125007"]
    if len(groups) != 1:
        yield "it has not one measurement group, which says that nothing was found"
    for group in groups:
        yield from _check_count(group, inference, job, pipeline)
    containers = [item for item in report.ContentSequence if name_of(item) == QUALITATIVE_EVALUATIONS]
    if len(containers) != 1:
        yield "it does not evaluate what was looked for"
        return
    content = list(containers[0].ContentSequence)
    if codes_of(content, SUMMARY) != [WITHOUT_FINDINGS]:
        yield "it does not say that the algorithm succeeded without findings"
    findings = [describe(label) for label in pipeline.labels]
    stated = sorted(_evaluated(item) for item in content if item.ValueType == "CODE" and name_of(item) != SUMMARY)
    if stated != sorted(map(_meant, findings)):
        yield "it does not say of each label that it was looked for and not found"
    if values_of(content, "121106", "TextValue") != [f"Looked for and not found: {', '.join(finding.name for finding in findings)}."]:
        yield "it does not name what was looked for"


def _check_count(content: list[Dataset], inference: Inference, job: Job, pipeline: Pipeline) -> Iterator[str]:
    if values_of(content, "112040", "UID") != [job.derive_uid("tracking", NOTHING)]:
        yield "its group has no tracking identifier of this job"
    if values_of(content, "112039", "TextValue") != [NOTHING]:
        yield "its group does not say that nothing was found"
    if codes_of(content, "121071"):
        yield "its group has a finding"
    images = len(inference.volume.headers)
    yield from check_numbers(content, [images_without(label, images) for label in pipeline.labels])
    if any(number_of(item) != images for item in content if item.ValueType == "NUM"):
        yield "something was looked for on less than all images"
    yield from check_regions(content, inference)
    yield from check_algorithm(content, inference.model, pipeline)


def check_algorithm(content: list[Dataset], model: Model, pipeline: Pipeline) -> Iterator[str]:
    """Compare the algorithm of a group (TID 4019) with the model and the pipeline."""
    if [values_of(content, code, "TextValue") for code in ("111001", "111003")] != [[model.name], [model.version]]:
        yield "its algorithm is not the model"
    if values_of(content, "111002", "TextValue") != algorithm_parameters(model, pipeline):
        yield "its algorithm's parameters are not the model's digest and the pipeline's intended use"


Evaluation = tuple[tuple[str, str], tuple[str, str], list[tuple[str, str]]]


def _evaluated(item: Dataset) -> Evaluation:
    name = item.ConceptNameCodeSequence[0]
    (value,) = codes_of([item], name_of(item))
    return (str(name.CodeValue), str(name.CodingSchemeDesignator)), value, codes_of(item.get("ContentSequence", []), "272741003")


def _meant(finding: Finding) -> Evaluation:
    sides = [(finding.laterality.value, finding.laterality.scheme)] if finding.laterality else []
    value = WITHOUT_FINDINGS if finding.category.value in ANATOMICAL_STRUCTURES else ABSENT
    return (finding.type.value, finding.type.scheme), value, sides
