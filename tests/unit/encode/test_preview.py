"""The picture of what the archive received."""

import numpy as np
import pytest
from highdicom.color import CIELabColor
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from node.core.errors import EncodeError
from node.encode.color import to_rgb
from node.encode.marks import PALETTE
from node.encode.montage import ALARM, CELL, Panel, draw_panel, name_direction
from node.encode.objects import encode
from node.encode.preview import draw_overlay
from pipelines.result import Boxes
from tests.unit.encode.sources import (
    EQUIPMENT,
    FINDINGS,
    NODULES,
    PIPELINE,
    make_boxes,
    make_case,
    make_radiograph,
    make_scores,
    with_output,
)


@pytest.fixture(scope="module")
def received(tmp_path_factory):
    """Files of a source and its Segmentation."""
    folder = tmp_path_factory.mktemp("received")
    case = make_case()
    (folder / "seg.dcm").write_bytes(encode(case.inference, case.job, EQUIPMENT, PIPELINE)[0].content)
    paths = []
    for index, header in enumerate(case.inference.volume.headers):
        paths.append(folder / f"{index}.dcm")
        header.add_new("PixelData", "OW", case.inference.volume.array[index].astype("<i2").tobytes())
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.save_as(paths[-1], enforce_file_format=True)
    return paths, folder / "seg.dcm"


def test_the_picture_does_not_depend_on_the_order_of_the_files(received, tmp_path):
    source, segmentation = received
    for name, paths in (("sorted", source), ("shuffled", [*source[5:], *source[:5]][::-1])):
        draw_overlay(paths, segmentation, tmp_path / f"{name}.png")
    assert (tmp_path / "sorted.png").read_bytes() == (tmp_path / "shuffled.png").read_bytes()


def test_the_picture_says_unverified_and_shows_both_segments(received, tmp_path):
    draw_overlay(*received, tmp_path / "picture.png")
    pixels = np.asarray(Image.open(tmp_path / "picture.png"))
    colours = {tuple(int(v) for v in c) for c in np.unique(pixels.reshape(-1, 3), axis=0)}
    lab = [segment.RecommendedDisplayCIELabValue for segment in dcmread(received[1]).SegmentSequence]
    assert {ALARM, *map(to_rgb, lab)} <= colours


def test_a_mirrored_segmentation_gives_another_picture(received, tmp_path):
    source, segmentation = received
    dataset = dcmread(segmentation)
    frames = dataset.PerFrameFunctionalGroupsSequence
    sources = [frame.DerivationImageSequence for frame in frames]
    for frame, other in zip(frames, sources[::-1], strict=True):
        frame.DerivationImageSequence = other
    dataset.save_as(tmp_path / "mirrored.dcm")
    draw_overlay(source, segmentation, tmp_path / "right.png")
    draw_overlay(source, tmp_path / "mirrored.dcm", tmp_path / "wrong.png")
    assert (tmp_path / "right.png").read_bytes() != (tmp_path / "wrong.png").read_bytes()


def test_a_frame_on_an_instance_that_was_not_received_is_refused(received, tmp_path):
    with pytest.raises(EncodeError, match="not among the source files"):
        draw_overlay(received[0][:6], received[1], tmp_path / "picture.png")


@pytest.mark.parametrize("rgb", [(224, 170, 120), (120, 190, 224), (0, 0, 0), (255, 255, 255), (255, 0, 0), (10, 200, 30)])
def test_a_colour_comes_back_as_it_was_stored(rgb):
    stored = CIELabColor.from_rgb(*rgb).value
    assert max(abs(a - b) for a, b in zip(to_rgb(stored), rgb, strict=True)) <= 2


@pytest.mark.parametrize(
    ("vector", "letters"),
    [((1, 0, 0), "L"), ((-1, 0, 0), "R"), ((0, 1, 0), "P"), ((0, 0, -1), "F"), ((0.6, 0, 0.8), "HL"), ((0.99, 0.1, 0.1), "L")],
)
def test_directions_are_named_as_patient_orientation_does(vector, letters):
    assert name_direction(np.asarray(vector, dtype=float)) == letters


def test_a_panel_has_the_proportions_of_the_patient():
    panel = Panel(
        grey=np.full((10, 40), 200, dtype=np.uint8),
        labels=np.zeros((10, 40), dtype=np.uint8),
        size_mm=(100.0, 200.0),
        down=np.array([0.0, 0.0, -1.0]),
        right=np.array([1.0, 0.0, 0.0]),
        title="",
    )
    column = np.asarray(draw_panel(panel, {}))[:, CELL // 4, 0]
    assert (column > 100).sum() == CELL // 2


def test_boxes_are_drawn_on_the_slices_that_the_report_names(received, tmp_path):
    case = make_case()
    case = with_output(case, NODULES, make_boxes(case))
    (report,) = encode(case.inference, case.job, EQUIPMENT, NODULES)
    (tmp_path / "sr.dcm").write_bytes(report.content)
    draw_overlay(received[0], tmp_path / "sr.dcm", tmp_path / "picture.png")
    pixels = np.asarray(Image.open(tmp_path / "picture.png"))
    colours = {tuple(int(v) for v in c) for c in np.unique(pixels.reshape(-1, 3), axis=0)}
    assert {ALARM, *PALETTE[:2]} <= colours
    assert PALETTE[2] not in colours


def make_no_boxes():
    case = make_case()
    return with_output(case, NODULES, Boxes(boxes=(), grid=case.inference.volume.grid)), NODULES


def make_classification():
    case = make_case()
    return with_output(case, FINDINGS, make_scores(case)), FINDINGS


@pytest.mark.parametrize("make", [make_no_boxes, make_classification, lambda: (make_radiograph(), FINDINGS)])
def test_a_report_that_draws_nothing_gives_no_picture(received, tmp_path, make):
    case, pipeline = make()
    (report,) = encode(case.inference, case.job, EQUIPMENT, pipeline)
    (tmp_path / "sr.dcm").write_bytes(report.content)
    with pytest.raises(EncodeError, match="draws nothing"):
        draw_overlay(received[0], tmp_path / "sr.dcm", tmp_path / "picture.png")
