"""Training samples without end: blocks of simulated lungs, half of them with fresh nodules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import process_time

import numpy as np
import torch
from ignite.engine import Engine, Events
from numpy.typing import NDArray
from pipelines.anatomy import acquire_ct
from torch import Tensor
from torch.utils.data import Dataset

from scripts.cases import STEP_MM, draw_lungs
from scripts.nodules import Array, insert_nodule


def split(count: int, folds: int, fold: int) -> tuple[list[int], list[int]]:
    """Chests to train on and chests to test on, by number; with ``fold`` -1 every one is for training."""
    numbers = range(count)
    return [number for number in numbers if fold < 0 or number % folds != fold], [number for number in numbers if number % folds == fold]


class Blocks(Dataset[dict[str, Tensor]]):
    """Blocks of lung with image and truth, drawn anew for every index; the same seed gives the same blocks.

    Parameters
    ----------
    seed : int
        Of the chests and of everything in the blocks.
    chests : sequence of int
        Which chests, counted from the seed; they are drawn at once and kept.
    length : int
        How many blocks.
    side : int
        Voxels along each side.
    """

    def __init__(self, seed: int, chests: Sequence[int], length: int, side: int) -> None:
        self._seed, self._length, self._side = seed, length, side
        self._chests = [draw_lungs(seed + number) for number in chests]
        self._places = [np.argwhere(lungs[::3, ::3, ::3]) * 3 for _, lungs in self._chests]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._seed, index))
        number = int(rng.integers(len(self._chests)))
        hounsfield, lungs = self._cut(number, rng)
        truth = np.zeros(hounsfield.shape, dtype=np.uint8)
        inside = np.argwhere(lungs)
        if len(inside) and rng.random() < 0.65:
            for _ in range(int(rng.integers(1, 3))):
                place = inside[rng.integers(len(inside))]
                insert_nodule(hounsfield, lungs, truth, tuple(int(axis) for axis in place), STEP_MM, rng)
        image = (acquire_ct(hounsfield, STEP_MM, rng) + 1000.0) / 1400.0
        pair = np.stack([np.clip(image, 0.0, 1.0), truth.astype(np.float32)])
        for axis in (1, 2, 3):
            if rng.random() < 0.5:
                pair = np.flip(pair, axis)
        if rng.random() < 0.5:
            pair = pair.swapaxes(1, 2)
        tensor = torch.from_numpy(np.ascontiguousarray(pair, dtype=np.float32))
        return {"image": tensor[:1], "label": tensor[1:]}

    def _cut(self, number: int, rng: np.random.Generator) -> tuple[Array, NDArray[np.bool_]]:
        hounsfield, lungs = self._chests[number]
        middle = self._places[number][rng.integers(len(self._places[number]))] + rng.integers(-10, 11, 3)
        low = np.clip(middle - self._side // 2, 0, np.array(hounsfield.shape) - self._side)
        block = tuple(slice(int(axis), int(axis) + self._side) for axis in low)
        return hounsfield[block].copy(), lungs[block]


class Progress:
    """A handler that appends mean loss and processor time to a file, every so many iterations."""

    def __init__(self, path: str, every: int = 50) -> None:
        self._path, self._every = Path(path), every
        self._losses: list[float] = []
        self._started = process_time()

    def attach(self, engine: Engine) -> None:
        """Follow a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note)

    def _note(self, engine: Engine) -> None:
        self._losses.append(float(engine.state.output[0]["loss"]))
        if engine.state.iteration % self._every == 0:
            mean = sum(self._losses) / len(self._losses)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"iteration {engine.state.iteration} loss {mean:.4f} cpu {process_time() - self._started:.0f} s\n")
            self._losses.clear()
