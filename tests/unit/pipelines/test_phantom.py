"""The phantom is the same everywhere, valid, and knows its lungs."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipelines.phantom import LEFT_LUNG, RIGHT_LUNG, make_chest_ct
from tests.phantoms import CORONAL, TINY, tiny_ct, write_ct_chest


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    first = write_ct_chest(tmp_path / "a", shape=TINY, seed=3)
    second = write_ct_chest(tmp_path / "b", shape=TINY, seed=3)
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_names_and_seeds_make_studies_and_series() -> None:
    one, other, again = tiny_ct(study_name="one")[0], tiny_ct(study_name="other")[0], tiny_ct(study_name="one", seed=1)[0]
    assert one.StudyInstanceUID != other.StudyInstanceUID
    assert one.StudyInstanceUID == again.StudyInstanceUID
    assert one.SeriesInstanceUID != again.SeriesInstanceUID
    assert one.AccessionNumber != other.AccessionNumber


def test_every_uid_is_used_once() -> None:
    uids = [dataset.SOPInstanceUID for dataset in [*tiny_ct(), *tiny_ct(seed=1), *tiny_ct(study_name="other")]]
    assert len(set(uids)) == len(uids)
    assert max(map(len, uids)) <= 64


@pytest.mark.parametrize("orientation", [(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), CORONAL])
def test_instances_are_valid_ct_images(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    path = write_ct_chest(tmp_path, shape=TINY, orientation=orientation)[0]
    report = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    lines = (report.stdout + report.stderr).splitlines()
    assert "CTImage" in lines
    assert [line for line in lines if line.startswith("Error")] == []


def test_the_lungs_are_large_enough_for_the_pipeline_and_differ() -> None:
    phantom = make_chest_ct()
    right, left = (float((phantom.labels == side).sum()) * 5.0 * 1.5 * 1.5 / 1000 for side in (RIGHT_LUNG, LEFT_LUNG))
    assert right > left + 100
    assert right + left > 1300


def test_the_right_lung_lies_where_x_is_small() -> None:
    phantom = make_chest_ct()
    columns = {side: np.nonzero(phantom.labels == side)[2].mean() for side in (RIGHT_LUNG, LEFT_LUNG)}
    # Columns run along +x, towards the patient's left (PS3.3 C.7.6.2.1.1).
    assert columns[RIGHT_LUNG] < columns[LEFT_LUNG]
