"""The outline in the key slice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from node.encode.contour import Outline, fill_largest, find_key_slice, trace_outline
from node.encode.gate_outline import rasterize

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans()).filter(np.any)


def area_of(outline: Outline) -> float:
    """Area of the polygon in pixels, by the shoelace formula."""
    x, y = outline.points.astype(float).T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2.0


@given(masks)
@settings(deadline=None, max_examples=300)
def test_an_outline_encloses_exactly_the_largest_region_with_its_holes(mask):
    outline = trace_outline(mask)
    assert np.array_equal(rasterize(outline.points.astype(float), mask.shape), fill_largest(mask))


@given(masks)
@settings(deadline=None, max_examples=300)
def test_the_area_of_an_outline_is_that_of_its_pixels_less_half_a_pixel(mask):
    outline = trace_outline(mask)
    assert area_of(outline) == outline.pixels - 0.5


@given(masks)
@settings(deadline=None, max_examples=100)
def test_an_outline_is_closed_and_visits_no_other_point_twice(mask):
    points = [tuple(point) for point in trace_outline(mask).points.tolist()]
    assert points[0] == points[-1]
    assert len(set(points)) == len(points) - 1


def test_the_outline_of_one_pixel_is_a_diamond_around_its_centre():
    mask = np.zeros((5, 7), dtype=bool)
    mask[2, 4] = True
    points = trace_outline(mask).points
    assert points.dtype == np.float32
    assert {tuple(p) for p in points.tolist()} == {(4.5, 2.0), (5.0, 2.5), (4.5, 3.0), (4.0, 2.5)}


def test_a_region_at_the_border_of_the_picture_is_outlined_within_it():
    outline = trace_outline(np.ones((4, 6), dtype=bool))
    assert outline.points.min() == 0.0
    assert (outline.points.max(axis=0) == (6.0, 4.0)).all()


def test_only_the_larger_of_two_regions_is_outlined():
    mask = np.zeros((6, 10), dtype=bool)
    mask[1:3, 1:3] = True
    mask[2:5, 5:9] = True
    assert trace_outline(mask).pixels == 12


def test_an_empty_mask_has_no_outline():
    with pytest.raises(ValueError, match="empty"):
        trace_outline(np.zeros((3, 3), dtype=bool))


def test_the_key_slice_is_the_one_that_holds_most():
    mask = np.zeros((3, 4, 4), dtype=bool)
    mask[1, :2], mask[2, :3] = True, True
    assert find_key_slice(mask) == 2
