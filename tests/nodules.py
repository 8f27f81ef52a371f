"""Simulated chests with nodules as DICOM, drawn by the code of the nodule bundle."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from pipelines.isolation import OwnModules
from pipelines.phantom import make_chest_ct

BUNDLE = Path(__file__).parents[1] / "models" / "ct_lung_nodules"
#: Its seed is not among those that the weights were trained on (docs/README.md of the bundle).
HELD_OUT = 9501
#: Left to right, back to front, foot to head: a slab of 12 cm from the middle of the chest.
SLAB, STEP_MM = (216, 152, 80), 1.5
#: The series lies about the middle of the other phantom's chest, whose headers it has.
MIDDLE_MM = np.array([4.0, -11.0, -140.0])


def make_case(seed: int) -> Any:
    """One case of the bundle's own phantom (``scripts.cases.Case``)."""
    with OwnModules(BUNDLE).importable():
        return import_module("scripts.cases").make_case(seed, most=6, shape=SLAB)


def as_series(case: Any) -> list[Dataset]:
    """The case as axial CT images."""
    datasets = make_chest_ct(study_name="nodules", shape=(SLAB[2], SLAB[1], SLAB[0]), spacing_mm=(STEP_MM,) * 3).datasets
    stored = np.clip(np.rint(case.hounsfield[::-1, ::-1].transpose(2, 1, 0)) + 1024, 0, 4095).astype("<u2")
    for dataset, plane in zip(datasets, stored, strict=True):
        dataset.PixelData = plane.tobytes()
    return datasets


def is_hit(case: Any, nodule: Any, center_mm: Any) -> bool:
    """Whether a place, in LPS millimetres, lies within a nodule."""
    ras = (case.affine @ np.array([*nodule.place, 1.0]))[:3]
    middle = ras * np.array([-1.0, -1.0, 1.0]) + MIDDLE_MM
    return float(np.linalg.norm(middle - np.asarray(center_mm))) <= max(nodule.diameter_mm / 2, STEP_MM)
