"""Scores: a report alone, about the whole of every image."""

from io import BytesIO

import pytest
from pydicom import dcmread

from node.core.errors import EncodeError
from node.encode.content import name_of, number_of, values_of, walk
from node.encode.gate import inspect
from node.encode.objects import encode
from tests.unit.encode.mutations import mutate, put
from tests.unit.encode.sources import EQUIPMENT, FINDINGS, make_radiograph, make_scores, with_output


@pytest.fixture(scope="module", params=["volume", "radiograph"])
def scored(request, case):
    """A case whose bundle gave scores, on a volume and on an image without a Frame of Reference."""
    return with_output(case, FINDINGS, make_scores(case)) if request.param == "volume" else make_radiograph()


@pytest.fixture(scope="module")
def encoded(scored):
    """Its objects."""
    return encode(scored.inference, scored.job, EQUIPMENT, FINDINGS)


def groups_of(report):
    return [item.ContentSequence for item in walk(report) if name_of(item) == "125007"]


def test_scores_are_a_report_alone_that_names_each_finding(scored, encoded):
    inspect(encoded, scored.inference, scored.job, FINDINGS)
    (report,) = encoded
    groups = groups_of(dcmread(BytesIO(report.content)))
    assert [values_of(group, "112039", "TextValue") for group in groups] == [["Lung nodule"], ["Pleural effusion"]]
    numbers = [item for group in groups for item in group if item.ValueType == "NUM"]
    assert [(item.ConceptNameCodeSequence[0].CodeMeaning, number_of(item)) for item in numbers] == [
        ("Score of the model: Lung nodule", 0.875),
        ("Score of the model: Pleural effusion", 0.125),
    ]


def test_a_score_is_about_every_image(scored, encoded):
    report = dcmread(BytesIO(encoded[0].content))
    assert "FrameOfReferenceUID" not in report
    for group in groups_of(report):
        regions = [item for item in group if item.ValueType == "SCOORD"]
        named = [region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID for region in regions]
        assert sorted(named) == sorted(scored.inference.volume.grid.sop_instance_uids)
        assert all(list(region.GraphicData) == [0, 0, 37, 0, 37, 44, 0, 44, 0, 0] for region in regions)


def first_number(report):
    return next(item for item in groups_of(report)[0] if item.ValueType == "NUM")


def first_region(report):
    return next(item for item in groups_of(report)[0] if item.ValueType == "SCOORD")


def exchange_scores(report):
    first, second = (next(item for item in group if item.ValueType == "NUM") for group in groups_of(report))
    first.MeasuredValueSequence, second.MeasuredValueSequence = second.MeasuredValueSequence, first.MeasuredValueSequence


def lose_region(report):
    group = next(item for item in walk(report) if name_of(item) == "125007")
    group.ContentSequence = [item for item in group.ContentSequence if item is not first_region(report)]


MUTATIONS = {
    "another score": (lambda r: put("NumericValue", "0.9", "MeasuredValueSequence", 0)(first_number(r)), "not the score"),
    "scores exchanged": (exchange_scores, "not the score"),
    "the score of something else": (
        lambda r: put("CodeValue", "MODEL_SCORE", "ConceptNameCodeSequence", 0)(first_number(r)),
        "is not Score",
    ),
    "in percent": (
        lambda r: put("CodeValue", "%", "MeasuredValueSequence", 0, "MeasurementUnitsCodeSequence", 0)(first_number(r)),
        "in {score}",
    ),
    "a part of the image": (lambda r: put("GraphicData", [0, 0, 30, 0, 30, 44, 0, 44, 0, 0])(first_region(r)), "not the whole image"),
    "an image less": (lose_region, "not on every source image"),
    "verified": (put("VerificationFlag", "VERIFIED"), "unverified"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_report_is_caught(scored, encoded, name):
    change, failure = MUTATIONS[name]
    with pytest.raises(EncodeError) as caught:
        inspect(mutate(encoded, "SR", change), scored.inference, scored.job, FINDINGS)
    assert failure in caught.value.sentence
