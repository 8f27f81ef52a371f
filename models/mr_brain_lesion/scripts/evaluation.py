"""Held-out cases against their truth: numbers for each as JSON, and label maps beside a list of them for `radnode evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.metrics import compute_dice
from numpy.typing import NDArray
from scipy import ndimage

NAMES = {"core": (1,), "surrounding": (2,), "whole": (1, 2)}
#: As the pipeline calls them.
LABELS = {"1": "Lesion core", "2": "T2/FLAIR hyperintensity"}


def compare(found: NDArray[np.uint8], truth: NDArray[np.uint8], voxel_ml: float, least_ml: float) -> dict[str, Any]:
    """Compare two label maps on one grid.

    Returns
    -------
    dict
        Dice and volumes of each of `NAMES`, Dice being None where there is nothing to find; how many lesions (connected regions of at
        least ``least_ml``) there are, how many of them were touched, and how many were found that touch none.
    """
    scores: dict[str, Any] = {}
    for name, labels in NAMES.items():
        there, here = np.isin(truth, labels), np.isin(found, labels)
        pair = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (here, there))
        dice = float(compute_dice(*pair, ignore_empty=True)) if there.any() else None
        scores[name] = {
            "dice": None if dice is None else round(dice, 4),
            "truth_ml": round(float(there.sum()) * voxel_ml, 2),
            "found_ml": round(float(here.sum()) * voxel_ml, 2),
        }
    lesions = _regions(np.isin(truth, NAMES["whole"]), voxel_ml, least_ml)
    extra = _regions(found > 0, voxel_ml, least_ml)
    scores["lesions"] = len(lesions)
    scores["lesions_found"] = sum(bool((found[lesion] > 0).any()) for lesion in lesions)
    scores["false_regions"] = sum(not bool(np.isin(truth[region], NAMES["whole"]).any()) for region in extra)
    return scores


def _regions(mask: NDArray[np.bool_], voxel_ml: float, least_ml: float) -> list[tuple[NDArray[np.intp], ...]]:
    parts, count = ndimage.label(mask)
    regions = (np.nonzero(parts == number) for number in range(1, count + 1))
    return [region for region in regions if len(region[0]) * voxel_ml >= least_ml]


def summarise(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean, median and smallest Dice over the cases that have something to find, and lesions found of all."""
    summary: dict[str, Any] = {"cases": len(cases)}
    for name in NAMES:
        dice = [case[name]["dice"] for case in cases if case[name]["dice"] is not None]
        if dice:
            values = {"mean": np.mean(dice), "median": np.median(dice), "least": np.min(dice)}
            summary[name] = {"cases": len(dice), **{key: round(float(value), 3) for key, value in values.items()}}
    for key in ("lesions", "lesions_found", "false_regions"):
        summary[key] = sum(case[key] for case in cases)
    return summary


def _name_of(sample: dict[str, Any]) -> str:
    """The case's file without its ending; an evaluator keeps nothing of a sample but its images."""
    return Path(str(sample["label"].meta["filename_or_obj"])).name.partition(".")[0].removesuffix("_label")


class CaseScores:
    """A handler that compares each case with its truth, and writes everything when the evaluator is done, beside what other folds left.

    Parameters
    ----------
    folder : str
        For ``scores.json``, for ``cases.json``, which `radnode evaluate` reads, and for the label maps that it names.
    title : str
        What was tried on what.
    least_ml : float
        Smaller regions do not count as lesions.
    fold : int
        Noted with each case.
    """

    def __init__(self, folder: str, title: str, least_ml: float, fold: int) -> None:
        self._folder, self._title, self._least_ml, self._fold = Path(folder), title, least_ml, fold
        self._cases: list[dict[str, Any]] = []
        self._pairs: list[dict[str, str]] = []

    def attach(self, engine: Engine) -> None:
        """Follow an evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._compare)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _compare(self, engine: Engine) -> None:
        for sample in engine.state.output:
            voxel_ml = float(np.abs(np.linalg.det(np.asarray(sample["label"].affine)[:3, :3]))) / 1000.0
            found, truth = (np.asarray(sample[key][0]).astype(np.uint8) for key in ("pred", "label"))
            name = _name_of(sample)
            self._cases.append({"case": name, "fold": self._fold, **compare(found, truth, voxel_ml, self._least_ml)})
            pair = {"reference": f"{name}_truth.nii", "output": f"{name}_found.nii"}
            self._pairs.append({"case": name, **pair})
            # The third label of the truth, all else inside of the skull, is there to be trained with.
            maps = {"reference": np.where(np.isin(truth, NAMES["whole"]), truth, 0).astype(np.uint8), "output": found}
            for what, file in pair.items():
                nibabel.save(nibabel.Nifti1Image(maps[what], np.asarray(sample["label"].affine)), self._folder / file)

    def _write(self, _engine: Engine) -> None:
        cases = _merged(self._folder / "scores.json", self._cases)
        pairs = _merged(self._folder / "cases.json", self._pairs)
        _save(self._folder / "scores.json", {"title": self._title, "summary": summarise(cases), "cases": cases})
        _save(self._folder / "cases.json", {"task": "segmentation", "title": self._title, "labels": LABELS, "cases": pairs})


def _merged(path: Path, ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    known = json.loads(path.read_text(encoding="utf-8"))["cases"] if path.exists() else []
    return list({case["case"]: case for case in [*known, *ours]}.values())


def _save(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
