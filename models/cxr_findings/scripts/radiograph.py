"""Chest radiographs projected through phantoms, and the truth about them. Needs RadNode's own phantom (`pipelines.anatomy`)."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pipelines.anatomy import Build, Chest, draw_build, draw_chest
from pipelines.fields import Array, Space, make_space
from scipy import ndimage

STEP_MM = 2.0
#: Left to right, back to front, foot to head.
SHAPE = (176, 116, 152)
FINDINGS = ("effusion", "cardiomegaly")
#: Width of the heart over width of the chest: from here on, and up to here.
LARGE_HEART, NORMAL_HEART = 0.54, 0.48
#: Attenuation of water at about 70 keV, per millimetre.
WATER = 0.0193


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """One postero-anterior radiograph.

    Attributes
    ----------
    image : ndarray, shape (row, column), float32
        0 to 1, bone bright; the patient's right is on the left, the head at the top.
    truth : ndarray, shape (finding,), uint8
        In the order of `FINDINGS`.
    effusion : tuple of float
        Height of the fluid in the right and the left lung, in millimetres; 0 is none.
    """

    image: Array
    truth: NDArray[np.uint8]
    effusion: tuple[float, float]


def make_radiograph(seed: int) -> Radiograph:
    """Make one radiograph; about three in ten show nothing, and a third has nodules, which are no finding here."""
    rng = np.random.default_rng(seed)
    has_nodules, *drawn = rng.random(1 + len(FINDINGS)) < 0.32
    truth = np.array(drawn, dtype=np.uint8)
    space = make_space(SHAPE, STEP_MM)
    chest = draw_chest(space, _diseased(draw_build(rng), truth, rng), rng, vessels=7)
    if has_nodules:
        for _ in range(int(rng.integers(1, 4))):
            _insert_nodule(chest, space, rng)
    return Radiograph(_expose(chest.hounsfield, rng), truth, chest.build.effusion)


def _diseased(build: Build, truth: NDArray[np.uint8], rng: np.random.Generator) -> Build:
    """Fit the heart's size and the fluid to the truth."""
    wide, deep = build.inner
    ratio = float(rng.uniform(LARGE_HEART, 0.68) if truth[1] else rng.uniform(0.38, NORMAL_HEART))
    x, y, z = build.heart_axes
    grown = ratio * wide / x
    axes = (ratio * wide, min(y * grown, 0.72 * deep), z * (0.4 + 0.6 * grown))
    heights = [0.0, 0.0]
    if truth[0]:
        heights[int(rng.integers(2))] = float(rng.uniform(28.0, 95.0))
        if rng.random() < 0.3:
            heights = [float(rng.uniform(28.0, 70.0)), float(rng.uniform(28.0, 70.0))]
    return replace(build, heart_axes=axes, effusion=(heights[0], heights[1]))


def _insert_nodule(chest: Chest, space: Space, rng: np.random.Generator) -> None:
    """Draw one solid nodule of 12 to 36 mm into the lungs."""
    places = np.argwhere(ndimage.binary_erosion(chest.lungs > 0, iterations=3)[::2, ::2, ::2]) * 2
    place = places[rng.integers(len(places))]
    middle = tuple(float(axis.ravel()[index]) for axis, index in zip((space.x, space.y, space.z), place, strict=True))
    radius = float(np.exp(rng.uniform(np.log(6.0), np.log(18.0))))
    stretch = rng.uniform(0.85, 1.2, 3)
    distance = space.ellipsoid(middle, tuple(radius * stretch)) + 0.1 * space.noise(rng, max(4.0, 0.4 * radius))
    inside = np.clip((1.0 - distance) * radius / space.step_mm + 0.5, 0.0, 1.0) * (chest.lungs > 0)
    chest.hounsfield[...] += inside * np.maximum(rng.normal(40.0, 25.0) - chest.hounsfield, 0.0)


def _expose(hounsfield: Array, rng: np.random.Generator) -> Array:
    """Beer and Lambert along the beam, scatter, focal spot, quanta, and the tone curve of a processed image."""
    attenuation = WATER * np.clip(1.0 + hounsfield / 1000.0, 0.0, None) * np.where(hounsfield > 150.0, 1.0 + rng.uniform(0.1, 0.5), 1.0)
    primary = np.exp(-attenuation.sum(axis=1) * STEP_MM)
    scatter = ndimage.gaussian_filter(primary, 12.0) * rng.uniform(0.1, 0.6)
    exposed = ndimage.gaussian_filter(primary + scatter, rng.uniform(0.2, 0.6))
    quanta = 10.0 ** rng.uniform(4.3, 5.8)
    counted = np.maximum(rng.poisson(np.clip(exposed, 0.0, 1.0) * quanta), 1.0) / quanta
    picture = _as_picture(-np.log(counted))
    low, high = np.percentile(picture, [rng.uniform(0.5, 8.0), rng.uniform(98.5, 99.8)])
    scaled = np.clip((picture - low) / (high - low), 0.0, 1.0)
    # Scanners lift what is dark and sharpen edges, each in its own way.
    blurred = ndimage.gaussian_filter(scaled, 8.0)
    return np.asarray(np.clip(scaled + rng.uniform(0.0, 0.6) * (scaled - blurred), 0.0, 1.0) ** rng.uniform(0.7, 1.5), dtype=np.float32)


def _as_picture(projection: NDArray[np.generic]) -> Array:
    """From (x to the right, z up) to rows from the top and columns from the patient's right."""
    return np.asarray(projection[::-1, ::-1].T, dtype=np.float32)


def main() -> None:
    """``python -m scripts.radiograph FILE FIRST COUNT``: write radiographs and their truth into one .npz file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    given = parser.parse_args()
    made = [make_radiograph(seed) for seed in range(given.first, given.first + given.count)]
    np.savez_compressed(
        given.file,
        image=np.stack([np.rint(one.image * 255).astype(np.uint8) for one in made]),
        truth=np.stack([one.truth for one in made]),
        seed=np.arange(given.first, given.first + given.count),
    )


if __name__ == "__main__":
    main()
