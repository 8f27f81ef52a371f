"""Running out of memory has its own error, and only that."""

import numpy as np
import pytest
import torch

from pipelines.errors import OutOfMemory
from pipelines.runner import _memory_named

CPU = torch.device("cpu")


def more_than_there_is() -> None:
    np.empty(2**50, dtype=np.float32)


def more_than_the_device_has() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


@pytest.mark.parametrize("work", [more_than_there_is, more_than_the_device_has])
def test_too_little_memory_is_named(work) -> None:
    with pytest.raises(OutOfMemory, match="does not suffice"), _memory_named(CPU):
        work()


def test_another_error_of_torch_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="size"), _memory_named(CPU):
        torch.zeros(2) + torch.zeros(3)
