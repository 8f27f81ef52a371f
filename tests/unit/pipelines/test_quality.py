"""Voxels that cannot be what the header says, or show another part of the body, are refused before any model sees them."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.declaration import Span
from pipelines.errors import QualityError
from pipelines.phantom import make_chest_ct
from pipelines.quality import check_quality, outline
from pipelines.result import Volume
from pipelines.series import read_volume
from pipelines.spec import Quality
from tests.phantoms import write_series

Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    phantom = make_chest_ct(shape=(30, 64, 80), spacing_mm=(8.0, 3.0, 3.0))
    return read_volume(write_series(phantom.datasets, tmp_path_factory.mktemp("chest")))


def refused(volume: Volume, quality: Quality | None = None) -> str:
    with pytest.raises(QualityError) as refusal:
        check_quality(quality or Quality(), volume)
    return refusal.value.full_code


def test_a_chest_passes(chest: Volume) -> None:
    check_quality(Quality(empty_slices=0, lung_percent=Span(min=5, max=60), body_area_cm2=Span(min=150, max=900)), chest)


WRONG: dict[str, Change] = {
    "stored values": lambda hu: hu + 1024,
    "rescaled twice": lambda hu: hu - 1024,
    "half the slope": lambda hu: (hu + 1024) * 0.5 - 1024,
    "ten times the slope": lambda hu: (hu + 1024) * 10 - 1024,
    "air alone": lambda hu: np.full_like(hu, -1000.0),
    "nothing": np.zeros_like,
    "noise of an anonymiser": lambda hu: np.random.default_rng(0).uniform(-1024, -770, hu.shape).astype(np.float32),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_ct_that_is_not_in_hounsfield_units_is_always_refused(wrong: str, chest: Volume) -> None:
    assert refused(replace(chest, array=WRONG[wrong](chest.array))) == "QUALITY.not_hu"


def test_padding_outside_of_the_field_of_view_proves_nothing(chest: Volume) -> None:
    """Stored values with the padding of some scanners, which is below water in any units."""
    for padding in (-2000.0, -1024.0, -3024.0):
        array = chest.array + 1024
        array[:, :10] = padding
        assert refused(replace(chest, array=array)) == "QUALITY.not_hu"
    array = chest.array.copy()
    array[:, :10] = -3024.0
    check_quality(Quality(), replace(chest, array=array))


def test_air_that_was_cut_off_to_one_value_is_no_fault(chest: Volume) -> None:
    check_quality(Quality(), replace(chest, array=np.where(chest.array < -30, np.float32(-1000), np.minimum(chest.array, 600))))


def test_other_modalities_are_in_units_of_their_own(chest: Volume) -> None:
    for header in (headers := [deepcopy(header) for header in chest.headers]):
        header.Modality = "MR"
    check_quality(Quality(lung_percent=Span(min=99, max=100)), replace(chest, array=chest.array + 1024, headers=tuple(headers)))


@pytest.mark.parametrize(
    ("quality", "reason"),
    [
        ({"lung_percent": Span(min=60, max=100)}, "lung"),
        ({"bone_percent": Span(min=30, max=100)}, "bone"),
        ({"soft_tissue_percent": Span(min=0, max=10)}, "soft_tissue"),
        ({"body_area_cm2": Span(min=20, max=100)}, "body_area"),
    ],
)
def test_another_part_of_the_body_is_refused_where_that_is_asked(quality: dict[str, Any], reason: str, chest: Volume) -> None:
    assert refused(chest, Quality(**quality)) == f"QUALITY.{reason}"


def test_the_outline_of_the_phantom_is_that_which_was_drawn(chest: Volume) -> None:
    body = outline(chest.array, chest.grid)
    # |x/108|^2.4 + |y/76|^2.4 < 1: an area of 4 a b G(1 + 1/n)^2 / G(1 + 2/n)
    assert body.area_cm2 == pytest.approx(282, rel=0.05)
    assert 15 < body.lung_percent < 50
    assert 40 < body.soft_tissue_percent < 85
    assert 1 < body.bone_percent < 10


def test_slices_that_show_nothing_are_counted(chest: Volume) -> None:
    array = chest.array.copy()
    array[3], array[7] = -1024.0, 0.0
    hollow = replace(chest, array=array)
    check_quality(Quality(), hollow)
    check_quality(Quality(empty_slices=2), hollow)
    assert refused(hollow, Quality(empty_slices=1)) == "QUALITY.empty_slices"
