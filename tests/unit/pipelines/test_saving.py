"""What a run leaves in a folder can be read back without us: arrays, boxes, scores, and which model gave them."""

import json
from pathlib import Path

import numpy as np

from pipelines.geometry import Grid
from pipelines.result import Box, Boxes, Channels, Inference, LabelMap, Model, Output, Scores, Volume
from pipelines.saving import save

GRID = Grid(affine=np.diag([2.0, 2.0, 5.0, 1.0]), shape=(3, 4, 5), frame_of_reference_uid="1.2.3", sop_instance_uids=("1", "2", "3"))


def given(output: Output, stack: str = "") -> Inference:
    volume = Volume(array=np.zeros(GRID.shape, np.float32), grid=GRID, headers=(), series_instance_uid="1.2.3.4", stack=stack)
    return Inference(
        pipeline="tested",
        model=Model(name="Tested", version="1.0", manufacturer="nobody", digest="0" * 64),
        volume=volume,
        output=output,
        findings=(),
        device="cpu",
        seconds={},
        others=(volume,),
    )


def test_a_label_map_is_saved_with_its_place(tmp_path: Path) -> None:
    labels = np.arange(60, dtype=np.uint8).reshape(GRID.shape)
    described, arrays = save(given(LabelMap(array=labels, grid=GRID)), tmp_path / "new" / "folder")
    with np.load(arrays) as saved:
        assert (saved["labels"] == labels).all()
        assert (saved["affine_lps"] == GRID.affine).all()
    content = json.loads(described.read_text())
    assert (content["pipeline"], content["model"]["digest"], len(content["inputs"])) == ("tested", "0" * 64, 2)


def test_channels_keep_their_overlap_and_their_labels(tmp_path: Path) -> None:
    masks = np.ones((2, *GRID.shape), dtype=np.bool_)
    _, arrays = save(given(Channels(array=masks, labels=(0, 2), grid=GRID)), tmp_path)
    with np.load(arrays) as saved:
        assert saved["labels"].shape == (2, *GRID.shape)
        assert saved["labels"].all()
        assert saved["channels"].tolist() == [0, 2]


def test_boxes_and_scores_are_numbers_in_json(tmp_path: Path) -> None:
    box = Box(label=0, score=0.75, center_mm=(1.0, 2.0, 3.0), size_mm=(4.0, 5.0, 6.0))
    (boxes,) = save(given(Boxes(boxes=(box,), grid=GRID)), tmp_path / "boxes")
    assert json.loads(boxes.read_text())["boxes"] == [{"label": 0, "score": 0.75, "center_mm": [1.0, 2.0, 3.0], "size_mm": [4.0, 5.0, 6.0]}]
    (scores,) = save(given(Scores(values={0: 0.25}, grid=GRID)), tmp_path / "scores")
    assert json.loads(scores.read_text())["scores"] == {"0": 0.25}


def test_the_stacks_of_a_series_are_told_apart_by_names_that_any_disk_takes(tmp_path: Path) -> None:
    for stack in ("EchoTime=12", "AcquisitionNumber=1/2 ../x"):
        files = save(given(LabelMap(array=np.zeros(GRID.shape, np.uint8), grid=GRID), stack), tmp_path)
        assert {path.parent for path in files} == {tmp_path}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "1.2.3.4-AcquisitionNumber=1_2_.._x.json",
        "1.2.3.4-AcquisitionNumber=1_2_.._x.npz",
        "1.2.3.4-EchoTime=12.json",
        "1.2.3.4-EchoTime=12.npz",
    ]
