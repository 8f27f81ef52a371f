"""What must be true of a box in a stored report: its outline is the border of its section, its numbers are its sizes and its score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from node.encode.content import name_of, number_of
from node.encode.gate_numbers import ROUNDING, check_numbers
from node.encode.place import list_places, place_of
from pipelines.result import Box, Boxes, Finding, Inference

#: Millimetres by which an outline may miss the side of its box: what is lost in single precision.
TOLERANCE_MM = 0.01
#: Pixels within which a point lies on the border of the image.
TOLERANCE_PX = 1e-3

SIDES = ("BOX_LR", "BOX_AP", "BOX_HF")  # 99RADNODE
SCORE = "MODEL_SCORE"  # 99RADNODE
DIAMETER = "81827009"  # SCT


def check_reported(findings: Sequence[Finding], output: Boxes, min_score: float) -> Iterator[str]:
    """Compare the boxes that are reported with those that the model gave and that score enough."""
    if Counter(finding.box for finding in findings) != Counter(box for box in output.boxes if box.score >= min_score):
        yield "the boxes that are reported are not those that the model gave"


def check_box(content: Sequence[Dataset], finding: Finding, inference: Inference) -> Iterator[str]:
    """Compare a TID 1410 group with the box that it is about."""
    box = finding.box
    regions = [item for item in content if item.ValueType == "SCOORD"]
    if box is None or len(regions) != 1 or regions[0].GraphicType != "POLYLINE":
        yield "it has not one outline of a box"
        return
    yield from check_numbers(content, finding.measurements)
    meant = {**dict(zip(SIDES, box.size_mm, strict=True)), DIAMETER: max(box.size_mm), SCORE: box.score}
    stated = {name_of(item): number_of(item) for item in content if item.ValueType == "NUM"}
    if SCORE not in stated or any(abs(value - meant[name]) > ROUNDING for name, value in stated.items()):
        yield "its numbers are not the sizes of the box and its score"
    place = place_of(regions[0].ContentSequence[0].ReferencedSOPSequence[0])
    places = list_places(inference.output.grid)
    if place not in places:
        yield "its outline lies on no source image"
        return
    header = inference.volume.headers[places.index(place)]
    away = [abs(_away(other, box)) for other in inference.volume.headers]
    if abs(_away(header, box)) > min(away) + TOLERANCE_MM:
        yield "its outline is not on the slice nearest to its centre"
    points = np.asarray(regions[0].GraphicData, dtype=float).reshape(-1, 2)
    if not _is_border(points, header, box):
        yield "its outline is not that of the box"


def _normal(header: Dataset) -> NDArray[np.float64]:
    along_row, along_column = np.asarray(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
    return np.asarray(np.cross(along_row, along_column))


def _away(header: Dataset, box: Box) -> float:
    return float(_normal(header) @ (np.asarray(box.center_mm) - np.asarray(header.ImagePositionPatient, dtype=float)))


def _is_border(points: NDArray[np.float64], header: Dataset, box: Box) -> bool:
    """Tell whether a closed polygon goes once around a box's section, each of its lines on a side of the box or on the image's border.

    The section is convex, so its lines lie on its border exactly if their ends and their middles do.
    """
    if len(points) < 4 or not np.array_equal(points[0], points[-1]):
        return False
    tested = np.concatenate([points, (points[:-1] + points[1:]) / 2.0])
    beyond = _beyond(tested, header, box)
    size = np.asarray([float(header.Columns), float(header.Rows)])
    inside_image = np.minimum(tested, size - tested).min(axis=1)
    if (beyond > TOLERANCE_MM).any() or (inside_image < -TOLERANCE_PX).any():
        return False
    if not ((np.abs(beyond) <= TOLERANCE_MM) | (inside_image <= TOLERANCE_PX)).all():
        return False
    turns = np.diff(np.unwrap(np.arctan2(*(points - points[:-1].mean(axis=0)).T)))
    return bool(np.isclose(abs(turns.sum()), 2 * np.pi) and ((turns > 0).all() or (turns < 0).all()))


def _beyond(points: NDArray[np.float64], header: Dataset, box: Box) -> NDArray[np.float64]:
    """How far points lie outside of the box's nearest side, in millimetres, once the slice is moved along its normal into the centre."""
    along_row, along_column = np.asarray(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
    row_mm, column_mm = (float(value) for value in header.PixelSpacing)
    columns, rows = (points - 0.5).T
    places = np.asarray(header.ImagePositionPatient, dtype=float) + np.outer(columns * column_mm, along_row)
    places += np.outer(rows * row_mm, along_column) + _away(header, box) * _normal(header)
    return np.asarray((np.abs(places - np.asarray(box.center_mm)) - np.asarray(box.size_mm) / 2.0).max(axis=1))
