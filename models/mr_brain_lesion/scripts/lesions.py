"""Lesions put into a healthy head, and the truth about them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.fields import Array, Mask, Space
from scripts.tissues import BRAIN, Tissue

CORE, SURROUNDING, HEALTHY = 1, 2, 3
#: Kinds with their odds: ring with a dead centre, solid nodule, diffuse and without enhancement.
KINDS = ("ring", "nodule", "diffuse")
ODDS = (0.35, 0.3, 0.35)
#: How many lesions a head has, none to three.
COUNTS = (0.12, 0.53, 0.2, 0.15)


def draw_lesions(labels: NDArray[np.uint8], space: Space, rng: np.random.Generator) -> list[str]:
    """Change the tissues of a head in place, and name the lesions that it now has."""
    brain = np.isin(labels, BRAIN)
    brain &= space.z > -45.0
    kinds = []
    for _ in range(int(rng.choice(len(COUNTS), p=COUNTS))):
        places = np.argwhere(brain)
        if not len(places):
            break
        place = places[rng.integers(len(places))]
        kind = str(rng.choice(KINDS, p=ODDS))
        _draw_one(labels, space, rng, tuple(int(index) for index in place), kind)
        kinds.append(kind)
    return kinds


def truth_of(labels: NDArray[np.uint8], cavity: Mask) -> NDArray[np.uint8]:
    """0 outside of the skull, 1 enhancing tissue and what is dead within it, 2 oedema and infiltration, 3 all else inside of the skull."""
    truth = np.where(cavity, np.uint8(HEALTHY), np.uint8(0))
    truth[(labels == Tissue.OEDEMA) | (labels == Tissue.INFILTRATION)] = SURROUNDING
    truth[(labels == Tissue.ENHANCING) | (labels == Tissue.NECROSIS)] = CORE
    return truth


def _draw_one(labels: NDArray[np.uint8], space: Space, rng: np.random.Generator, place: tuple[int, int, int], kind: str) -> None:
    soft = np.isin(labels, (*BRAIN, Tissue.OEDEMA, Tissue.INFILTRATION))
    # Folds within a lesion are pressed flat: it takes the fluid between them, but no large cistern and no ventricle.
    room = soft | ((labels == Tissue.CSF) & (space.depth(labels == Tissue.CSF) < 2.6))
    radius_mm = {"ring": rng.uniform(8.0, 24.0), "nodule": rng.uniform(3.5, 10.0), "diffuse": rng.uniform(8.0, 26.0)}[kind]
    beyond_mm = _blob(space, rng, place, radius_mm, rough=0.08 if kind == "nodule" else 0.2)
    core = (beyond_mm < 0.0) & room
    halo_mm = 0.0 if kind == "nodule" and rng.random() < 0.3 else float(rng.uniform(3.0, 18.0))
    if kind == "diffuse":
        labels[core] = Tissue.INFILTRATION
        labels[core & soft & (beyond_mm > -0.5) & (space.noise(rng, 3.0) > 0.5)] = Tissue.OEDEMA
        return
    _draw_oedema(labels, space, rng, beyond_mm, halo_mm)
    labels[core] = Tissue.ENHANCING
    if kind == "ring":
        rim_mm = rng.uniform(2.5, 7.0) * (1.0 + 0.3 * space.noise(rng, 8.0))
        labels[core & (beyond_mm < -rim_mm)] = Tissue.NECROSIS


def _draw_oedema(labels: NDArray[np.uint8], space: Space, rng: np.random.Generator, beyond_mm: Array, halo_mm: float) -> None:
    """Oedema follows white matter far, and cortex hardly."""
    fingers_mm = halo_mm * (1.0 + 0.45 * space.noise(rng, 9.0))
    white = (labels == Tissue.WHITE) | (labels == Tissue.CAP)
    grey = (labels == Tissue.GREY) | (labels == Tissue.DEEP_GREY)
    labels[(white & (beyond_mm < fingers_mm)) | (grey & (beyond_mm < 0.35 * fingers_mm))] = Tissue.OEDEMA


def _blob(space: Space, rng: np.random.Generator, place: tuple[int, int, int], radius_mm: float, rough: float) -> Array:
    """Distance from the surface of an irregular blob in millimetres, negative inside."""
    centre = tuple(float(axis.ravel()[index]) for axis, index in zip((space.x, space.y, space.z), place, strict=True))
    stretch = np.exp(rng.normal(0.0, 0.18, 3))
    stretch /= np.cbrt(stretch.prod())
    distance = space.ellipsoid(centre, tuple(radius_mm * stretch))
    return np.asarray((distance - 1.0 + rough * space.noise(rng, max(3.0, radius_mm * 0.4))) * radius_mm, dtype=np.float32)

