"""Channels that overlap: each is its own segment, and every voxel is proven for each."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread

from node.core.errors import EncodeError
from node.encode.gate import inspect
from node.encode.objects import encode
from pipelines.result import Channels
from tests.unit.encode.mutations import mutate, put
from tests.unit.encode.sources import EQUIPMENT, ORIENTATIONS, TUMOURS, make_case, make_tumours, with_output


@pytest.fixture(scope="module")
def tumours(case):
    """A case whose bundle gave two channels."""
    return with_output(case, TUMOURS, make_tumours(case))


@pytest.fixture(scope="module")
def encoded(tumours):
    """Its objects."""
    return encode(tumours.inference, tumours.job, EQUIPMENT, TUMOURS)


def voxels_by_segment(content, grid):
    """Unpack a stored Segmentation with pydicom alone: segment number to mask."""
    dataset = dcmread(BytesIO(content))
    masks = {int(segment.SegmentNumber): np.zeros(grid.shape, bool) for segment in dataset.SegmentSequence}
    for groups, frame in zip(dataset.PerFrameFunctionalGroupsSequence, dataset.pixel_array, strict=True):
        source = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        masks[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber][grid.sop_instance_uids.index(source)] = frame
    return masks


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_channels_are_stored_voxel_by_voxel(orientation):
    case = make_case(orientation)
    case = with_output(case, TUMOURS, make_tumours(case))
    objects = encode(case.inference, case.job, EQUIPMENT, TUMOURS)
    inspect(objects, case.inference, case.job, TUMOURS)
    stored = voxels_by_segment(objects[0].content, case.inference.volume.grid)
    assert np.array_equal(np.stack([stored[1], stored[2]]), case.inference.output.array)
    assert (stored[1] & stored[2]).any()


def test_a_segmentation_says_whether_its_segments_overlap(encoded, objects):
    assert dcmread(BytesIO(encoded[0].content)).SegmentsOverlap == "YES"
    assert dcmread(BytesIO(objects[0].content)).SegmentsOverlap == "NO"


def test_a_channel_without_a_voxel_has_no_segment(tumours):
    array = tumours.inference.output.array.copy()
    array[0] = False
    case = with_output(tumours, TUMOURS, Channels(array=array, labels=(0, 1), grid=tumours.inference.volume.grid))
    objects = encode(case.inference, case.job, EQUIPMENT, TUMOURS)
    inspect(objects, case.inference, case.job, TUMOURS)
    assert [segment.SegmentLabel for segment in dcmread(BytesIO(objects[0].content)).SegmentSequence] == ["Tumour core"]


def flip_a_shared_bit(dataset):
    content = bytearray(dataset.PixelData)
    content[len(content) // 2] ^= 8
    dataset.PixelData = bytes(content)


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        (flip_a_shared_bit, "1 voxels differ"),
        (put("SegmentsOverlap", "NO"), "Segments Overlap"),
        (put("ReferencedSegmentNumber", 2, "PerFrameFunctionalGroupsSequence", 5, "SegmentIdentificationSequence", 0), "voxels differ"),
    ],
)
def test_a_mutated_segmentation_is_caught(tumours, encoded, change, failure):
    with pytest.raises(EncodeError, match=failure):
        inspect(mutate(encoded, "SEG", change), tumours.inference, tumours.job, TUMOURS)


def test_exchanged_channels_are_caught(tumours):
    """Objects that are consistent in themselves, with the two channels the wrong way round."""
    output = tumours.inference.output
    wrong = replace(tumours.inference, output=Channels(array=output.array[::-1], labels=output.labels, grid=output.grid))
    with pytest.raises(EncodeError, match="voxels differ"):
        inspect(encode(wrong, tumours.job, EQUIPMENT, TUMOURS), tumours.inference, tumours.job, TUMOURS)


def test_a_channel_that_no_finding_stands_for_is_caught(tumours, encoded):
    lost = replace(tumours.inference, findings=tumours.inference.findings[:1])
    with pytest.raises(EncodeError, match=r"no finding stands for the labels \[1\]"):
        inspect(encoded, lost, tumours.job, TUMOURS)
