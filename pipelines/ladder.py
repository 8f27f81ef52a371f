"""What is still tried when memory does not suffice: the same computation with less of it, step by step.

Window size and overlap are part of the model and stay as they are; only how many windows are computed at a time, and where things lie,
changes. Every step is named, so that a result can say by which it was made.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, TypeVar

import torch
from monai.inferers import SlidingWindowInferer

from pipelines.errors import DeviceError, DeviceLost, OutOfMemory

Made = TypeVar("Made")
#: What torch says on a CPU that has no more memory, and what CUDA's libraries say of a GPU.
_FULL = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
#: What is said when a CUDA context is broken: it stays so until its process ends.
_BROKEN = ("CUDA error", "CUDNN_STATUS", "CUBLAS_STATUS", "cuDNN error")


class Rung(StrEnum):
    """One step of the ladder, in words for people."""

    CONFIGURED = "as configured"
    ONE_WINDOW = "one window at a time"
    HOST_STITCHING = "windows stitched in host memory"
    CPU = "on the CPU"


def rungs(inferer: Any, device: torch.device) -> Iterator[Rung]:
    """The steps that can make a difference to this inferer on this device, in the order in which they are tried."""
    yield Rung.CONFIGURED
    if isinstance(inferer, SlidingWindowInferer):
        if inferer.sw_batch_size > 1:
            yield Rung.ONE_WINDOW
        if device.type != "cpu":
            yield Rung.HOST_STITCHING
    if device.type != "cpu":
        yield Rung.CPU


def adapted(inferer: Any, rung: Rung, device: torch.device) -> Any:
    """The inferer as the step wants it; the bundle's own stays as it is."""
    if rung in (Rung.CONFIGURED, Rung.CPU) or not isinstance(inferer, SlidingWindowInferer):
        return inferer
    changed = copy.copy(inferer)
    changed.sw_batch_size = 1
    if rung is Rung.HOST_STITCHING:
        # The image and what is stitched of it lie in host memory; one window at a time goes to the device and back.
        changed.sw_device, changed.device = device, torch.device("cpu")
        if changed.roi_weight_map is not None:
            changed.roi_weight_map = changed.roi_weight_map.cpu()
    return changed


def climb(steps: Iterable[Rung], work: Callable[[Rung], Made]) -> tuple[Made, Rung]:
    """Run ``work`` by each step until memory suffices.

    Raises
    ------
    OutOfMemory
        If it does by none; the sentence names them all.
    """
    tried: list[Rung] = []
    sentence = ""
    for rung in steps:
        try:
            return work(rung), rung
        except OutOfMemory as error:
            sentence = error.sentence
        # Not before the error is gone: its traceback holds everything that was computed so far.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        tried.append(rung)
    raise OutOfMemory(f"{sentence} Tried: {', '.join(tried)}.")


@contextmanager
def memory_named(device: torch.device) -> Iterator[None]:
    """Give running out of memory, and the loss of a device, errors of their own, whoever meets them and however deep within MONAI."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        named = _named(error, device)
        if named is None:
            raise
        raise named from error


def _named(error: BaseException, device: torch.device) -> DeviceError | None:
    for one in _causes(error):
        text = str(one)
        if isinstance(one, torch.OutOfMemoryError):
            return OutOfMemory(f"The memory of {device} does not suffice for this series.")
        if isinstance(one, MemoryError) or (isinstance(one, RuntimeError) and any(words in text for words in _FULL)):
            return OutOfMemory("The memory of this machine does not suffice for this series.")
        if isinstance(one, RuntimeError) and any(words in text for words in _BROKEN):
            return DeviceLost(f"{device} failed in the middle of the job; its driver's log says more.", reason="cuda")
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from: MONAI wraps what a transform raises."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
