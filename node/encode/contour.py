"""The outline of a finding in one slice, for viewers that draw contours and not segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outline:
    """One closed polygon around the largest connected region of a mask.

    Attributes
    ----------
    points : ndarray, shape (points, 2), float32
        (column, row) in the coordinates of SCOORD: the centre of the first pixel is (0.5, 0.5) (PS3.3 C.18.6.1.1). The last
        point repeats the first.
    pixels : int
        How many pixels it encloses, holes included.
    """

    points: NDArray[np.float32]
    pixels: int


def find_key_slice(mask: Mask) -> int:
    """Find the slice of ``mask``, shape (slice, row, column), that holds most of it; the first of several."""
    return int(np.argmax(mask.sum(axis=(1, 2))))


def fill_largest(mask: Mask) -> Mask:
    """Keep the largest 4-connected region of ``mask``, shape (row, column), and fill its holes; the first of several."""
    regions, count = ndimage.label(mask)
    if count == 0:
        raise ValueError("an empty mask has no outline")
    sizes = np.bincount(regions.ravel())
    largest = regions == 1 + int(np.argmax(sizes[1:]))
    return np.asarray(ndimage.binary_fill_holes(largest), dtype=np.bool_)


def trace_outline(mask: Mask) -> Outline:
    """Trace the largest region of ``mask``, shape (row, column), where a marching square at one half would.

    The region and what surrounds it are both 4-connected once its holes are filled, so no corner is visited twice and the
    outline is one simple polygon: it passes through the middle of each pixel edge between inside and outside.
    Its area is that of the enclosed pixels less half a pixel, for it cuts four corners more than it adds.
    """
    region = fill_largest(mask)
    corners = _walk(_edges(region))
    middles = (corners + np.roll(corners, -1, axis=0)) / 2.0
    points = _drop_straight(middles)
    return Outline(points=np.concatenate([points, points[:1]]).astype(np.float32), pixels=int(region.sum()))


def _edges(region: Mask) -> dict[tuple[int, int], tuple[int, int]]:
    """Map the start of each boundary edge to its end, as (column, row) of pixel corners; the region lies on the right hand."""
    padded = np.pad(region, 1)
    here = padded[1:-1, 1:-1]
    # (neighbour, start, end) for the four sides of a pixel, walked clockwise as the picture is seen
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    edges: dict[tuple[int, int], tuple[int, int]] = {}
    for neighbour, start, end in sides:
        rows, columns = np.nonzero(here & ~neighbour)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            edges[column + start[0], row + start[1]] = (column + end[0], row + end[1])
    return edges


def _walk(edges: dict[tuple[int, int], tuple[int, int]]) -> NDArray[np.float64]:
    first = min(edges)
    corners, corner = [first], edges[first]
    while corner != first:
        corners.append(corner)
        corner = edges[corner]
    return np.asarray(corners, dtype=np.float64)


def _drop_straight(points: NDArray[np.float64]) -> NDArray[np.float64]:
    before = points - np.roll(points, 1, axis=0)
    after = np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return np.asarray(points[turns])
