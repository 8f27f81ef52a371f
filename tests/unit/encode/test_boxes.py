"""Boxes: a report alone, in which each is drawn where it is, whichever way the slices run."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread

from node.core.errors import EncodeError
from node.encode.box import cut_box
from node.encode.content import name_of, number_of, values_of, walk
from node.encode.gate import find_failures, inspect
from node.encode.objects import encode
from pipelines.result import Box, Boxes
from tests.unit.encode.mutations import mutate, put
from tests.unit.encode.sources import EQUIPMENT, NODULES, ORIENTATIONS, make_boxes, make_case, to_patient, with_output


@pytest.fixture(scope="module")
def nodules(case):
    """A case whose bundle gave boxes."""
    return with_output(case, NODULES, make_boxes(case))


@pytest.fixture(scope="module")
def encoded(nodules):
    """Its objects."""
    return encode(nodules.inference, nodules.job, EQUIPMENT, NODULES)


def groups_of(report):
    return [item.ContentSequence for item in walk(report) if name_of(item) == "125007"]


def item_of(report, code, group=0):
    return next(item for item in groups_of(report)[group] if name_of(item) == code)


def test_boxes_are_a_report_alone(nodules, encoded):
    inspect(encoded, nodules.inference, nodules.job, NODULES)
    (report,) = encoded
    groups = groups_of(dcmread(BytesIO(report.content)))
    assert [values_of(group, "112039", "TextValue") for group in groups] == [["Lung nodule 1"], ["Lung nodule 2"]]
    numbers = {name_of(item): number_of(item) for item in groups[0] if item.ValueType == "NUM"}
    assert numbers == {"81827009": 7.5, "BOX_LR": 6.0, "BOX_AP": 7.5, "BOX_HF": 4.25, "MODEL_SCORE": 0.9}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_boxes_pass_the_gate_in_every_orientation(orientation):
    case = make_case(orientation)
    case = with_output(case, NODULES, make_boxes(case))
    inspect(encode(case.inference, case.job, EQUIPMENT, NODULES), case.inference, case.job, NODULES)


def test_the_outline_of_a_box_is_where_arithmetic_by_hand_puts_it(encoded):
    """Centre at slice 4.3, row 20.2, column 11.7 of 2.5 x 0.9 x 0.8 mm; 6 mm wide, 7.5 mm high."""
    region = item_of(dcmread(BytesIO(encoded[0].content)), "111030")
    points = np.asarray(region.GraphicData).reshape(-1, 2)
    assert points.min(axis=0) == pytest.approx((11.7 + 0.5 - 3.75, 20.2 + 0.5 - 7.5 / 1.8), abs=1e-4)
    assert points.max(axis=0) == pytest.approx((11.7 + 0.5 + 3.75, 20.2 + 0.5 + 7.5 / 1.8), abs=1e-4)
    assert len(points) == 5


def test_a_box_over_the_border_is_cut_there(encoded):
    region = item_of(dcmread(BytesIO(encoded[0].content)), "111030", group=1)
    points = np.asarray(region.GraphicData).reshape(-1, 2)
    assert points[:, 1].min() == 0.0
    assert (points >= 0).all()
    assert (points <= (37, 44)).all()


def test_a_box_that_is_thinner_than_a_slice_lies_on_the_nearest_one(case):
    grid = case.inference.volume.grid
    thin = Box(label=0, score=1.0, center_mm=to_patient(grid, (6.45, 20.0, 20.0)), size_mm=(4.0, 4.0, 0.1))
    found = with_output(case, NODULES, Boxes(boxes=(thin,), grid=grid))
    assert cut_box(thin, found.inference).index == 6
    inspect(encode(found.inference, found.job, EQUIPMENT, NODULES), found.inference, found.job, NODULES)


def test_a_box_beside_the_images_is_refused(case):
    grid = case.inference.volume.grid
    beside = Box(label=0, score=1.0, center_mm=to_patient(grid, (6.0, 80.0, 20.0)), size_mm=(4.0, 4.0, 4.0))
    found = with_output(case, NODULES, Boxes(boxes=(beside,), grid=grid))
    with pytest.raises(EncodeError, match="no section"):
        encode(found.inference, found.job, EQUIPMENT, NODULES)


def region_points(change):
    """Make a change to the points of the first outline."""

    def changed(report):
        region = item_of(report, "111030")
        points = np.asarray(region.GraphicData, dtype=np.float32).reshape(-1, 2)
        region.GraphicData = change(points).ravel().tolist()

    return changed


def lose_group(report):
    next(item for item in walk(report) if name_of(item) == "126010").ContentSequence.pop()


def name_slice(index):
    def change(report):
        reference = item_of(report, "111030").ContentSequence[0].ReferencedSOPSequence[0]
        evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
        reference.ReferencedSOPInstanceUID = evidence[index].ReferencedSOPInstanceUID

    return change


def number(code, value):
    return lambda report: put("NumericValue", value, "MeasuredValueSequence", 0)(item_of(report, code))


MUTATIONS = {
    "shifted by half a pixel": (region_points(lambda points: points + 0.5), "outline is not that of the box"),
    "too large": (region_points(lambda p: (p - p[:-1].mean(axis=0)) * 1.02 + p[:-1].mean(axis=0)), "outline is not"),
    "too small": (region_points(lambda p: (p - p[:-1].mean(axis=0)) * 0.98 + p[:-1].mean(axis=0)), "outline is not"),
    "left open": (region_points(lambda points: points[:-1]), "outline is not"),
    "a corner cut": (region_points(lambda points: np.concatenate([points[1:4], points[1:2]])), "outline is not"),
    "a side only": (region_points(lambda points: points[[0, 1, 0, 1, 0]]), "outline is not"),
    "crossed": (region_points(lambda points: points[[0, 2, 1, 3, 0]]), "outline is not"),
    "rows and columns exchanged": (region_points(lambda points: points[:, ::-1]), "outline is not"),
    "on the next slice": (name_slice(5), "not on the slice nearest"),
    "on no slice": (
        lambda r: put("ReferencedSOPInstanceUID", "1.2.3", "ContentSequence", 0, "ReferencedSOPSequence", 0)(item_of(r, "111030")),
        "lies on no source image",
    ),
    "in a frame that is none": (
        lambda r: put("ReferencedFrameNumber", 2, "ContentSequence", 0, "ReferencedSOPSequence", 0)(item_of(r, "111030")),
        "lies on no source image",
    ),
    "another score": (number("MODEL_SCORE", "0.31"), "its score"),
    "another diameter": (number("81827009", "7.6"), "Diameter is not the measured value"),
    "another size": (number("BOX_HF", "4.35"), "not the sizes of the box"),
    "another box's name": (lambda r: put("TextValue", "Lung nodule 2")(item_of(r, "112039")), "Tracking Identifier"),
    "a box is lost": (lose_group, "Lung nodule 2: its groups are of TID none"),
    "verified": (put("VerificationFlag", "VERIFIED"), "unverified"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_report_is_caught(nodules, encoded, name):
    change, failure = MUTATIONS[name]
    with pytest.raises(EncodeError) as caught:
        inspect(mutate(encoded, "SR", change), nodules.inference, nodules.job, NODULES)
    assert failure in caught.value.sentence


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_boxes_on_the_wrong_side_are_caught(nodules, axis):
    """Objects that are consistent in themselves, of boxes that are mirrored: only the model's own boxes can tell."""
    grid = nodules.inference.volume.grid
    middle = np.asarray(to_patient(grid, (5.5, 21.5, 18.0)))

    def mirrored(box):
        center = np.asarray(box.center_mm)
        center[axis] = 2 * middle[axis] - center[axis]
        return replace(box, center_mm=tuple(center.tolist()))

    output = nodules.inference.output
    wrong = with_output(nodules, NODULES, Boxes(boxes=tuple(map(mirrored, output.boxes)), grid=grid))
    objects = encode(wrong.inference, wrong.job, EQUIPMENT, NODULES)
    assert list(find_failures(objects, wrong.inference, wrong.job, NODULES)) == []
    assert list(find_failures(objects, replace(wrong.inference, output=output), wrong.job, NODULES))
    assert list(find_failures(objects, nodules.inference, nodules.job, NODULES))


def test_a_box_that_was_left_out_is_caught(nodules):
    fewer = replace(nodules.inference, findings=nodules.inference.findings[:1])
    with pytest.raises(EncodeError, match="not those that the model gave"):
        inspect(encode(fewer, nodules.job, EQUIPMENT, NODULES), fewer, nodules.job, NODULES)


def test_boxes_that_were_all_left_out_are_not_reported_as_absent(nodules):
    none = replace(nodules.inference, findings=())
    with pytest.raises(EncodeError, match="not those that the model gave"):
        inspect(encode(none, nodules.job, EQUIPMENT, NODULES), none, nodules.job, NODULES)
