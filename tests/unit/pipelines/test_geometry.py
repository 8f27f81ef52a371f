"""The affine of a volume puts every voxel where DICOM says it lies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.geometry import Grid
from pipelines.phantom import CENTRE_MM
from pipelines.stacking import stack
from tests.phantoms import CORONAL, PRONE, SEEN_FROM_ABOVE, oblique, tiny_ct

angles = st.floats(-np.pi, np.pi)
lengths = st.floats(0.3, 5.0)
places = st.floats(-500.0, 500.0)


def rotation(a: float, b: float, c: float) -> NDArray[np.float64]:
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    return about_z @ about_y @ about_x


def headers_of(axes: NDArray[np.float64], steps: tuple[float, ...], origin: tuple[float, ...], order: list[int]) -> list[Dataset]:
    """Slices of a stack whose columns of ``axes`` are row direction, column direction and normal."""
    headers = []
    for index in order:
        header = Dataset()
        header.SOPInstanceUID, header.FrameOfReferenceUID = f"1.2.{index + 1}", "1.2.3"
        header.Rows, header.Columns = 4, 5
        header.ImageOrientationPatient = [f"{value:.10f}" for value in (*axes[:, 0], *axes[:, 1])]
        header.PixelSpacing = [f"{steps[1]:.8f}", f"{steps[2]:.8f}"]
        header.ImagePositionPatient = [f"{value:.8f}" for value in np.asarray(origin) + index * steps[0] * axes[:, 2]]
        headers.append(header)
    return headers


@settings(deadline=None)  # a busy machine proves nothing
@given(
    turn=st.tuples(angles, angles, angles),
    steps=st.tuples(lengths, lengths, lengths),
    origin=st.tuples(places, places, places),
    order=st.permutations(range(5)),
)
def test_any_orientation_comes_back(
    turn: tuple[float, float, float], steps: tuple[float, ...], origin: tuple[float, ...], order: list[int]
) -> None:
    axes = rotation(*turn)
    headers = headers_of(axes, steps, origin, order)
    found, grid = stack(headers)
    assert [order[index] for index in found] == list(range(5))
    assert grid.sop_instance_uids == tuple(f"1.2.{index + 1}" for index in range(5))
    assert grid.shape == (5, 4, 5)
    np.testing.assert_allclose(grid.spacing_mm, steps, atol=1e-6)
    # PS3.3 C.7.6.2.1.1: column index times column spacing along the row direction, row index times row spacing along the column direction.
    for k, row, column in ((0, 0, 0), (4, 3, 2), (2, 0, 4), (1, 3, 0)):
        wanted = np.asarray(origin) + axes @ [column * steps[2], row * steps[1], k * steps[0]]
        np.testing.assert_allclose((grid.affine @ [k, row, column, 1])[:3], wanted, atol=1e-5)


@pytest.mark.parametrize("orientation", [oblique(), PRONE, SEEN_FROM_ABOVE, CORONAL])
def test_the_middle_of_the_phantom_is_where_it_was_put(orientation: tuple[float, ...]) -> None:
    _, grid = stack(tiny_ct(orientation=orientation))
    middle = grid.affine @ [*(np.asarray(grid.shape) - 1) / 2, 1.0]
    np.testing.assert_allclose(middle[:3], CENTRE_MM, atol=1e-4)


def test_ras_turns_left_and_posterior_round_and_the_indices_too() -> None:
    affine = np.array([[0.0, 0.0, 0.7, 10.0], [0.0, 0.8, 0.0, 20.0], [2.5, 0.0, 0.0, 30.0], [0.0, 0.0, 0.0, 1.0]])
    grid = Grid(shape=(3, 4, 5), affine=affine, frame_of_reference_uid="1.2", sop_instance_uids=("1", "2", "3"))
    np.testing.assert_allclose(grid.ras_affine @ [1, 2, 3, 1], [-10.7, -21.6, 37.5, 1.0])
    assert grid.spacing_mm == pytest.approx((2.5, 0.8, 0.7))
    assert grid.voxel_ml == pytest.approx(0.0014)
