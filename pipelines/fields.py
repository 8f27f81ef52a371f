"""Smooth random fields and simple solids on a grid in millimetres: what the phantoms of the bundles' training are drawn with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Point = tuple[float, float, float]
#: Its two ends, and the radius at each.
Tube = tuple[Point, Point, tuple[float, float]]


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Coordinates in RAS millimetres about the middle of the brain: x right, y anterior, z superior; each broadcasts to the shape."""

    shape: tuple[int, int, int]
    step_mm: float
    x: Array
    y: Array
    z: Array

    def ellipsoid(self, centre: Point, semi_axes: Point, power: float = 2.0) -> Array:
        """1 on the surface of a super-ellipsoid, less inside: the distance from its centre in units of its size."""
        total = np.zeros(self.shape, dtype=np.float32)
        for axis, middle, size in zip((self.x, self.y, self.z), centre, semi_axes, strict=True):
            scaled = (axis - float(middle)) / float(size)
            total += np.square(scaled) if power == 2.0 else np.abs(scaled) ** power
        return np.asarray(np.sqrt(total) if power == 2.0 else total ** (1.0 / power), dtype=np.float32)

    def tube(self, start: Point, end: Point, radii: tuple[float, float]) -> Mask:
        """A capsule from start to end whose radius changes along it, in millimetres."""
        axis = [float(last - first) for first, last in zip(start, end, strict=True)]
        offset = [place - float(origin) for place, origin in zip((self.x, self.y, self.z), start, strict=True)]
        length = sum(step * step for step in axis)
        along = np.clip((offset[0] * axis[0] + offset[1] * axis[1] + offset[2] * axis[2]) * (1.0 / length), 0.0, 1.0)
        squared = sum(np.square(o - along * a) for o, a in zip(offset, axis, strict=True))
        return np.asarray(squared < np.square(float(radii[0]) + float(radii[1] - radii[0]) * along))

    def paint_tube(self, volume: Array, start: Point, end: Point, radii: tuple[float, float], value: float) -> None:
        """Blend a capsule into a volume in place, with soft edges; only the box around it is touched, so that trees of many are cheap."""
        widest = max(radii) + self.step_mm
        box = []
        for axis, first, last in zip((self.x, self.y, self.z), start, end, strict=True):
            origin = float(axis.ravel()[0])
            low, high = (min(first, last) - widest - origin) / self.step_mm, (max(first, last) + widest - origin) / self.step_mm
            box.append(slice(max(0, int(np.floor(low))), max(0, int(np.ceil(high)) + 1)))
        part = volume[box[0], box[1], box[2]]
        if not part.size:
            return
        offset = [
            self.x[box[0]] - np.float32(start[0]),
            self.y[:, box[1]] - np.float32(start[1]),
            self.z[:, :, box[2]] - np.float32(start[2]),
        ]
        axis_mm = [float(last - first) for first, last in zip(start, end, strict=True)]
        length = sum(step * step for step in axis_mm) + 1e-6
        along = np.clip((offset[0] * axis_mm[0] + offset[1] * axis_mm[1] + offset[2] * axis_mm[2]) * (1.0 / length), 0.0, 1.0)
        distance = np.sqrt(sum(np.square(o - along * a) for o, a in zip(offset, axis_mm, strict=True)))
        inside = np.clip((float(radii[0]) + float(radii[1] - radii[0]) * along - distance) / self.step_mm + 0.5, 0.0, 1.0)
        part += inside * (value - part)

    def noise(self, rng: np.random.Generator, sigma_mm: float) -> Array:
        """A smooth random field: mean 0, standard deviation 1, correlated over about ``sigma_mm``."""
        # Smooth fields are drawn on a grid that is coarser where they do not show it.
        factor = max(1, int(sigma_mm / self.step_mm / 2.0))
        coarse = tuple(-(-size // factor) + 1 for size in self.shape)
        field = ndimage.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), sigma_mm / self.step_mm / factor, mode="wrap")
        for axis, size in enumerate(self.shape):
            field = _stretched(field, axis, size, factor)
        return np.asarray(field / field.std(), dtype=np.float32)

    def depth(self, mask: Mask) -> Array:
        """Distance of each voxel of a mask to the nearest voxel outside of it, in millimetres; 0 outside."""
        return np.asarray(ndimage.distance_transform_edt(mask) * self.step_mm, dtype=np.float32)


def make_space(shape: tuple[int, int, int], step_mm: float, centre_mm: Point = (0.0, 0.0, 0.0)) -> Space:
    """Lay a grid whose middle is at ``centre_mm``."""
    axes = [
        ((np.arange(size) - (size - 1) / 2) * step_mm + middle).astype(np.float32) for size, middle in zip(shape, centre_mm, strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    return Space(shape, step_mm, x, y, z)


def _stretched(field: Array, axis: int, size: int, factor: int) -> Array:
    """Interpolate linearly along one axis, ``factor`` new samples for each old one."""
    if factor == 1:
        return np.take(field, np.arange(size), axis=axis)
    below, part = np.divmod(np.arange(size), factor)
    weight = (part / factor).astype(np.float32).reshape([-1 if number == axis else 1 for number in range(field.ndim)])
    return np.asarray(np.take(field, below, axis=axis) * (1 - weight) + np.take(field, below + 1, axis=axis) * weight, dtype=np.float32)


def grow_tree(
    rng: np.random.Generator, start: Point, direction: NDArray[np.float64], radius: float, length: float, depth: int
) -> Iterator[Tube]:
    """Grow a tree of tapering tubes from a point, until its branches are thinner than half a millimetre."""
    if depth == 0 or radius < 0.5:
        return
    place, heading = np.asarray(start, dtype=float), direction / np.linalg.norm(direction)
    for _ in range(3):
        heading = heading + rng.normal(0.0, 0.18, 3)
        heading /= np.linalg.norm(heading)
        end = place + heading * length / 3.0
        yield (tuple(place), tuple(end), (radius, 0.95 * radius))
        place, radius = end, 0.96 * radius
    for _ in range(2 if rng.random() < 0.85 else 3):
        aside = rng.normal(0.0, 1.0, 3)
        aside -= (aside @ heading) * heading
        angle = np.radians(rng.uniform(20.0, 50.0))
        turned = np.cos(angle) * heading + np.sin(angle) * aside / (np.linalg.norm(aside) + 1e-9)
        yield from grow_tree(rng, tuple(place), turned, radius * rng.uniform(0.68, 0.82), length * rng.uniform(0.7, 0.9), depth - 1)
