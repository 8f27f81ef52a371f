"""What must be true of a score in a stored report: it is the model's, and it is about all of the images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset

from node.encode.content import number_of
from node.encode.gate_numbers import ROUNDING, check_numbers
from node.encode.place import list_places, place_of
from pipelines.result import Finding, Inference, Scores


def check_score(content: Sequence[Dataset], finding: Finding, inference: Inference, scores: Scores) -> Iterator[str]:
    """Compare the group of a score with what the model gave; its regions are all images."""
    yield from check_numbers(content, finding.measurements)
    numbers = [number_of(item) for item in content if item.ValueType == "NUM"]
    if len(numbers) != 1 or abs(numbers[0] - scores.values[finding.label]) > ROUNDING:
        yield "its number is not the score that the model gave"
    yield from check_regions(content, inference)


def check_regions(content: Sequence[Dataset], inference: Inference) -> Iterator[str]:
    """Compare the regions of a group with the whole of every source image."""
    regions = [item for item in content if item.ValueType == "SCOORD"]
    places = list_places(inference.output.grid)
    if sorted(place_of(region.ContentSequence[0].ReferencedSOPSequence[0]) for region in regions) != sorted(places):
        yield "its regions are not on every source image"
    header = inference.volume.headers[0]
    width, height = float(header.Columns), float(header.Rows)
    for region in regions:
        if region.GraphicType != "POLYLINE" or list(region.GraphicData) != [0, 0, width, 0, width, height, 0, height, 0, 0]:
            yield "a region is not the whole image"
