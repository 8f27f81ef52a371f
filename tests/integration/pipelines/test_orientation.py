"""Wherever and however the slices lie, what a bundle finds comes back on the voxels of the source on which it was seen.

An object that is its own mirror image in no plane is drawn into the slices of a series. Where each voxel lies is worked out here from
the headers of its slice or frame alone (PS3.3 equation C.7.6.2.1-1), in the drawing and again in the judgement: nothing of RadNode's own
geometry takes part in either.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from pipelines.bundle import Bundle
from pipelines.clock import Clock
from pipelines.inputs import read_inputs
from pipelines.result import LabelMap, SeriesFiles
from tests.bundles.declaring import declare
from tests.bundles.parts import CHANNEL_FIRST, STATS, Config, bundle, compose, invert, ras, save, spacing
from tests.bundles.writing import write
from tests.bundles.zoo import Published
from tests.phantoms import multiframe, tiny_ct

NETWORKS = """
import torch


class Threshold(torch.nn.Module):
    def forward(self, image):
        return (image > -450).float()


class Octant(Threshold):
    # Sees only what lies right, in front and above of the middle of a tensor whose axes run right, to the front and up.

    def forward(self, image):
        seen = super().forward(image)
        for axis in (2, 3, 4):
            middle = (seen.shape[axis] - 1) / 2
            seen.index_fill_(axis, torch.arange(seen.shape[axis])[torch.arange(seen.shape[axis]) < middle], 0.0)
        return seen


class Ball(torch.nn.Module):
    # Sees nothing of the image: ten millimetres around the middle of a tensor whose voxels are said to be cubes of 1.5 mm.
    def forward(self, image):
        axes = [(torch.arange(size) - (size - 1) / 2) * 1.5 for size in image.shape[2:]]
        return (torch.stack(torch.meshgrid(*axes, indexing="ij")).norm(dim=0) < 10.0)[None, None].float()
"""
AIR_HU, OBJECT_HU, INTERCEPT = -1000, 100, -1024
RESAMPLED_MM, BALL_MM = 1.5, 10.0
#: Balls in parts of the smallest side of the volume: where from its middle, and how large. No reflection maps them onto themselves.
BALLS = (((0.22, 0.0, 0.0), 0.17), ((0.0, 0.24, 0.0), 0.13), ((0.0, 0.0, 0.27), 0.10), ((-0.2, -0.15, 0.1), 0.14))
PATIENT_POSITIONS = ("HFS", "FFS", "HFP", "FFP", "HFDL", "FFDR")
Array = NDArray[np.float64]


def turns() -> Iterator[tuple[float, ...]]:
    """The 24 orientations along the axes of the patient: axial, coronal, sagittal, prone, seen from above ..."""
    for axes, signs in product(permutations(range(3), 2), product((1.0, -1.0), repeat=2)):
        cosines = np.zeros((2, 3))
        cosines[[0, 1], axes] = signs
        yield tuple(cosines.ravel())


def oblique(numbers: Sequence[float]) -> tuple[float, ...]:
    matrix = Rotation.from_quat(numbers).as_matrix()
    return (*matrix[:, 0], *matrix[:, 1])


any_turn = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda numbers: np.linalg.norm(numbers) > 0.1).map(oblique)
lengths = st.floats(0.7, 4.0).map(lambda length: round(length, 3))
series = st.fixed_dictionaries(
    {
        "orientation": st.one_of(st.sampled_from(list(turns())), any_turn, any_turn),
        "spacing_mm": st.tuples(lengths, lengths, lengths),
        "shape": st.tuples(st.integers(8, 18), st.integers(14, 26), st.integers(14, 26)),
        "shift": st.tuples(*[st.floats(-300, 300)] * 3),
        "order": st.randoms(use_true_random=False),
        "position": st.sampled_from(PATIENT_POSITIONS),
        "enhanced": st.booleans(),
    }
)


def places(position: Any, orientation: Any, pixel_spacing: Any, rows: int, columns: int) -> Array:
    """Where the voxels of one slice lie, shape (row, column, 3): PS3.3 C.7.6.2.1.1."""
    first, cosines, (between_rows, between_columns) = (np.asarray(value, float) for value in (position, orientation, pixel_spacing))
    down, across = np.mgrid[:rows, :columns]
    return first + across[..., None] * between_columns * cosines[:3] + down[..., None] * between_rows * cosines[3:]


def depth_in_object(points: Array, middle: Array, side: float) -> Array:
    """How far points lie within the object, in millimetres; negative outside."""
    depths = [radius * side - np.linalg.norm(points - middle - np.multiply(offset, side), axis=-1) for offset, radius in BALLS]
    return np.max(depths, axis=0)


class Case:
    """One series with the object in it, written to files."""

    def __init__(self, folder: Path, made: dict[str, Any]) -> None:
        datasets = tiny_ct(shape=made["shape"], spacing_mm=made["spacing_mm"], orientation=made["orientation"])
        for dataset in datasets:
            dataset.ImagePositionPatient = [
                f"{float(value) + shift:.6f}" for value, shift in zip(dataset.ImagePositionPatient, made["shift"], strict=True)
            ]
            dataset.PatientPosition = made["position"]
        corners = [self._places_in(dataset)[index] for dataset in (datasets[0], datasets[-1]) for index in ((0, 0), (-1, -1))]
        self.middle = np.mean(corners, axis=0)
        self.side = min(size * step for size, step in zip(made["shape"], made["spacing_mm"], strict=True))
        for dataset in datasets:
            seen = depth_in_object(self._places_in(dataset), self.middle, self.side) > 0
            dataset.PixelData = (np.where(seen, OBJECT_HU, AIR_HU) - INTERCEPT).astype("<u2").tobytes()
        made["order"].shuffle(order := list(range(len(datasets))))
        written = [multiframe(datasets, order)] if made["enhanced"] else [datasets[index] for index in order]
        for number, dataset in enumerate(written):
            dataset.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
        self.paths = sorted(folder.glob("*.dcm"))
        self.files = SeriesFiles(series_instance_uid=str(datasets[0].SeriesInstanceUID), paths=tuple(self.paths))

    def _places_in(self, dataset: Dataset) -> Array:
        return places(dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing, dataset.Rows, dataset.Columns)

    def depth(self, found: LabelMap) -> Array:
        """How far within the object each voxel of a result lies."""
        return depth_in_object(self.points(found), self.middle, self.side)

    def points(self, found: LabelMap) -> Array:
        """Where each voxel of a result lies, by the headers of the slice or frame that it says it lies on."""
        instances = {str(dataset.SOPInstanceUID): dataset for dataset in map(dcmread, self.paths)}
        numbers = found.grid.frame_numbers or (0,) * len(found.array)
        planes = []
        for uid, number in zip(found.grid.sop_instance_uids, numbers, strict=True):
            dataset = instances[uid]
            if number:
                frame, shared = dataset.PerFrameFunctionalGroupsSequence[number - 1], dataset.SharedFunctionalGroupsSequence[0]
                points = places(
                    frame.PlanePositionSequence[0].ImagePositionPatient,
                    shared.PlaneOrientationSequence[0].ImageOrientationPatient,
                    shared.PixelMeasuresSequence[0].PixelSpacing,
                    dataset.Rows,
                    dataset.Columns,
                )
            else:
                points = self._places_in(dataset)
            planes.append(points)
        return np.stack(planes)


LOAD: Config = {"_target_": "LoadImaged", "keys": "image"}
SEEN_FROM_ONE_SIDE = (LOAD, CHANNEL_FIRST, ras())
BUNDLES = {
    "turned": ("Threshold", SEEN_FROM_ONE_SIDE),
    "resampled": ("Threshold", (*SEEN_FROM_ONE_SIDE, spacing([RESAMPLED_MM] * 3))),
    "octant": ("Octant", SEEN_FROM_ONE_SIDE),
    "ball": ("Ball", (*SEEN_FROM_ONE_SIDE, spacing([RESAMPLED_MM] * 3))),
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Thresholds that see the patient from one side, as most of MONAI's bundles do: on the source's voxels, and on others."""
    folder = tmp_path_factory.mktemp("bundles")
    made = {}
    for name, (network, preprocessing) in BUNDLES.items():
        config = bundle(
            network={"_target_": f"scripts.net.{network}"},
            preprocessing=compose(*preprocessing),
            inferer={"_target_": "SimpleInferer"},
            postprocessing=compose(invert(nearest_interp=True), save()),
            amp=False,
            handlers=[STATS],
        )
        channels = {"channel_def": {"0": "background", "1": "object"}}
        published = Published(config=config, channels=channels, declaration={}, scripts={"net": NETWORKS})
        made[name] = Bundle(write(published, folder / name), declare(), torch.device("cpu"))
    return made


@settings(max_examples=30, deadline=None, derandomize=True)
@given(made=series)
def test_what_is_found_lies_where_it_was_seen(
    made: dict[str, Any], bundles: dict[str, Bundle], tmp_path_factory: pytest.TempPathFactory
) -> None:
    case = Case(tmp_path_factory.mktemp("case"), made)
    (volume,) = read_inputs(declare(), [case.files], Clock()).volumes

    found, _ = bundles["turned"].predict([volume])
    assert isinstance(found, LabelMap)
    depth = case.depth(found)
    assert (depth > 0).any()
    np.testing.assert_array_equal(found.array == 1, depth > 0)

    # On another grid the edge may move, by a voxel of each grid at most.
    found, _ = bundles["resampled"].predict([volume])
    assert isinstance(found, LabelMap)
    edge = np.linalg.norm(made["spacing_mm"]) + np.sqrt(3) * RESAMPLED_MM
    np.testing.assert_array_equal((found.array == 1)[np.abs(case.depth(found)) > edge], depth[np.abs(depth) > edge] > 0)

    # The mask of a network that goes by lengths would be an ellipsoid if the spacing were wrong in any direction. Half a voxel each is lost
    # by the nearest one that is taken, and by the tensor's middle.
    found, _ = bundles["ball"].predict([volume])
    assert isinstance(found, LabelMap)
    distance = np.linalg.norm(case.points(found) - case.middle, axis=-1)
    clear = np.abs(distance - BALL_MM) > np.sqrt(3) * RESAMPLED_MM
    np.testing.assert_array_equal((found.array == 1)[clear], distance[clear] < BALL_MM)


@pytest.mark.parametrize("turn", list(turns()), ids=str)
def test_a_network_is_shown_right_as_right(turn: tuple[float, ...], bundles: dict[str, Bundle], tmp_path: Path) -> None:
    """A mask that is merely brought back would not tell: here the network itself goes by where right, front and top are."""
    made = {"orientation": turn, "spacing_mm": (2.0, 1.0, 1.5), "shape": (18, 27, 22), "shift": (50.0, -120.0, 200.0)}
    case = Case(tmp_path, {**made, "order": random.Random(7), "position": "HFS", "enhanced": turn[0] != 0})
    (volume,) = read_inputs(declare(), [case.files], Clock()).volumes
    found, _ = bundles["octant"].predict([volume])
    assert isinstance(found, LabelMap)
    # DICOM's axes run to the left, to the back and up.
    from_middle = case.points(found) - case.middle
    wanted = (case.depth(found) > 0) & (from_middle @ np.diag([-1, -1, 1]) > -1e-3).all(axis=-1)
    assert wanted.any()
    np.testing.assert_array_equal(found.array == 1, wanted)
