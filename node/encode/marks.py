"""What stored objects draw on their source: the voxels of segments, the outlines of boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from node.encode.color import to_rgb
from node.encode.content import name_of, number_of, values_of, walk
from node.encode.frames import list_frames, unpack_frame
from node.encode.gate_outline import rasterize
from node.encode.place import Place, place_of

Rgb = tuple[int, int, int]

#: For what is stored without a colour of its own, taken in turn.
PALETTE: tuple[Rgb, ...] = ((255, 96, 96), (96, 200, 255), (140, 235, 120), (255, 190, 80), (215, 140, 255), (120, 240, 220))

#: How the codes of numbers about the whole of all images begin (99RADNODE), see `pipelines.measure`.
ABOUT_ALL = ("SCORE_", "NONE_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One segment or box.

    Attributes
    ----------
    number : int
        From 1.
    text : str
        What it is, without its volume.
    """

    number: int
    text: str
    rgb: Rgb


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mark:
    """The pixels of one item on one slice; ``mask`` has shape (row, column)."""

    number: int
    place: Place
    mask: NDArray[np.bool_]


def list_items(stored: Dataset) -> list[Item]:
    """List what a Segmentation or a report draws."""
    if "SegmentSequence" in stored:
        return [
            Item(number=int(s.SegmentNumber), text=_describe_segment(s), rgb=to_rgb(s.RecommendedDisplayCIELabValue))
            for s in stored.SegmentSequence
        ]
    return [
        Item(number=number, text=_describe_group(content), rgb=PALETTE[(number - 1) % len(PALETTE)])
        for number, content in enumerate(_drawn_groups(stored), start=1)
    ]


def list_marks(stored: Dataset, shape: tuple[int, int]) -> Iterator[Mark]:
    """List what a Segmentation or a report draws, slice by slice; ``shape`` is (rows, columns) of the source."""
    if "SegmentSequence" in stored:
        for frame in list_frames(stored):
            yield Mark(number=frame.segment_number, place=frame.source, mask=unpack_frame(stored, frame.index))
        return
    for number, content in enumerate(_drawn_groups(stored), start=1):
        for region in _regions(content):
            points = np.asarray(region.GraphicData, dtype=float).reshape(-1, 2)
            place = place_of(region.ContentSequence[0].ReferencedSOPSequence[0])
            yield Mark(number=number, place=place, mask=rasterize(points, shape))


def list_sources(stored: Dataset) -> str:
    """Find the Series Instance UID of the series that a Segmentation or a report draws on."""
    if "SegmentSequence" in stored:
        return str(stored.ReferencedSeriesSequence[0].SeriesInstanceUID)
    return str(stored.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].SeriesInstanceUID)


def _drawn_groups(report: Dataset) -> list[list[Dataset]]:
    """List the planar groups (TID 1410) but those about the whole of an image, which draw nothing."""
    groups = [item for item in walk(report) if name_of(item) == "125007"]
    planar = [list(group.ContentSequence) for group in groups if group.ContentTemplateSequence[0].TemplateIdentifier == "1410"]
    return [content for content in planar if _regions(content) and not any(name_of(item).startswith(ABOUT_ALL) for item in content)]


def _regions(content: list[Dataset]) -> list[Dataset]:
    return [item for item in content if item.ValueType == "SCOORD" and item.GraphicType == "POLYLINE"]


def _describe_segment(segment: Dataset) -> str:
    sides = segment.SegmentedPropertyTypeCodeSequence[0].get("SegmentedPropertyTypeModifierCodeSequence", [])
    return f"{segment.SegmentLabel}   [{', '.join(str(code.CodeMeaning) for code in sides) or 'no side'}]"


def _describe_group(content: list[Dataset]) -> str:
    numbers = [
        f"{item.ConceptNameCodeSequence[0].CodeMeaning} {number_of(item):g} {_unit_of(item)}" for item in content if item.ValueType == "NUM"
    ]
    return f"{values_of(content, '112039', 'TextValue')[0]}   {', '.join(numbers)}"


def _unit_of(item: Dataset) -> str:
    return str(item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeMeaning)
