"""Candidates beside the truth, as `radnode evaluate` reads them."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from numpy.typing import NDArray

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_cases(folder: str) -> list[dict[str, Any]]:
    """Read the data list that ``python -m scripts.cases`` wrote, with whole paths."""
    root = Path(folder)
    return [{**entry, "image": str(root / entry["image"])} for entry in json.loads((root / "datalist.json").read_text())]


def in_patient(box: NDArray[np.float64], affine: NDArray[np.float64]) -> dict[str, list[float]]:
    """Centre and size in LPS millimetres of a box of indices (x, y, z, x, y, z) into an image with a RAS affine."""
    corners = np.array([(box[i], box[j + 1], box[k + 2], 1.0) for i, j, k in product((0, 3), repeat=3)])
    points = (RAS_TO_LPS @ affine @ corners.T)[:3]
    low, high = points.min(axis=1), points.max(axis=1)
    return {"center_mm": np.round((low + high) / 2, 2).tolist(), "size_mm": np.round(high - low, 2).tolist()}


class CaseBoxes:
    """A handler that writes targets and candidates of each case when the evaluator is done, beside those of other folds in the file.

    Parameters
    ----------
    path, title : str
    known : list of dict
        As `read_cases` gives them: an evaluator keeps nothing of a sample but its images.
    """

    def __init__(self, path: str, title: str, known: list[dict[str, Any]]) -> None:
        self._path, self._title = Path(path), title
        self._known = {case["image"]: case for case in known}
        self._cases: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Follow an evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _note(self, engine: Engine) -> None:
        for sample in engine.state.output:
            affine = np.asarray(sample["image"].affine, dtype=np.float64)
            case = self._known[str(sample["image"].meta["filename_or_obj"])]
            boxes, scores = np.asarray(sample["box"], dtype=np.float64), np.asarray(sample["label_scores"], dtype=np.float64)
            targets = [{"label": "nodule", **{key: target[key] for key in ("center_mm", "size_mm")}} for target in case["targets"]]
            found = [
                {"label": "nodule", **in_patient(box, affine), "score": round(float(score), 4)}
                for box, score in zip(boxes, scores, strict=True)
            ]
            self._cases.append({"case": str(case["seed"]), "reference": targets, "output": found})

    def _write(self, _engine: Engine) -> None:
        known = json.loads(self._path.read_text(encoding="utf-8"))["cases"] if self._path.exists() else []
        cases = {case["case"]: case for case in [*known, *self._cases]}
        study = {"task": "detection", "title": self._title, "hit": "center", "cases": list(cases.values())}
        self._path.write_text(json.dumps(study, indent=1) + "\n", encoding="utf-8")
