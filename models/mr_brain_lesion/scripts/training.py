"""What the training configuration needs beside MONAI: its cases, their folds, and a line per epoch."""

from __future__ import annotations

import json
from pathlib import Path
from time import process_time
from typing import Any

from ignite.engine import Engine, Events
from monai.data import partition_dataset

Case = dict[str, Any]


def read_cases(folder: str) -> list[Case]:
    """Read the data list that ``python -m scripts.cases`` wrote, with whole paths."""
    root = Path(folder)
    entries = json.loads((root / "datalist.json").read_text())
    # No more than that: lists of lesions, each of another length, form no batch.
    return [
        {"image": [str(root / name) for name in entry["image"]], "label": str(root / entry["label"]), "seed": entry["seed"]}
        for entry in entries
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
