"""Dice, Hausdorff distance and volume error of masks, by MONAI's metrics."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable

import numpy as np
import torch
from monai.metrics import DiceMetric, HausdorffDistanceMetric
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.evaluation.masks import Masks, on_one_grid
from pipelines.evaluation.outcome import RESAMPLES, Case, Outcome, mean_of

TERMS = (
    "Dice and 95 % Hausdorff distance (the greater of both directions, between surfaces, in millimetres) by MONAI, on the voxels of the "
    "reference's grid; volume error is output less reference. A label that is absent from both is left out; one that is absent from either "
    "has Dice 0 and no distance. Means over cases; 95 % intervals by the percentile bootstrap over cases."
)
_MEASURES = (
    ("dice", "Dice", ""),
    ("hausdorff_95_mm", "95 % Hausdorff distance", "mm"),
    ("volume_error_ml", "Volume error", "ml"),
    ("volume_error_percent", "Volume error", "%"),
)


def evaluate_masks(title: str, pairs: Iterable[tuple[str, Masks, Masks]], resamples: int = RESAMPLES) -> Outcome:
    """Compare each reference with its output, label by label.

    Parameters
    ----------
    title : str
        What was evaluated on what.
    pairs : iterable of (case, reference, output)
        Read one after the other, so that only one pair is held.

    Raises
    ------
    EvaluationError
        See `pipelines.evaluation.masks.on_one_grid`.
    """
    rows: list[dict[str, str | float | None]] = []
    for case, *both in pairs:
        reference, output = on_one_grid(*both)
        for name, truth in reference.by_name.items():
            rows.append({"case": case, "label": name, **compare(truth, output.by_name[name], reference.spacing_mm)})
    estimates = []
    for label in sorted({str(row["label"]) for row in rows}):
        mine = [row for row in rows if row["label"] == label]
        for key, measure, unit in _MEASURES:
            estimates.append(mean_of(label, measure, [_number(row[key]) for row in mine], unit=unit, resamples=resamples))
    cases: tuple[Case, ...] = tuple(rows)
    return Outcome(task="segmentation", title=title, terms=TERMS, estimates=tuple(estimates), cases=cases)


def compare(truth: NDArray[np.bool_], found: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> dict[str, float | None]:
    """Compare two masks of one shape; None where a number does not exist."""
    voxel_ml = math.prod(spacing_mm) / 1000.0
    reference_ml, output_ml = (float(np.count_nonzero(mask)) * voxel_ml for mask in (truth, found))
    numbers: dict[str, float | None] = {
        "dice": None,
        "hausdorff_95_mm": None,
        "reference_ml": reference_ml,
        "output_ml": output_ml,
        "volume_error_ml": output_ml - reference_ml,
        "volume_error_percent": 100.0 * (output_ml - reference_ml) / reference_ml if reference_ml else None,
    }
    if not reference_ml and not output_ml:
        return {**numbers, "volume_error_ml": None}
    if not reference_ml or not output_ml:
        return {**numbers, "dice": 0.0}
    # Nothing outside of both masks can change a distance between their surfaces, and most of a scan is outside.
    ((around),) = ndimage.find_objects((truth | found).astype(np.int8))
    pair = [torch.from_numpy(np.ascontiguousarray(mask[around]))[None, None].float() for mask in (found, truth)]
    dice, distance = DiceMetric(include_background=True), HausdorffDistanceMetric(include_background=True, percentile=95)
    dice(*pair)
    with warnings.catch_warnings():
        # MONAI 1.6 calls a function of its own with an argument that it has given up.
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)
        distance(*pair, spacing=spacing_mm)
    return {**numbers, "dice": dice.aggregate().item(), "hausdorff_95_mm": distance.aggregate().item()}


def _number(value: str | float | None) -> float | None:
    return value if isinstance(value, float) else None
