"""Phases, echoes, b-values and components of one series are stacks of their own; what nothing tells apart stays a duplicate."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from pipelines.errors import GeometryError
from pipelines.facts import survey
from pipelines.frames import slices_of
from pipelines.result import SeriesFiles
from pipelines.series import read_volume
from pipelines.stacks import split
from tests.phantoms import multiframe, tiny_ct, with_duplicate, write_series


def repeated(keyword: str, values: Sequence[Any]) -> list[Dataset]:
    """The same six slices once for each value, which their pixels tell too."""
    found = []
    for number, value in enumerate(values):
        for dataset in tiny_ct():
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{dataset.SOPInstanceUID}.{number}"
            dataset.PixelData = np.full((16, 20), number, "<u2").tobytes()
            setattr(dataset, keyword, value)
            found.append(dataset)
    return found


@pytest.mark.parametrize(
    ("keyword", "values", "keys"),
    [
        ("EchoTime", ["12", "24.5"], ("EchoTime=12", "EchoTime=24.5")),
        ("TriggerTime", ["0", "33.3", "66.6"], ("TriggerTime=0", "TriggerTime=33.3", "TriggerTime=66.6")),
        ("TemporalPositionIdentifier", [1, 2], ("TemporalPosition=1", "TemporalPosition=2")),
        ("DiffusionBValue", [0.0, 1000.0], ("DiffusionBValue=0", "DiffusionBValue=1000")),
        ("AcquisitionNumber", [3, 5], ("AcquisitionNumber=3", "AcquisitionNumber=5")),
        ("ContentTime", ["101500", "101530"], ("ContentTime=101500", "ContentTime=101530")),
        (
            "ImageType",
            [["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]],
            (r"ImageType=ORIGINAL\PRIMARY\M", r"ImageType=ORIGINAL\PRIMARY\P"),
        ),
    ],
)
def test_what_differs_at_one_place_tells_stacks_apart(keyword: str, values: list[Any], keys: tuple[str, ...], tmp_path: Path) -> None:
    datasets = repeated(keyword, values)
    stacks = split(datasets)
    assert tuple(found.key for found in stacks) == keys
    assert [len(found.members) for found in stacks] == [6] * len(values)
    files = write_series(datasets, tmp_path)
    for number, key in enumerate(keys):
        volume = read_volume(SeriesFiles(series_instance_uid=files.series_instance_uid, paths=files.paths, stack=key))
        assert volume.grid.shape[0] == 6
        assert volume.stack == key
        assert np.unique(volume.array).tolist() == [number - 1024.0]


def test_a_series_of_several_stacks_is_refused_as_one_volume(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="2 stacks, told apart by EchoTime") as refusal:
        read_volume(write_series(repeated("EchoTime", ["12", "24"]), tmp_path))
    assert refusal.value.reason == "several_stacks"


def test_a_stack_that_is_not_there_is_refused(tmp_path: Path) -> None:
    files = write_series(tiny_ct(), tmp_path)
    with pytest.raises(GeometryError) as refusal:
        read_volume(SeriesFiles(series_instance_uid=files.series_instance_uid, paths=files.paths, stack="EchoTime=12"))
    assert refusal.value.reason == "no_such_stack"


def test_components_of_several_echoes_are_split_by_both() -> None:
    datasets = repeated("EchoTime", ["12", "24"])
    for dataset in [deepcopy(dataset) for dataset in datasets]:
        dataset.ComplexImageComponent = "PHASE"
        datasets.append(dataset)
    for dataset in datasets[:12]:
        dataset.ComplexImageComponent = "MAGNITUDE"
    stacks = split(datasets)
    assert [found.key for found in stacks] == [
        f"ComplexImageComponent={component}, EchoTime={time}" for component in ("MAGNITUDE", "PHASE") for time in (12, 24)
    ]
    assert sorted(index for found in stacks for index in found.members) == list(range(24))


def again_later(datasets: list[Dataset]) -> list[Dataset]:
    twin = with_duplicate(datasets)
    twin[-1].AcquisitionNumber = 2
    return twin


def jitter(datasets: list[Dataset]) -> list[Dataset]:
    """Trigger times of a cine series that no two slices share."""
    series = repeated("TriggerTime", ["0", "33"])
    for number, dataset in enumerate(series):
        dataset.TriggerTime = f"{float(dataset.TriggerTime) + 0.1 * number:.1f}"
    return series


@pytest.mark.parametrize("make", [with_duplicate, again_later, jitter])
def test_what_is_no_stack_stays_a_duplicate(make: Callable[[list[Dataset]], list[Dataset]], tmp_path: Path) -> None:
    datasets = make(tiny_ct())
    assert [found.key for found in split(datasets)] == [""]
    with pytest.raises(GeometryError) as refusal:
        read_volume(write_series(datasets, tmp_path))
    assert refusal.value.reason == "duplicate_position"


def test_two_parts_of_one_volume_stay_one(tmp_path: Path) -> None:
    datasets = tiny_ct()
    for dataset in datasets[3:]:
        dataset.AcquisitionNumber, dataset.ContentTime = 2, "111111"
    assert [found.key for found in split(datasets)] == [""]
    assert read_volume(write_series(datasets, tmp_path)).grid.shape[0] == 6


def test_frames_of_one_instance_are_stacks_too(tmp_path: Path) -> None:
    image = multiframe(repeated("EchoTime", ["12", "24"]))
    for number, groups in enumerate(image.PerFrameFunctionalGroupsSequence):
        echo = Dataset()
        echo.EffectiveEchoTime = 12.0 if number < 6 else 24.0
        groups.MREchoSequence = [echo]
    assert [found.key for found in split([each.header for each in slices_of([image])])] == ["EchoTime=12", "EchoTime=24"]
    files = write_series([image], tmp_path)
    volume = read_volume(SeriesFiles(series_instance_uid=files.series_instance_uid, paths=files.paths, stack="EchoTime=24"))
    assert volume.grid.frame_numbers == (7, 8, 9, 10, 11, 12)
    assert np.unique(volume.array).tolist() == [1 - 1024.0]


def test_each_stack_has_facts_of_its_own() -> None:
    first, second = survey(repeated("EchoTime", ["12", "24"]))
    assert (first.stack, first.echo_time_ms, first.instances) == ("EchoTime=12", (12.0, 12.0), 6)
    assert (second.stack, second.echo_time_ms, second.split_by) == ("EchoTime=24", (24.0, 24.0), ("EchoTime",))
    assert first.name != second.name
