"""Solids and random fields that the phantoms are drawn with, against what geometry says."""

import numpy as np
import pytest

from pipelines.fields import grow_tree, make_space

SPACE = make_space((40, 44, 48), 1.0, (2.0, -3.0, 5.0))


def test_the_middle_of_the_grid_is_where_it_was_asked_for() -> None:
    assert [float(axis.mean()) for axis in (SPACE.x, SPACE.y, SPACE.z)] == pytest.approx([2.0, -3.0, 5.0])
    assert np.diff(SPACE.z.ravel()) == pytest.approx(1.0)


@pytest.mark.parametrize("power", [2.0, 2.5])
def test_an_ellipsoid_is_one_on_its_surface(power: float) -> None:
    distance = SPACE.ellipsoid((2.5, -2.5, 5.5), (10.0, 5.0, 8.0), power)
    x, y, z = (list(axis.ravel()) for axis in (SPACE.x, SPACE.y, SPACE.z))
    centre = [axis.index(value) for axis, value in zip((x, y, z), (2.5, -2.5, 5.5), strict=True)]
    assert distance[tuple(centre)] == 0
    assert distance[centre[0] + 10, centre[1], centre[2]] == pytest.approx(1.0)
    assert distance[centre[0], centre[1] + 5, centre[2]] == pytest.approx(1.0)
    assert np.count_nonzero(distance < 1) < 8 * 10 * 5 * 8


def test_a_tube_has_the_volume_of_a_capsule() -> None:
    start, end, radius = (2.0, -3.0, -5.0), (2.0, -3.0, 15.0), 6.0
    capsule = np.pi * radius**2 * 20.0 + 4.0 / 3.0 * np.pi * radius**3
    assert np.count_nonzero(SPACE.tube(start, end, (radius, radius))) == pytest.approx(capsule, rel=0.03)
    painted = np.zeros(SPACE.shape, dtype=np.float32)
    SPACE.paint_tube(painted, start, end, (radius, radius), 10.0)
    assert float(painted.sum()) / 10.0 == pytest.approx(capsule, rel=0.03)


def test_a_tube_outside_of_the_grid_paints_nothing() -> None:
    painted = np.zeros(SPACE.shape, dtype=np.float32)
    for far in (-200.0, 200.0):
        SPACE.paint_tube(painted, (far, 0.0, 0.0), (far, 5.0, 0.0), (3.0, 3.0), 1.0)
    assert not painted.any()


@pytest.mark.parametrize("sigma_mm", [1.5, 6.0])
def test_noise_is_normalised_smooth_and_the_same_for_one_seed(sigma_mm: float) -> None:
    first, again, other = (SPACE.noise(np.random.default_rng(seed), sigma_mm) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == SPACE.shape
    assert first.std() == pytest.approx(1.0, abs=1e-3)
    # A field smoothed by sigma has a gradient of 1 / (sqrt(2) sigma).
    assert np.diff(first, axis=2).std() == pytest.approx(1.0 / (np.sqrt(2.0) * sigma_mm), rel=0.35)


def test_depth_is_the_distance_to_what_is_outside() -> None:
    ball = SPACE.ellipsoid((2.5, -2.5, 5.5), (12.0, 12.0, 12.0)) < 1.0
    assert float(SPACE.depth(ball).max()) == pytest.approx(12.0, abs=1.0)
    assert not SPACE.depth(ball)[~ball].any()


def test_a_tree_tapers_and_ends() -> None:
    tubes = list(grow_tree(np.random.default_rng(3), (0.0, 0.0, 0.0), np.array([0.0, 0.0, 1.0]), 4.0, 30.0, 6))
    assert len(tubes) > 20
    assert all(last <= first <= 4.0 for _, _, (first, last) in tubes)
    assert min(first for _, _, (first, _) in tubes) >= 0.5 * 0.9
