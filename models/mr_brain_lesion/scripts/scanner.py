"""From tissues to the four images of a brain protocol: spin-echo signal equations, slice profile, coil and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.fields import Array, Space
from scripts.tissues import Tissue, draw_properties

#: The order of the images, which is that of the bundle's channels.
CONTRASTS = ("t1c", "t1", "t2", "flair")
#: Relaxivity of a usual gadolinium chelate at 1.5 T, per mmol/l and second.
RELAXIVITY = 4.3


@dataclass(frozen=True, slots=True)
class Sequence:
    """Times of one sequence in milliseconds; ``ti`` is 0 without an inversion pulse."""

    tr: float
    te: float
    ti: float = 0.0
    contrast_medium: bool = False


def draw_protocol(rng: np.random.Generator, csf_t1_ms: float) -> dict[str, Sequence]:
    """Draw repetition, echo and inversion times from what brain protocols use; the inversion nearly nulls cerebrospinal fluid."""
    t1 = {"tr": float(rng.uniform(380.0, 720.0)), "te": float(rng.uniform(8.0, 16.0))}
    tr, te = float(rng.uniform(7500.0, 11000.0)), float(rng.uniform(90.0, 140.0))
    null = csf_t1_ms * (np.log(2.0) - np.log1p(np.exp(-tr / csf_t1_ms)))
    return {
        "t1c": Sequence(**t1, contrast_medium=True),
        "t1": Sequence(**t1),
        "t2": Sequence(float(rng.uniform(2800.0, 6000.0)), float(rng.uniform(80.0, 115.0))),
        "flair": Sequence(tr, te, float(null * rng.normal(1.0, 0.02))),
    }


def signal_of(sequence: Sequence, properties: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spin-echo signal of each tissue, as a magnitude: shape (tissue,), in units of the equilibrium magnetisation of water."""
    density, t1, t2, gadolinium = properties.T
    if sequence.contrast_medium:
        t1 = 1.0 / (1.0 / t1 + RELAXIVITY * gadolinium / 1000.0)
    recovered = np.exp(-sequence.tr / t1)
    longitudinal = 1.0 - 2.0 * np.exp(-sequence.ti / t1) + recovered if sequence.ti else 1.0 - recovered
    return np.asarray(np.abs(density * longitudinal * np.exp(-sequence.te / t2)))


def scan(labels: NDArray[np.uint8], space: Space, steps: int, rng: np.random.Generator) -> tuple[Array, NDArray[np.int64]]:
    """Take the four images of one head.

    Parameters
    ----------
    labels : ndarray, shape (X, Y, Z)
        A `Tissue` for each voxel of the space.
    steps : int
        Distance between slices in steps of the space; they are about as thick.

    Returns
    -------
    images : ndarray, shape (contrast, X, Y, slices), float32
        In the order of `CONTRASTS`, scaled like stored values of a scanner.
    planes : ndarray of int
        The index along Z of the middle of each slice.
    """
    table = draw_properties(rng, float(rng.choice([1.5, 3.0])))
    protocol = draw_protocol(rng, table[Tissue.CSF, 1])
    planes = np.arange(steps // 2, space.shape[2], steps)
    texture = 1.0 + 0.02 * space.noise(rng, 2.5) + 0.03 * space.noise(rng, 20.0)
    inflow = _inflow(labels, space, rng)
    images = []
    for name in CONTRASTS:
        signal = signal_of(protocol[name], table)
        sharp = signal.astype(np.float32)[labels] * texture
        if name == "flair":
            sharp += inflow * np.float32(signal[Tissue.GREY])
        images.append(_acquire(sharp, space, steps, planes, float(signal[Tissue.WHITE]), rng))
    return np.stack(images), planes


def _inflow(labels: NDArray[np.uint8], space: Space, rng: np.random.Generator) -> Array:
    """Fluid that moved in after the inversion pulse is bright on FLAIR: 0 to about 1.5 times grey matter, and no lesion."""
    amount = rng.uniform(0.0, 1.0) * np.clip(space.noise(rng, 10.0) - 0.8, 0.0, 1.5)
    return np.asarray(amount * (labels == Tissue.CSF) * (space.z < 10.0), dtype=np.float32)


def _acquire(sharp: Array, space: Space, steps: int, planes: NDArray[np.int64], white: float, rng: np.random.Generator) -> Array:
    """Blur, average over the slice, shade by the coil, add Rician noise and scale."""
    in_plane = rng.uniform(0.35, 0.65)
    blurred = ndimage.gaussian_filter1d(ndimage.gaussian_filter1d(sharp, in_plane, axis=0), in_plane, axis=1)
    thick = max(1, round(steps * rng.uniform(0.75, 1.0)))
    image = ndimage.uniform_filter1d(blurred, thick, axis=2)[:, :, planes] if thick > 1 else blurred[:, :, planes]
    shade = np.exp(rng.uniform(0.0, 0.18) * space.noise(rng, 50.0))[:, :, planes]
    sigma = white * rng.uniform(0.01, 0.06)
    real, imaginary = (rng.normal(0.0, sigma, image.shape) for _ in range(2))
    magnitude = np.hypot(image * shade + real, imaginary)
    return np.asarray(magnitude * (rng.uniform(150.0, 900.0) / white), dtype=np.float32)
