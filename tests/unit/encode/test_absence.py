"""A model that ran and found nothing: the report says so, and there is no Segmentation."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.core.errors import EncodeError
from node.encode.content import codes_of, name_of, values_of, walk
from node.encode.gate import inspect
from node.encode.objects import encode
from pipelines.result import Channels, LabelMap
from tests.unit.encode.mutations import drop, mutate, put
from tests.unit.encode.sources import EQUIPMENT, PIPELINE, TUMOURS, with_output

WITHOUT = ("111241", "DCM")
ABSENT = ("272519000", "SCT")


@pytest.fixture(scope="module")
def nothing(case):
    """A case whose bundle looked for tumours and found none."""
    grid = case.inference.volume.grid
    return with_output(case, TUMOURS, Channels(array=np.zeros((2, *grid.shape), bool), labels=(0, 1), grid=grid))


@pytest.fixture(scope="module")
def encoded(nothing):
    """Its objects."""
    return encode(nothing.inference, nothing.job, EQUIPMENT, TUMOURS)


def groups_of(report):
    return [item.ContentSequence for item in walk(report) if name_of(item) == "125007"]


def test_nothing_found_is_a_report_and_no_segmentation(nothing, encoded):
    inspect(encoded, nothing.inference, nothing.job, TUMOURS)
    (report,) = encoded
    assert report.kind == "SR"
    first, second = groups_of(dcmread(BytesIO(report.content)))
    assert [values_of(group, "112039", "TextValue") for group in (first, second)] == [["Whole tumour"], ["Tumour core"]]
    assert codes_of(first, "111017") == codes_of(second, "111017") == [WITHOUT]
    assert codes_of(first, "108369006") == codes_of(second, "4147007") == [ABSENT]


@pytest.mark.parametrize("category", ["91723000", "123037004"])
def test_an_organ_that_was_not_found_is_not_called_absent(case, category):
    """It may lie outside of the images; a spleen is absent after surgery."""
    grid = case.inference.volume.grid
    of_category = {"category": PIPELINE.labels[0].category.model_copy(update={"value": category})}
    pipeline = PIPELINE.model_copy(update={"labels": tuple(label.model_copy(update=of_category) for label in PIPELINE.labels)})
    empty = with_output(case, pipeline, LabelMap(array=np.zeros(grid.shape, np.uint8), grid=grid))
    (report,) = encode(empty.inference, empty.job, EQUIPMENT, pipeline)
    inspect([report], empty.inference, empty.job, pipeline)
    (group,) = groups_of(dcmread(BytesIO(report.content)))
    assert codes_of(group, "111017") == [WITHOUT]
    assert ABSENT not in [code for item in group if item.ValueType == "CODE" for code in codes_of([item], name_of(item))]


def test_the_objects_of_a_result_do_not_pass_for_nothing_found(nothing, encoded, case, objects):
    with pytest.raises(EncodeError, match="not one SR in this order"):
        inspect(objects, nothing.inference, nothing.job, TUMOURS)
    with pytest.raises(EncodeError, match="not one SEG and one SR in this order"):
        inspect(encoded, case.inference, case.job, PIPELINE)


def test_a_label_that_must_be_there_is_never_reported_as_not_found(nothing, encoded):
    labels = (TUMOURS.labels[0].model_copy(update={"required": True}), TUMOURS.labels[1])
    with pytest.raises(EncodeError, match="Whole tumour must be there"):
        inspect(encoded, nothing.inference, nothing.job, TUMOURS.model_copy(update={"labels": labels}))


def in_group(code, change):
    return lambda report: change(next(item for item in groups_of(report)[0] if name_of(item) == code))


def drop_item(code):
    def change(report):
        container = next(item for item in walk(report) if name_of(item) == "125007")
        container.ContentSequence = [item for item in container.ContentSequence if name_of(item) != code]

    return change


def lose_group(report):
    next(item for item in walk(report) if name_of(item) == "126010").ContentSequence.pop()


def add_number(report):
    item = Dataset()
    item.ValueType, item.RelationshipType = "NUM", "CONTAINS"
    groups_of(report)[0].append(item)


VALUE = ("ConceptCodeSequence", 0)
MUTATIONS = {
    "nothing is said": (drop_item("111017"), "without findings"),
    "findings": (in_group("111017", put("CodeValue", "111242", *VALUE)), "without findings"),
    "present": (in_group("108369006", put("CodeValue", "52101004", *VALUE)), "does not say Absent"),
    "absence is not said": (drop_item("108369006"), "does not say Absent"),
    "absence of something else": (in_group("108369006", put("CodeValue", "4147007", "ConceptNameCodeSequence", 0)), "does not say Absent"),
    "another finding": (in_group("121071", put("CodeValue", "4147007", *VALUE)), "finding's type"),
    "another label": (in_group("112040", put("UID", "1.2.3")), "no tracking identifier"),
    "a label is not spoken of": (lose_group, "Tumour core: its groups are of TID none"),
    "a number": (add_number, "a number or a place"),
    "verified": (put("VerificationFlag", "VERIFIED"), "unverified"),
    "no evidence": (drop("CurrentRequestedProcedureEvidenceSequence"), "CurrentRequestedProcedureEvidenceSequence"),
    "other model files": (in_group("111002", put("TextValue", "model_sha256=00")), "digest"),
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
