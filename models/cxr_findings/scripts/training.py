"""What the training and evaluation configurations need beside MONAI: their cases, folds, and lines of numbers."""

from __future__ import annotations

import json
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import partition_dataset

from scripts.picture import to_picture
from scripts.radiograph import FINDINGS

Case = dict[str, Any]


def read_cases(path: str, size: int) -> list[Case]:
    """Read what ``python -m scripts.radiograph`` wrote, as pictures of (1, column, row)."""
    with np.load(path) as held:
        return [
            {
                "image": to_picture(torch.from_numpy(image.T.astype(np.float32))[None], size),
                "label": truth.astype(np.float32),
                "seed": int(seed),
            }
            for image, truth, seed in zip(held["image"], held["truth"], held["seed"], strict=True)
        ]


def split(cases: list[Case], folds: int, fold: int) -> tuple[list[Case], list[Case]]:
    """Cases to train on and cases to test on; with ``fold`` -1 everything is for training."""
    if fold < 0:
        return cases, []
    parts = partition_dataset(cases, num_partitions=folds, shuffle=True, seed=0)
    return [case for number, part in enumerate(parts) if number != fold for case in part], list(parts[fold])


class Progress:
    """A handler that appends mean loss and processor time of each epoch to a file."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._losses: list[float] = []
        self._started = process_time()

    def attach(self, engine: Engine) -> None:
        """Follow a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)

    def _note(self, engine: Engine) -> None:
        self._losses.append(float(engine.state.output[0]["loss"]))

    def _write(self, engine: Engine) -> None:
        mean = sum(self._losses) / len(self._losses)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"epoch {engine.state.epoch} loss {mean:.4f} cpu {process_time() - self._started:.0f} s\n")
        self._losses.clear()


class CaseScores:
    """A handler that writes truth and scores of each case as `radnode evaluate` reads them, beside those of other folds in the file."""

    def __init__(self, path: str, title: str, seeds: list[int]) -> None:
        # In the order of the data: an evaluator keeps nothing of a sample but its images.
        self._path, self._title, self._seeds = Path(path), title, seeds
        self._cases: list[Case] = []

    def attach(self, engine: Engine) -> None:
        """Follow an evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _note(self, engine: Engine) -> None:
        for sample in engine.state.output:
            truth, scores = (np.asarray(sample[key]).ravel().tolist() for key in ("label", "pred"))
            self._cases.append(
                {
                    "case": str(self._seeds[len(self._cases)]),
                    "reference": {name: int(value) for name, value in zip(FINDINGS, truth, strict=True)},
                    "output": {name: round(value, 4) for name, value in zip(FINDINGS, scores, strict=True)},
                }
            )

    def _write(self, _engine: Engine) -> None:
        known = json.loads(self._path.read_text(encoding="utf-8"))["cases"] if self._path.exists() else []
        cases = {case["case"]: case for case in [*known, *self._cases]}
        study = {"task": "classification", "title": self._title, "threshold": 0.5, "cases": list(cases.values())}
        self._path.write_text(json.dumps(study, indent=1) + "\n", encoding="utf-8")
