"""Nodules put into the lungs of a phantom, and the truth about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
KINDS, ODDS = ("solid", "part-solid", "ground glass"), (0.7, 0.15, 0.15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodule:
    """One nodule: index of its middle, size and kind."""

    place: tuple[int, int, int]
    diameter_mm: float
    kind: str


def insert_nodule(
    hounsfield: Array,
    lungs: NDArray[np.bool_],
    truth: NDArray[np.uint8],
    place: tuple[int, int, int],
    step_mm: float,
    rng: np.random.Generator,
    sizes_mm: tuple[float, float] = (4.5, 28.0),
) -> Nodule:
    """Draw one nodule into a sharp volume and its truth, in place.

    Parameters
    ----------
    hounsfield : ndarray, shape (X, Y, Z)
        Without noise.
    lungs : ndarray of bool
        Nodules stay within, but for two voxels into the pleura.
    truth : ndarray of uint8
        Set to 1 where more than half of a voxel is nodule.
    """
    diameter = float(np.exp(rng.uniform(*np.log(sizes_mm))))
    kind = str(rng.choice(KINDS, p=ODDS))
    shape, core = _shape(rng, diameter, step_mm, kind)
    half = np.array(shape.shape) // 2
    low, high = np.array(place) - half, np.array(place) - half + np.array(shape.shape)
    inner, outer = np.maximum(low, 0), np.minimum(high, hounsfield.shape)
    there = tuple(slice(int(a), int(b)) for a, b in zip(inner, outer, strict=True))
    here = tuple(slice(int(a - c), int(b - c)) for a, b, c in zip(inner, outer, low, strict=True))
    room = ndimage.binary_dilation(lungs[there], iterations=2)
    for part, density in (
        (shape, {"solid": rng.normal(30, 35), "part-solid": rng.normal(-250, 80), "ground glass": rng.normal(-600, 70)}[kind]),
        (core, rng.normal(20, 30)),
    ):
        if part is not None:
            filled, tissue = part[here] * room, hounsfield[there]
            tissue += np.where(density > tissue, filled * (density - tissue), 0.0).astype(np.float32)
    truth[there][shape[here] * room > 0.5] = 1
    return Nodule(place=place, diameter_mm=diameter, kind=kind)


def _shape(rng: np.random.Generator, diameter_mm: float, step_mm: float, kind: str) -> tuple[Array, Array | None]:
    """How much of each voxel is nodule, and its solid core if it is part-solid: lobulated, often with spicules."""
    radius = diameter_mm / 2.0
    reach = int(np.ceil((radius * 1.8 + 2.0) / step_mm))
    axis = np.arange(-reach, reach + 1) * step_mm
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    stretch = rng.uniform(0.8, 1.25, 3)
    stretch /= np.cbrt(stretch.prod())
    distance = np.sqrt((x / stretch[0]) ** 2 + (y / stretch[1]) ** 2 + (z / stretch[2]) ** 2) + 1e-6
    direction = np.stack([x, y, z], axis=-1) / distance[..., None]
    rough = np.zeros_like(distance)
    for _ in range(6):
        wave = rng.normal(0.0, 1.0, 3)
        rough += rng.normal(0.0, 0.06) * np.cos(direction @ (wave * rng.uniform(3.0, 8.0) / np.linalg.norm(wave)) + rng.uniform(0.0, 6.3))
    if rng.random() < 0.3:
        for _ in range(int(rng.integers(4, 10))):
            spike = rng.normal(0.0, 1.0, 3)
            rough += rng.uniform(0.15, 0.5) * np.exp(-(1.0 - direction @ (spike / np.linalg.norm(spike))) / 0.015)
    soft = (0.3 if kind == "solid" else 0.6) * step_mm
    whole = 1.0 / (1.0 + np.exp(np.clip((distance - radius * (1.0 + rough)) / soft, -40.0, 40.0)))
    if kind != "part-solid":
        return whole.astype(np.float32), None
    core = 1.0 / (1.0 + np.exp(np.clip((distance - 0.5 * radius * (1.0 + rough)) / (0.3 * step_mm), -40.0, 40.0)))
    return whole.astype(np.float32), core.astype(np.float32)
