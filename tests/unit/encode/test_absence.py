"""A model that ran and found nothing: the report says so, and there is no Segmentation."""

from copy import deepcopy
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread

from node.core.errors import EncodeError
from node.encode.content import codes_of, name_of, number_of, values_of, walk
from node.encode.gate import inspect
from node.encode.objects import encode
from pipelines.result import Boxes, Channels, LabelMap
from pipelines.spec import Concept
from tests.unit.encode.mutations import drop, mutate, put
from tests.unit.encode.sources import EQUIPMENT, NODULES, PIPELINE, TUMOURS, with_output

WITHOUT = ("111241", "DCM")
ABSENT = ("272519000", "SCT")
LEFT = Concept(value="7771000", scheme="SCT", meaning="Left")
RIGHT = Concept(value="24028007", scheme="SCT", meaning="Right")


@pytest.fixture(scope="module")
def nothing(case):
    """A case whose bundle looked for tumours and found none."""
    grid = case.inference.volume.grid
    return with_output(case, TUMOURS, Channels(array=np.zeros((2, *grid.shape), bool), labels=(0, 1), grid=grid))


@pytest.fixture(scope="module")
def encoded(nothing):
    """Its objects."""
    return encode(nothing.inference, nothing.job, EQUIPMENT, TUMOURS)


def evaluations_of(report):
    """The content of the container (C0034375, UMLS, "Qualitative Evaluations")."""
    return next(item for item in report.ContentSequence if name_of(item) == "C0034375").ContentSequence


def test_nothing_found_is_a_report_and_no_segmentation(nothing, encoded):
    inspect(encoded, nothing.inference, nothing.job, TUMOURS)
    (report,) = encoded
    assert report.kind == "SR"
    content = evaluations_of(dcmread(BytesIO(report.content)))
    assert codes_of(content, "111017") == [WITHOUT]
    assert codes_of(content, "108369006") == codes_of(content, "4147007") == [ABSENT]
    assert values_of(content, "121106", "TextValue") == ["Looked for and not found: Whole tumour, Tumour core."]


def test_a_report_of_nothing_says_so_of_all_images(nothing, encoded):
    """OHIF crashes on a report without coordinates, and shows names and values of numbers; a Finding would be taken for one."""
    report = dcmread(BytesIO(encoded[0].content))
    (group,) = [item.ContentSequence for item in walk(report) if name_of(item) == "125007"]
    numbers = [item for item in group if item.ValueType == "NUM"]
    assert [(item.ConceptNameCodeSequence[0].CodeMeaning, number_of(item)) for item in numbers] == [
        ("Images without: Whole tumour", 12.0),
        ("Images without: Tumour core", 12.0),
    ]
    assert sum(item.ValueType == "SCOORD" for item in group) == len(nothing.inference.volume.headers)
    assert codes_of(group, "121071") == []
    assert values_of(group, "111002", "TextValue") == [f"model_sha256={'ab' * 32}", "intended_use=Tests."]


@pytest.mark.parametrize("category", ["91723000", "123037004"])
def test_an_organ_that_was_not_found_is_not_called_absent(case, category):
    """It may lie outside of the images; a spleen is absent after surgery."""
    grid = case.inference.volume.grid
    of_category = {"category": PIPELINE.labels[0].category.model_copy(update={"value": category})}
    pipeline = PIPELINE.model_copy(update={"labels": tuple(label.model_copy(update=of_category) for label in PIPELINE.labels)})
    empty = with_output(case, pipeline, LabelMap(array=np.zeros(grid.shape, np.uint8), grid=grid))
    (report,) = encode(empty.inference, empty.job, EQUIPMENT, pipeline)
    inspect([report], empty.inference, empty.job, pipeline)
    content = evaluations_of(dcmread(BytesIO(report.content)))
    assert codes_of(content, "39607008") == [WITHOUT]
    assert ABSENT not in [code for item in content if item.ValueType == "CODE" for code in codes_of([item], name_of(item))]


def test_a_side_that_was_looked_for_is_named(case):
    grid = case.inference.volume.grid
    left = PIPELINE.model_copy(update={"labels": (PIPELINE.labels[0].model_copy(update={"laterality": LEFT}),)})
    empty = with_output(case, left, LabelMap(array=np.zeros(grid.shape, np.uint8), grid=grid))
    objects = encode(empty.inference, empty.job, EQUIPMENT, left)
    inspect(objects, empty.inference, empty.job, left)
    right = left.model_copy(update={"labels": (left.labels[0].model_copy(update={"laterality": RIGHT}),)})
    with pytest.raises(EncodeError, match="of each label"):
        inspect(objects, empty.inference, empty.job, right)


def test_a_detector_without_a_box_has_found_nothing(case):
    empty = with_output(case, NODULES, Boxes(boxes=(), grid=case.inference.volume.grid))
    objects = encode(empty.inference, empty.job, EQUIPMENT, NODULES)
    inspect(objects, empty.inference, empty.job, NODULES)
    assert codes_of(evaluations_of(dcmread(BytesIO(objects[0].content))), "427359005") == [ABSENT]


def test_the_objects_of_a_result_do_not_pass_for_nothing_found(nothing, encoded, case, objects):
    with pytest.raises(EncodeError, match="not one SR in this order"):
        inspect(objects, nothing.inference, nothing.job, TUMOURS)
    with pytest.raises(EncodeError, match="not one SEG and one SR in this order"):
        inspect(encoded, case.inference, case.job, PIPELINE)


def test_a_label_that_must_be_there_is_never_reported_as_not_found(nothing, encoded):
    labels = (TUMOURS.labels[0].model_copy(update={"required": True}), TUMOURS.labels[1])
    with pytest.raises(EncodeError, match="Whole tumour must be there"):
        inspect(encoded, nothing.inference, nothing.job, TUMOURS.model_copy(update={"labels": labels}))


def change_item(code, change):
    return lambda report: change(next(item for item in evaluations_of(report) if name_of(item) == code))


def drop_item(code):
    def change(report):
        container = next(item for item in report.ContentSequence if name_of(item) == "C0034375")
        container.ContentSequence = [item for item in container.ContentSequence if name_of(item) != code]

    return change


def drop_container(report):
    report.ContentSequence.pop()


def group_of(report):
    return next(item for item in walk(report) if name_of(item) == "125007")


def in_group(select, change):
    return lambda report: change(next(item for item in group_of(report).ContentSequence if select(item)))


def is_number(item):
    return item.ValueType == "NUM"


def is_named(code):
    return lambda item: name_of(item) == code


def add_finding(report):
    item = deepcopy(evaluations_of(report)[1])
    item.ConceptNameCodeSequence[0].CodeValue = "121071"
    group_of(report).ContentSequence.append(item)


def repeat_group(report):
    next(item for item in walk(report) if name_of(item) == "126010").ContentSequence.append(group_of(report))


VALUE = ("ConceptCodeSequence", 0)
MUTATIONS = {
    "nothing is said": (drop_container, "does not evaluate"),
    "no summary": (drop_item("111017"), "without findings"),
    "findings": (change_item("111017", put("CodeValue", "111242", *VALUE)), "without findings"),
    "present": (change_item("108369006", put("CodeValue", "52101004", *VALUE)), "of each label"),
    "a label is not spoken of": (drop_item("108369006"), "of each label"),
    "absence of something else": (change_item("108369006", put("CodeValue", "4147007", "ConceptNameCodeSequence", 0)), "of each label"),
    "other words": (change_item("121106", put("TextValue", "Nothing.")), "name what was looked for"),
    "not on all images": (in_group(is_number, put("NumericValue", "11", "MeasuredValueSequence", 0)), "less than all images"),
    "something else is counted": (in_group(is_number, put("CodeValue", "X", "ConceptNameCodeSequence", 0)), "not Images without"),
    "a finding": (add_finding, "has a finding"),
    "two groups": (repeat_group, "not one measurement group"),
    "a part of the images": (in_group(is_named("111030"), put("GraphicData", [0, 0, 9, 0, 9, 9, 0, 9, 0, 0])), "not the whole image"),
    "another job's group": (in_group(is_named("112040"), put("UID", "1.2.3")), "no tracking identifier"),
    "other group": (in_group(is_named("112039"), put("TextValue", "Tumour")), "does not say that nothing"),
    "verified": (put("VerificationFlag", "VERIFIED"), "unverified"),
    "no evidence": (drop("CurrentRequestedProcedureEvidenceSequence"), "CurrentRequestedProcedureEvidenceSequence"),
    "other algorithm": (in_group(is_named("111003"), put("TextValue", "2.0.0")), "its algorithm is not the model"),
    "other model files": (in_group(is_named("111002"), put("TextValue", "model_sha256=00")), "digest"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_report_is_caught(nothing, encoded, name):
    change, failure = MUTATIONS[name]
    with pytest.raises(EncodeError) as caught:
        inspect(mutate(encoded, "SR", change), nothing.inference, nothing.job, TUMOURS)
    assert failure in caught.value.sentence


def test_a_finding_without_a_voxel_counts_as_not_found(case, nothing, encoded):
    """What is measured nowhere is not there, whatever the findings say."""
    kept = replace(nothing.inference, findings=case.inference.findings)
    again = encode(kept, nothing.job, EQUIPMENT, TUMOURS)
    assert [made.content for made in again] == [made.content for made in encoded]
