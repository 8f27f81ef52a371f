"""Simulated cases: arrays for tests, NIfTI files for training. The same seed gives the same case."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.fields import Array, make_space
from scripts.head import draw_head
from scripts.lesions import draw_lesions, truth_of
from scripts.scanner import CONTRASTS, scan

STEP_MM = 1.5
#: Left to right, back to front, foot to head.
SHAPE = (112, 144, 112)
#: Slices are this many steps of the space apart: 1.5 to 6 mm.
STEPS_PER_SLICE = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One simulated examination.

    Attributes
    ----------
    images : ndarray, shape (contrast, X, Y, slice), float32
        In the order of `scripts.scanner.CONTRASTS`.
    truth : ndarray, shape (X, Y, slice), uint8
        As `scripts.lesions.truth_of` says, where the middle of each slice is.
    affine : ndarray, shape (4, 4)
        Index to RAS millimetres.
    kinds : tuple of str
        The lesions.
    """

    images: Array
    truth: NDArray[np.uint8]
    affine: NDArray[np.float64]
    kinds: tuple[str, ...]


def make_case(seed: int, slice_mm: float | None = None, shape: tuple[int, int, int] = SHAPE, step_mm: float = STEP_MM) -> Case:
    """Make one case; ``slice_mm`` is drawn when it is not given, and rounded to whole steps of the space."""
    rng = np.random.default_rng(seed)
    # Coverage differs: some scans begin at the neck, some above the eyes.
    space = make_space(shape, step_mm, (0.0, 2.0, float(rng.uniform(-14.0, 4.0))))
    labels, cavity = draw_head(space, rng)
    kinds = draw_lesions(labels, space, rng)
    steps = int(rng.choice(STEPS_PER_SLICE)) if slice_mm is None else max(1, round(slice_mm / step_mm))
    images, planes = scan(labels, space, steps, rng)
    affine = np.diag([step_mm, step_mm, steps * step_mm, 1.0])
    affine[:3, 3] = [float(axis.ravel()[index]) for axis, index in zip((space.x, space.y, space.z), (0, 0, planes[0]), strict=True)]
    return Case(images, truth_of(labels, cavity)[:, :, planes], affine, tuple(kinds))


def write_case(seed: int, folder: Path) -> dict[str, object]:
    """Write one case as five NIfTI files, and return its entry of a MONAI data list."""
    import nibabel

    case = make_case(seed)
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for contrast, image in zip(CONTRASTS, case.images, strict=True):
        nibabel.save(nibabel.Nifti1Image(np.rint(image).astype(np.int16), case.affine), folder / f"{seed}_{contrast}.nii")
        names.append(f"{seed}_{contrast}.nii")
    nibabel.save(nibabel.Nifti1Image(case.truth, case.affine), folder / f"{seed}_label.nii")
    return {"image": names, "label": f"{seed}_label.nii", "seed": seed, "kinds": list(case.kinds)}


def main() -> None:
    """``python -m scripts.cases FOLDER FIRST COUNT``: write cases and add them to FOLDER/datalist.json."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    given = parser.parse_args()
    entries = [write_case(seed, given.folder) for seed in range(given.first, given.first + given.count)]
    path = given.folder / "datalist.json"
    known = json.loads(path.read_text()) if path.exists() else []
    merged = {entry["seed"]: entry for entry in [*known, *entries]}
    path.write_text(json.dumps([merged[seed] for seed in sorted(merged)], indent=1))


if __name__ == "__main__":
    main()
