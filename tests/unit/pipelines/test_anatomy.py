"""Chests that the networks are trained on: another one for each seed, with disease where it is said to be."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.anatomy import LEFT_LUNG, RIGHT_LUNG, Chest, acquire_ct, draw_build, draw_chest
from pipelines.fields import make_space

SPACE = make_space((64, 46, 52), 5.0)
VOXEL_ML = 0.125


def make_chest(seed: int, **changes: object) -> Chest:
    rng = np.random.default_rng(seed)
    return draw_chest(SPACE, replace(draw_build(rng), **changes), rng, vessels=2)


def lung_ml(chest: Chest, label: int) -> float:
    return float(np.count_nonzero(chest.lungs == label)) * VOXEL_ML


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_lung_is_a_lung_on_its_own_side(seed: int) -> None:
    chest = make_chest(seed)
    for label, side in ((RIGHT_LUNG, 1), (LEFT_LUNG, -1)):
        assert 600 < lung_ml(chest, label) < 4500
        assert side * float(SPACE.x.ravel()[np.nonzero(chest.lungs == label)[0]].mean()) > 40
        assert -950 < float(chest.hounsfield[chest.lungs == label].mean()) < -600
    assert chest.hounsfield[0].max() == -1000.0


def test_one_seed_is_one_chest() -> None:
    np.testing.assert_array_equal(make_chest(4).hounsfield, make_chest(4).hounsfield)
    assert not np.array_equal(make_chest(4).lungs, make_chest(5).lungs)


def test_an_effusion_takes_lung_on_its_own_side() -> None:
    healthy, ill = make_chest(6), make_chest(6, effusion=(70.0, 0.0))
    assert lung_ml(ill, RIGHT_LUNG) < 0.9 * lung_ml(healthy, RIGHT_LUNG)
    assert lung_ml(ill, LEFT_LUNG) == pytest.approx(lung_ml(healthy, LEFT_LUNG), rel=0.01)
    fluid = (healthy.lungs == RIGHT_LUNG) & (ill.lungs == 0)
    assert np.median(ill.hounsfield[fluid]) > -20


def test_a_large_heart_takes_lung() -> None:
    healthy = make_chest(7)
    x, y, z = healthy.build.heart_axes
    assert lung_ml(make_chest(7, heart_axes=(1.5 * x, 1.2 * y, 1.2 * z)), LEFT_LUNG) < 0.92 * lung_ml(healthy, LEFT_LUNG)


def test_an_acquisition_adds_noise_and_keeps_the_mean() -> None:
    chest = make_chest(8)
    image = acquire_ct(chest.hounsfield, 5.0, np.random.default_rng(1))
    assert float((image - chest.hounsfield).mean()) == pytest.approx(0.0, abs=2.0)
    assert 4 < float(image[:4].std()) < 60
