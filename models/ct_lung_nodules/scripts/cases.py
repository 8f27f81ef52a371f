"""Simulated chest CT with nodules; the same seed gives the same case. Needs RadNode's own phantom (`pipelines.anatomy`)."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pipelines.anatomy import acquire_ct, draw_build, draw_chest
from pipelines.fields import make_space
from scipy import ndimage

from scripts.nodules import Array, Nodule, insert_nodule

STEP_MM = 1.5
#: Left to right, back to front, foot to head.
SHAPE = (216, 152, 176)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One scan.

    Attributes
    ----------
    hounsfield : ndarray, shape (X, Y, Z), float32
    lungs : ndarray of bool
    truth : ndarray of uint8
        1 in nodules.
    nodules : tuple of Nodule
    affine : ndarray, shape (4, 4)
        Index to RAS millimetres; x grows to the right, y to the front.
    """

    hounsfield: Array
    lungs: NDArray[np.bool_]
    truth: NDArray[np.uint8]
    nodules: tuple[Nodule, ...]
    affine: NDArray[np.float64]


def draw_lungs(seed: int, shape: tuple[int, int, int] = SHAPE) -> tuple[Array, NDArray[np.bool_]]:
    """Draw a sharp chest without nodules, and where its lungs are."""
    rng = np.random.default_rng(seed)
    chest = draw_chest(make_space(shape, STEP_MM), draw_build(rng), rng, vessels=8)
    return chest.hounsfield, chest.lungs > 0


def make_case(seed: int, most: int = 8, shape: tuple[int, int, int] = SHAPE) -> Case:
    """Make one scan with up to ``most`` nodules, a quarter of them at the pleura."""
    rng = np.random.default_rng(seed + 500_000)
    hounsfield, lungs = draw_lungs(seed, shape)
    truth = np.zeros(shape, dtype=np.uint8)
    places = np.argwhere(lungs)
    edge = np.argwhere(lungs & ~ndimage.binary_erosion(lungs, iterations=2))
    nodules: list[Nodule] = []
    for _ in range(int(rng.integers(0, most + 1))):
        source = edge if rng.random() < 0.25 else places
        place = source[rng.integers(len(source))]
        # Two that touch would be one.
        if all(np.linalg.norm(place - np.array(other.place)) * STEP_MM > 35.0 for other in nodules):
            nodules.append(insert_nodule(hounsfield, lungs, truth, tuple(int(index) for index in place), STEP_MM, rng, (5.0, 28.0)))
    affine = np.diag([STEP_MM, STEP_MM, STEP_MM, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * STEP_MM
    return Case(acquire_ct(hounsfield, STEP_MM, rng), lungs, truth, tuple(nodules), affine)


def write_case(seed: int, folder: Path) -> dict[str, object]:
    """Write one scan as NIfTI, and return its entry of a MONAI data list; boxes of nodules are in DICOM patient coordinates (LPS)."""
    import nibabel

    case = make_case(seed)
    folder.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.clip(np.rint(case.hounsfield), -1024, 3071).astype(np.int16), case.affine), folder / f"{seed}.nii")
    targets = []
    for nodule in case.nodules:
        centre = (case.affine @ np.array([*nodule.place, 1.0]))[:3] * np.array([-1.0, -1.0, 1.0])
        targets.append(
            {
                "center_mm": [round(float(value), 2) for value in centre],
                "size_mm": [round(nodule.diameter_mm, 2)] * 3,
                "kind": nodule.kind,
            }
        )
    return {"image": f"{seed}.nii", "seed": seed, "targets": targets}


def main() -> None:
    """``python -m scripts.cases FOLDER FIRST COUNT``: write scans and FOLDER/datalist.json."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    given = parser.parse_args()
    entries = [write_case(seed, given.folder) for seed in range(given.first, given.first + given.count)]
    (given.folder / "datalist.json").write_text(json.dumps(entries, indent=1))


if __name__ == "__main__":
    main()
