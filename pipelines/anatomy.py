"""Chests that differ from one another: what the networks of our own chest bundles are trained on.

`pipelines.phantom` draws one chest, on whatever grid a test asks for; this module draws another one for every seed, on an upright grid,
with vessels that branch, airways, and disease whose place and size are known. Nothing in it comes from an image of a patient.
Coordinates are RAS millimetres about the middle of the chest: x towards the patient's right, y anterior, z superior.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.fields import Array, Mask, Point, Space, Tube, grow_tree

RIGHT_LUNG, LEFT_LUNG = 1, 2
AIR_HU, FAT_HU, MUSCLE_HU = -1000.0, -105.0, 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What differs from chest to chest, in millimetres; `draw_build` draws it.

    Attributes
    ----------
    half_width, half_depth : float
        Of the trunk.
    fat, muscle : float
        Thickness around the ribs.
    power : float
        Of the trunk's super-ellipse; 2 is round.
    apex, floor : float
        Height of the lungs' tips, and of the diaphragm's edge.
    domes : tuple of float
        How much higher the right and the left dome are.
    heart_centre, heart_axes : tuple of float
        x, y, z.
    contrast : bool
        Contrast medium in the vessels.
    effusion : tuple of float
        Height of fluid above the diaphragm at the back of the right and the left lung; 0 is none.
    """

    half_width: float
    half_depth: float
    fat: float
    muscle: float
    power: float
    apex: float
    floor: float
    domes: tuple[float, float]
    heart_centre: Point
    heart_axes: Point
    contrast: bool
    effusion: tuple[float, float] = (0.0, 0.0)

    @property
    def inner(self) -> tuple[float, float]:
        """Half width and half depth of the chest's cavity."""
        wall = self.fat + self.muscle
        return self.half_width - wall, self.half_depth - wall


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chest:
    """A drawn chest.

    Attributes
    ----------
    hounsfield : ndarray, shape (X, Y, Z), float32
        Sharp and without noise.
    lungs : ndarray, shape (X, Y, Z), uint8
        1 right, 2 left, with vessels and small airways, without effusion.
    build : Build
    """

    hounsfield: Array
    lungs: NDArray[np.uint8]
    build: Build


def draw_build(rng: np.random.Generator) -> Build:
    """Draw one healthy build."""
    half_width = float(rng.uniform(130.0, 162.0))
    half_depth = half_width * float(rng.uniform(0.62, 0.74))
    fat, muscle = float(rng.uniform(6.0, 24.0)), float(rng.uniform(10.0, 18.0))
    deep = half_depth - fat - muscle
    return Build(
        half_width=half_width,
        half_depth=half_depth,
        fat=fat,
        muscle=muscle,
        power=float(rng.uniform(2.1, 2.7)),
        apex=float(rng.uniform(105.0, 135.0)),
        floor=float(rng.uniform(-125.0, -85.0)),
        domes=(float(rng.uniform(35.0, 60.0)), float(rng.uniform(28.0, 52.0))),
        heart_centre=(-float(rng.uniform(14.0, 26.0)), deep * float(rng.uniform(0.15, 0.35)), float(rng.uniform(-45.0, -25.0))),
        heart_axes=(float(rng.uniform(44.0, 54.0)), min(deep * 0.6, float(rng.uniform(38.0, 50.0))), float(rng.uniform(46.0, 58.0))),
        contrast=bool(rng.random() < 0.5),
    )


def draw_chest(space: Space, build: Build, rng: np.random.Generator, vessels: int = 7) -> Chest:
    """Draw one chest.

    Parameters
    ----------
    space : Space
        What lies outside of it is cut off.
    build : Build
    rng : Generator
        Densities, texture, ribs, and how vessels and airways branch.
    vessels : int
        Trees of vessels for each lung.

    Returns
    -------
    Chest
    """
    wide, deep = build.inner
    taper = 1.0 - 0.16 * np.square(np.clip((space.z - 30.0) / 110.0, 0.0, 1.3))
    trunk = _ring(space, build, taper, build.half_width, build.half_depth)
    hounsfield = np.full(space.shape, AIR_HU, dtype=np.float32)
    hounsfield[trunk < 1.0] = FAT_HU + rng.normal(0.0, 6.0)
    hounsfield[_ring(space, build, taper, build.half_width - build.fat, build.half_depth - build.fat) < 1.0] = MUSCLE_HU + rng.normal(
        0.0, 6.0
    )
    cavity = _ring(space, build, taper, wide, deep)
    hounsfield[cavity < 1.0] = rng.normal(25.0, 10.0)
    blood = float(rng.uniform(130.0, 320.0)) if build.contrast else float(rng.normal(45.0, 6.0))
    heart = space.ellipsoid(build.heart_centre, build.heart_axes)
    lungs = _lungs(space, build, cavity, heart, rng)
    _draw_organs(hounsfield, space, build, lungs, (cavity < 1.0), heart, blood, rng)
    _draw_lung_tissue(hounsfield, space, lungs, deep, rng)
    _draw_effusion(hounsfield, space, build, lungs, rng)
    _draw_bones(hounsfield, space, build, rng)
    _draw_trees(hounsfield, space, build, lungs, blood, vessels, rng)
    return Chest(hounsfield=hounsfield, lungs=lungs, build=build)


def _ring(space: Space, build: Build, taper: Array, half_width: float, half_depth: float) -> Array:
    """1 on a super-elliptic cylinder that tapers towards the shoulders, less inside."""
    return np.asarray(
        np.abs(space.x / (half_width * taper)) ** np.float32(build.power)
        + np.abs(space.y / (half_depth * taper)) ** np.float32(build.power),
        dtype=np.float32,
    )


def _lungs(space: Space, build: Build, cavity: Array, heart: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The cavity above the diaphragm, beside the mediastinum and outside of the heart."""
    wide, deep = build.inner
    middle = float(rng.uniform(15.0, 24.0)) * (1.0 + 0.4 * np.clip(-space.z / 110.0, 0.0, 1.0))
    waist = middle * (0.55 + 0.8 * np.exp(-np.square((space.y - 0.1 * deep) / (0.5 * deep))))
    start = build.apex * 0.2
    narrowing = np.sqrt(np.clip(1.0 - np.square((np.maximum(space.z, start) - start) / (build.apex - start)), 0.0, 1.0))
    gutter = np.square(space.x / 24.0) + np.square((space.y + 0.95 * deep) / 28.0) > 1.0
    common = (cavity < 0.96 * np.square(narrowing) + 1e-6) & (space.z < build.apex) & gutter & (heart > 1.0)
    lungs = np.zeros(space.shape, dtype=np.uint8)
    for side, label, dome in ((1.0, RIGHT_LUNG, build.domes[0]), (-1.0, LEFT_LUNG, build.domes[1])):
        top = dome * np.exp(-np.square((space.x - side * 0.48 * wide) / (0.4 * wide)) - np.square((space.y - 0.1 * deep) / (0.8 * deep)))
        lungs[common & (side * space.x > waist) & (space.z > build.floor + top)] = label
    return lungs


def _draw_organs(
    hounsfield: Array,
    space: Space,
    build: Build,
    lungs: NDArray[np.uint8],
    cavity: Mask,
    heart: Array,
    blood: float,
    rng: np.random.Generator,
) -> None:
    """Heart, liver, gas in the stomach, aorta and large veins."""
    wide, deep = build.inner
    hounsfield[(heart < 0.93) & cavity & (lungs == 0)] = blood
    below = cavity & (lungs == 0) & (space.z < build.floor + max(build.domes))
    hounsfield[below & (space.x > -10.0) & (heart > 1.0)] = rng.normal(100.0 if build.contrast else 58.0, 10.0)
    if rng.random() < 0.6:
        bubble = space.ellipsoid((-0.5 * wide, 0.2 * deep, build.floor - 8.0), (38.0, 30.0, 22.0))
        hounsfield[(bubble < 1.0) & below] = -960.0
    arch = build.apex * 0.42
    for start, end, radii in (
        ((-18.0, -0.62 * deep, -160.0), (-20.0, -0.55 * deep, arch), (12.0, 13.0)),
        ((-20.0, -0.5 * deep, arch), (8.0, 0.25 * deep, arch - 6.0), (13.0, 14.0)),
        ((22.0, 0.15 * deep, 0.0), (20.0, 0.1 * deep, 160.0), (8.0, 8.0)),
    ):
        space.paint_tube(hounsfield, start, end, radii, blood)


def _draw_lung_tissue(hounsfield: Array, space: Space, lungs: NDArray[np.uint8], deep: float, rng: np.random.Generator) -> None:
    """Density that grows towards the back, with texture, and in some chests emphysema or dependent density."""
    inside = lungs > 0
    density = rng.uniform(-890.0, -790.0) - rng.uniform(0.0, 80.0) * space.y / deep + rng.uniform(8.0, 30.0) * space.noise(rng, 2.5)
    if rng.random() < 0.3:
        density = density - rng.uniform(30.0, 90.0) * (space.noise(rng, 5.0) > 1.0)
    if rng.random() < 0.3:
        density = density + rng.uniform(60.0, 300.0) * (space.y < -deep * rng.uniform(0.6, 0.8))
    hounsfield[inside] = np.broadcast_to(density, space.shape)[inside]


def _draw_effusion(hounsfield: Array, space: Space, build: Build, lungs: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Fluid that lies deepest at the back and climbs at the sides, as upright patients have it; it is no lung any more."""
    wide, deep = build.inner
    for label, height in ((RIGHT_LUNG, build.effusion[0]), (LEFT_LUNG, build.effusion[1])):
        if height <= 0.0:
            continue
        level = build.floor + height * (1.0 + 0.35 * (np.abs(space.x) / wide) ** 4 - 0.25 * space.y / deep)
        fluid = (lungs == label) & (space.z < level)
        hounsfield[fluid] = rng.normal(10.0, 5.0)
        lungs[fluid] = 0


def _draw_bones(hounsfield: Array, space: Space, build: Build, rng: np.random.Generator) -> None:
    """Spine, sternum, clavicles and ribs that descend towards the front."""
    wide, deep = build.inner
    spine_y, radius = -0.98 * deep, float(rng.uniform(15.0, 19.0))
    spine = np.square(space.x / radius) + np.square((space.y - spine_y) / (0.85 * radius))
    body = np.broadcast_to(((space.z + 1000.0) % float(rng.uniform(26.0, 31.0))) > 4.5, space.shape) & (spine < 1.0)
    hounsfield[body] = rng.uniform(130.0, 240.0)
    hounsfield[body & (spine > 0.8)] = rng.uniform(300.0, 600.0)
    space.paint_tube(hounsfield, (0.0, spine_y - 1.5 * radius, -170.0), (0.0, spine_y - 1.5 * radius, 170.0), (5.0, 5.0), 350.0)
    space.paint_tube(
        hounsfield, (0.0, deep + 0.4 * build.muscle, -20.0), (0.0, 0.95 * deep, 0.7 * build.apex), (9.0, 12.0), rng.uniform(150.0, 350.0)
    )
    for side in (-1.0, 1.0):
        space.paint_tube(
            hounsfield, (side * 12.0, deep, 0.8 * build.apex), (side * 0.95 * wide, 0.2 * deep, 1.05 * build.apex), (6.0, 6.0), 450.0
        )
    pitch, drop, thick = float(rng.uniform(22.0, 27.0)), float(rng.uniform(35.0, 65.0)), float(rng.uniform(4.0, 5.5))
    cortex, marrow = float(rng.uniform(400.0, 850.0)), float(rng.uniform(80.0, 250.0))
    for start, end in _rib_segments(build, pitch, drop, float(np.abs(space.z).max())):
        space.paint_tube(hounsfield, start, end, (thick, thick), cortex)
        space.paint_tube(hounsfield, start, end, (0.55 * thick, 0.55 * thick), marrow)


def _rib_segments(build: Build, pitch: float, drop: float, reach: float) -> Iterator[tuple[Point, Point]]:
    """Short straight pieces of every rib on both sides."""
    wide, deep = build.inner
    angles = np.linspace(-np.pi / 2 + 0.25, np.pi / 2 - 0.35, 14)
    exponent = 2.0 / build.power
    for top in np.arange(-reach - drop, reach + drop, pitch):
        heights = top - drop * (np.sin(angles) + 1.0) / 2.0
        taper = 1.0 - 0.16 * np.square(np.clip((heights - 30.0) / 110.0, 0.0, 1.3))
        across = (wide + 0.45 * build.muscle) * np.abs(np.cos(angles)) ** exponent * taper
        along = (deep + 0.45 * build.muscle) * np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** exponent * taper
        for side in (-1.0, 1.0):
            points = [(side * float(x), float(y), float(z)) for x, y, z in zip(across, along, heights, strict=True)]
            yield from ((first, last) for first, last in pairwise(points) if abs(first[2]) < reach + 10.0)


def _draw_trees(
    hounsfield: Array, space: Space, build: Build, lungs: NDArray[np.uint8], blood: float, vessels: int, rng: np.random.Generator
) -> None:
    """Vessels inside the lungs; trachea and bronchi with their walls, which are no lung where they are large."""
    _, deep = build.inner
    carina = (float(rng.normal(0.0, 3.0)), -deep * float(rng.uniform(0.05, 0.2)), 0.3 * build.apex)
    drawn, large = hounsfield.copy(), np.zeros(space.shape, dtype=np.float32)
    airways: list[Tube] = []
    for side in (1.0, -1.0):
        direction = np.array([side, -0.15, -0.75])
        hilum = tuple(np.asarray(carina) + direction / np.linalg.norm(direction) * rng.uniform(40.0, 50.0))
        for _ in range(vessels):
            aim = np.array([side * rng.uniform(0.2, 1.0), rng.normal(0.0, 0.8), rng.normal(0.0, 0.9)])
            start = tuple(np.asarray(hilum) + rng.normal(0.0, 4.0, 3))
            for first, last, radii in grow_tree(rng, start, aim, float(rng.uniform(3.0, 5.0)), float(rng.uniform(26.0, 38.0)), 6):
                space.paint_tube(drawn, first, last, radii, blood * 0.9)
        airways += [(carina, hilum, (6.0, 4.0))]
        airways += list(grow_tree(rng, hilum, np.array([side * 0.5, -0.2, -0.8]), 3.2, 24.0, 3))
    inside = lungs > 0
    hounsfield[inside] = drawn[inside]
    airways.append((carina, (carina[0] * 0.3, carina[1] - 4.0, 170.0), (float(rng.uniform(7.0, 9.0)),) * 2))
    for first, last, radii in airways:
        space.paint_tube(hounsfield, first, last, (radii[0] + 1.3, radii[1] + 1.3), 20.0)
        if radii[0] > 5.0:
            space.paint_tube(large, first, last, (radii[0] + 1.3, radii[1] + 1.3), 1.0)
    for first, last, radii in airways:
        space.paint_tube(hounsfield, first, last, radii, -985.0)
    lungs[large > 0.5] = 0


def acquire_ct(hounsfield: Array, step_mm: float, rng: np.random.Generator) -> Array:
    """Blur as a reconstruction kernel does, and add noise with a ramp-shaped spectrum within each axial slice; shape (X, Y, Z)."""
    sharpness = np.array([rng.uniform(0.45, 1.0)] * 2 + [rng.uniform(0.4, 1.3)]) / step_mm
    image = ndimage.gaussian_filter(hounsfield, sharpness)
    white = rng.standard_normal(image.shape, dtype=np.float32)
    across, down = np.fft.fftfreq(image.shape[0], step_mm)[:, None], np.fft.rfftfreq(image.shape[1], step_mm)[None]
    frequency = np.hypot(across, down)
    response = np.sqrt(frequency + 0.015) * np.exp(-np.square(frequency / rng.uniform(0.18, 0.45)))
    noise = np.fft.irfft2(np.fft.rfft2(white, axes=(0, 1)) * response[..., None], s=image.shape[:2], axes=(0, 1))
    noise = ndimage.gaussian_filter1d(noise, 0.5 / step_mm, axis=2)
    return np.asarray(image + noise * (rng.uniform(6.0, 40.0) / noise.std()), dtype=np.float32)
