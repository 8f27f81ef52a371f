"""The anatomy of a head, drawn from geometry and random fields: no image of any patient went into it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.fields import Array, Mask, Point, Space
from scripts.tissues import Tissue

Labels = NDArray[np.uint8]

#: Semi-axes of the inner table of the skull in millimetres: left to right, back to front, foot to head.
BRAIN_MM = (66.0, 83.0, 66.0)
#: Cortex is about this thick.
CORTEX_MM = 3.0


def draw_head(space: Space, rng: np.random.Generator) -> tuple[Labels, Mask]:
    """Draw one head without disease.

    Parameters
    ----------
    space : Space
        Should reach from the nose to the vertex; whatever lies outside is cut off, as in a scan.
    rng : Generator
        Sizes, proportions, folds and everything else that differs between heads.

    Returns
    -------
    labels : ndarray, shape of the space, uint8
        A `Tissue` for each voxel.
    cavity : ndarray, shape of the space, bool
        Inside of the skull: brain with its fluid, vessels and membranes.
    """
    size = np.array(BRAIN_MM) * rng.normal(1.0, 0.05, 3)
    warped = _warp(space, rng)
    labels = np.zeros(space.shape, dtype=np.uint8)
    cranium = warped.ellipsoid((0.0, 0.0, 0.0), tuple(size), 2.2)
    vault = (cranium < 1.0) & (space.z > _floor(warped, rng))
    _draw_shell(labels, warped, cranium, size, rng)
    _draw_base(labels, space, warped, size, vault, rng)
    _draw_brain(labels, space, warped, vault, size, rng)
    return labels, vault


def _warp(space: Space, rng: np.random.Generator) -> Space:
    """The same grid seen through a smooth deformation, and tilted a little: heads are neither symmetric nor straight."""
    angles = rng.normal(0.0, 0.06, 3)
    x, y, z = space.x, space.y, space.z
    bend = [space.noise(rng, 28.0) * rng.uniform(0.8, 2.0) for _ in range(3)]
    return Space(
        space.shape,
        space.step_mm,
        np.asarray(x + angles[0] * y + angles[1] * z + bend[0], dtype=np.float32),
        np.asarray(y - angles[0] * x + angles[2] * z + bend[1], dtype=np.float32),
        np.asarray(z - angles[1] * x - angles[2] * y + bend[2], dtype=np.float32),
    )


def _floor(space: Space, rng: np.random.Generator) -> Array:
    """Height of the skull base: frontal, middle and posterior fossa, each lower than the one before it."""
    front, middle, back = -20.0 + rng.normal(0, 3), -40.0 + rng.normal(0, 3), -62.0 + rng.normal(0, 4)
    to_middle = 1.0 / (1.0 + np.exp((space.y - 28.0) / 4.0))
    to_back = 1.0 / (1.0 + np.exp((space.y + 22.0) / 4.0))
    # The sella between the temporal lobes stands higher than their poles.
    sella = 16.0 * np.exp(-((space.x / 16.0) ** 2)) * to_middle * (1.0 - to_back)
    return np.asarray(front + (middle - front) * to_middle + (back - middle) * to_back + sella, dtype=np.float32)


def _draw_shell(labels: Labels, space: Space, cranium: Array, size: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Scalp, fat, bone with its marrow, from outside inwards; the face hangs below the front."""
    mean = float(size.mean())
    bone, fat, skin = rng.uniform(5.0, 9.0), rng.uniform(2.0, 6.0), rng.uniform(1.5, 2.5)
    jaw = space.ellipsoid((0.0, 28.0, -62.0), (56.0 + rng.normal(0, 4), 62.0, 58.0), 2.5)
    nape = space.ellipsoid((0.0, -30.0, -80.0), (52.0 + rng.normal(0, 4), 50.0, 60.0), 2.5)
    beyond_mm = np.minimum(np.minimum((cranium - 1.0) * mean, (jaw - 1.0) * 55.0 + 10.0), (nape - 1.0) * 50.0 + 10.0)
    thick = bone + space.noise(rng, 15.0)
    labels[beyond_mm < thick + fat + skin] = Tissue.MUSCLE
    labels[beyond_mm < thick + fat] = Tissue.FAT
    # Chewing and neck muscles lie between fat and bone, low at the sides.
    low = space.z < -8.0 + 4.0 * space.noise(rng, 12.0)
    labels[(beyond_mm < thick + fat * 0.4) & low] = Tissue.MUSCLE
    labels[beyond_mm < thick] = Tissue.BONE
    diploe = (cranium - 1.0) * mean
    inner = (diploe > thick * 0.3) & (diploe < thick * 0.72) & (space.noise(rng, 8.0) > -0.6) & (beyond_mm < thick)
    labels[inner] = Tissue.MARROW


def _draw_base(labels: Labels, space: Space, warped: Space, size: NDArray[np.float64], vault: Mask, rng: np.random.Generator) -> None:
    """Everything below the brain: a mosaic of muscle, fat, bone, mucosa and air, with eyes, nose and vessels in it."""
    below = (labels > 0) & ~vault & (warped.z < 5.0) & (warped.ellipsoid((0.0, 8.0, -62.0), (62.0, 72.0, 60.0), 2.3) < 1.0)
    second = space.noise(rng, 5.0)
    labels[below] = _mosaic(space, rng)[below]
    labels[below & (second > 1.5)] = Tissue.VESSEL
    near = space.depth(~vault)
    labels[(near > 0) & (near < rng.uniform(2.5, 5.0)) & below] = Tissue.BONE
    labels[below & (near > 3.0) & (near < 14.0) & (second < -0.4) & (warped.y < 30.0)] = Tissue.MARROW
    nose = below & (warped.ellipsoid((0.0, 48.0, -48.0), (22.0, 38.0, 30.0), 2.3) < 1.0)
    labels[nose] = np.where(second[nose] > rng.uniform(0.0, 0.8), np.uint8(Tissue.MUCOSA), np.uint8(Tissue.AIR))
    mastoid = below & (warped.ellipsoid((0.0, -28.0, -52.0), (70.0, 18.0, 16.0)) < 1.0) & (np.abs(warped.x) > 36.0)
    labels[mastoid & (second > 0.4)] = Tissue.AIR
    if rng.random() < 0.5:
        labels[below & (warped.ellipsoid((0.0, 20.0, -70.0), (16.0, 10.0, 22.0)) < 1.0)] = Tissue.MUCOSA
    for side in (-1.0, 1.0):
        eye = (side * 32.0, size[1] * 0.78, -34.0)
        labels[(warped.ellipsoid(eye, (20.0, 24.0, 18.0)) < 1.0) & (labels > 0) & ~vault] = Tissue.FAT
        labels[warped.tube((side * 12.0, size[1] * 0.45, -32.0), eye, (2.5, 3.0))] = Tissue.MUSCLE
        labels[warped.ellipsoid((eye[0], eye[1] + 7.0, eye[2]), (12.0, 12.0, 12.0)) < 1.0] = Tissue.VITREOUS
        labels[warped.tube((side * 16.0, 0.0, -90.0), (side * 12.0, 6.0, -36.0), (3.0, 2.5)) & ~vault] = Tissue.VESSEL


def _mosaic(space: Space, rng: np.random.Generator) -> Labels:
    """Patches of whatever is found below a brain, each head with its own share and size of them."""
    kinds = np.array([Tissue.FAT, Tissue.ODD_1, Tissue.MUSCLE, Tissue.MUCOSA, Tissue.ODD_2, Tissue.BONE, Tissue.ODD_3, Tissue.AIR], dtype=np.uint8)
    rng.shuffle(kinds)
    shares = np.cumsum(rng.dirichlet(np.full(len(kinds), 2.0)))[:-1]
    field = space.noise(rng, rng.uniform(3.0, 7.0)) + 0.5 * space.noise(rng, 14.0)
    some = field[::4, ::4, ::4]
    return kinds[np.searchsorted(np.quantile(some, shares), field)]


def _draw_brain(labels: Labels, space: Space, warped: Space, vault: Mask, size: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Cerebrum, cerebellum and brain stem with cortex, sulci, ventricles, nuclei, dura and vessels."""
    outer = space.depth(vault)
    tentorium = -12.0 - 0.35 * np.abs(warped.x) + rng.normal(0, 2)
    low_back = (warped.y < -14.0) & (warped.z < tentorium)
    stem = warped.tube((0.0, -14.0, -8.0), (0.0, -26.0, -95.0), (13.0, 7.5))
    fluid = _sulci(space, warped, outer, low_back, rng) & ~stem
    brain = vault & ~fluid
    labels[vault] = Tissue.CSF
    labels[stem & (warped.ellipsoid((0.0, -22.0, -60.0), (11.0, 13.0, 60.0)) < 1.0) & (labels > 0)] = Tissue.CSF
    labels[brain] = Tissue.WHITE
    cortex = np.where(low_back, 2.2, CORTEX_MM * rng.uniform(0.9, 1.25))
    labels[brain & (space.depth(brain) < cortex)] = Tissue.GREY
    labels[stem & (labels > 0)] = Tissue.WHITE
    _draw_nuclei(labels, warped, brain, rng)
    _draw_ventricles(labels, space, warped, vault, rng)
    _draw_dura(labels, warped, vault, outer, tentorium, size, rng)


def _sulci(space: Space, warped: Space, outer: Array, low_back: Mask, rng: np.random.Generator) -> Mask:
    """Fluid around and between the folds: sheets where a random field is near zero, as deep as folds are."""
    folds = space.noise(rng, rng.uniform(5.0, 6.5))
    deep = rng.uniform(16.0, 24.0) + 3.0 * space.noise(rng, 14.0)
    width = rng.uniform(0.08, 0.28) * (1.0 + 0.35 * space.noise(rng, 18.0))
    sheets = (np.abs(folds) < width) & (outer < deep) & ~low_back
    folia = (np.abs(np.sin(warped.z * 1.05 + 0.5 * folds)) < 0.18) & low_back & (outer < 12.0)
    callosum = warped.ellipsoid((0.0, -4.0, 2.0), (60.0, 46.0, 26.0)) < 1.0
    fissure = (np.abs(warped.x) < rng.uniform(0.8, 2.2)) & ~callosum & ~(low_back & (outer > 8.0))
    sylvian = (
        (np.abs(warped.z + 4.0 + 0.4 * warped.y + 4.0 * folds) < rng.uniform(1.0, 2.5))
        & (np.abs(warped.x) > 34.0)
        & (warped.y > -22.0)
        & (warped.y < 26.0)
    )
    rim = outer < rng.uniform(0.6, 2.8) + 0.6 * space.noise(rng, 20.0)
    cisterns = (warped.ellipsoid((0.0, 2.0, -26.0), (17.0, 15.0, 9.0)) < 1.0) | (
        warped.ellipsoid((0.0, -34.0, -4.0), (12.0, 5.0, 8.0)) < 1.0
    )
    return np.asarray(sheets | folia | fissure | sylvian | rim | cisterns)


def _draw_nuclei(labels: Labels, space: Space, brain: Mask, rng: np.random.Generator) -> None:
    """Thalamus, lentiform and caudate nucleus of both sides."""
    scale = rng.normal(1.0, 0.08)
    for side in (-1.0, 1.0):
        for centre, axes in (
            ((side * 10.0, -12.0, 5.0), (8.0, 14.0, 9.0)),
            ((side * 24.0, 4.0, 2.0), (6.5, 17.0, 9.5)),
            ((side * 13.0, 17.0, 9.0), (4.5, 10.0, 9.0)),
        ):
            labels[(space.ellipsoid(centre, tuple(scale * axis for axis in axes)) < 1.0) & brain] = Tissue.DEEP_GREY


def _draw_ventricles(labels: Labels, space: Space, warped: Space, vault: Mask, rng: np.random.Generator) -> None:
    """Lateral, third and fourth ventricles with their plexus and the thin bright rim that many healthy people have."""
    wide = float(np.exp(rng.normal(0.0, 0.3)))
    tubes: list[tuple[Point, Point, tuple[float, float]]] = [
        ((0.0, 4.0, 4.0), (0.0, -18.0, 0.0), (1.8, 2.2)),
        ((0.0, -20.0, -2.0), (0.0, -36.0, -28.0), (1.0, 2.0)),
        ((0.0, -36.0, -28.0), (0.0, -38.0, -42.0), (5.0, 2.5)),
    ]
    for side in (-1.0, 1.0):
        tubes += [
            ((side * 8.0, 30.0, 10.0), (side * 5.0, 8.0, 17.0), (4.5, 4.5)),
            ((side * 5.0, 8.0, 17.0), (side * 15.0, -24.0, 18.0), (4.5, 5.0)),
            ((side * 15.0, -24.0, 18.0), (side * 25.0, -38.0, 8.0), (5.5, 6.5)),
            ((side * 25.0, -38.0, 8.0), (side * 22.0, -60.0, 6.0), (5.0, 1.5)),
            ((side * 25.0, -38.0, 6.0), (side * 31.0, -12.0, -16.0), (4.0, 2.5)),
        ]
    ventricles = np.zeros(space.shape, dtype=bool)
    for start, end, (first, last) in tubes:
        ventricles |= warped.tube(start, end, (first * wide, last * wide))
    ventricles &= vault
    rim = space.depth(~ventricles)
    cap = (rim > 0) & (rim < rng.uniform(0.5, 3.5)) & (labels == Tissue.WHITE)
    labels[cap & (space.noise(rng, 8.0) > rng.uniform(-1.0, 1.5))] = Tissue.CAP
    labels[ventricles] = Tissue.CSF
    for side in (-1.0, 1.0):
        plexus = warped.tube((side * 17.0, -24.0, 16.0), (side * 24.0, -37.0, 7.0), (1.5, 3.2))
        labels[plexus & ventricles & (space.noise(rng, 3.0) > -0.3)] = Tissue.PLEXUS


def _draw_dura(
    labels: Labels, space: Space, vault: Mask, outer: Array, tentorium: Array, size: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Falx, tentorium and the sinuses in their edges, with arteries at the base."""
    sheet = (np.abs(space.x) < 0.9) & vault & (space.ellipsoid((0.0, -4.0, 0.0), (60.0, 52.0, 36.0)) > 1.0) & (labels == Tissue.CSF)
    sheet |= (np.abs(space.z - tentorium) < 0.9) & vault & (space.y < -24.0) & (np.abs(space.x) > 12.0)
    sheet |= (outer > 0) & (outer < 1.3)
    labels[sheet] = Tissue.DURA
    back = -float(size[1])
    sinus = (np.abs(space.x) < 4.0) & (outer > 0) & (outer < 6.0) & (space.y < 40.0) & (space.z > 0.0)
    transverse = (np.abs(space.z - tentorium) < 4.0) & (outer > 0) & (outer < 7.0) & (space.y < back * 0.3)
    straight = space.tube((0.0, -34.0, 2.0), (0.0, back + 4.0, -8.0), (2.2, 2.6))
    labels[(sinus | transverse | straight) & vault] = Tissue.VESSEL
    for side in (-1.0, 1.0):
        artery = space.tube((side * 8.0, 4.0, -22.0), (side * 38.0, 8.0, -12.0), (2.0, 1.6))
        labels[artery & vault] = Tissue.VESSEL
    veins = np.abs(space.noise(rng, 4.0)) < 0.05
    labels[veins & (outer > 1.0) & (outer < 4.0) & (labels == Tissue.CSF) & (space.noise(rng, 4.0) > 0.8)] = Tissue.VESSEL
