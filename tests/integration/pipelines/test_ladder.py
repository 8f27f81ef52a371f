"""Less and less memory, the same result: each step of the ladder, and that running out of it is always recognised."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.transforms import Compose, Lambda

from pipelines.errors import DeviceLost, OutOfMemory
from pipelines.ladder import Rung, adapted, climb, memory_named, rungs

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
WINDOWS = SlidingWindowInferer(roi_size=(8, 8, 8), sw_batch_size=4, overlap=0.5, cache_roi_weight_map=True, mode="gaussian")
ONE_WINDOW = SlidingWindowInferer(roi_size=(8, 8, 8), sw_batch_size=1)


@pytest.mark.parametrize(
    ("inferer", "device", "found"),
    [
        (WINDOWS, CPU, [Rung.CONFIGURED, Rung.ONE_WINDOW]),
        (ONE_WINDOW, CPU, [Rung.CONFIGURED]),
        (SimpleInferer(), CPU, [Rung.CONFIGURED]),
        (WINDOWS, CUDA, list(Rung)),
        (ONE_WINDOW, CUDA, [Rung.CONFIGURED, Rung.HOST_STITCHING, Rung.CPU]),
        (SimpleInferer(), CUDA, [Rung.CONFIGURED, Rung.CPU]),
        (None, CUDA, [Rung.CONFIGURED, Rung.CPU]),
    ],
)
def test_only_steps_that_can_help_are_tried(inferer: object, device: torch.device, found: list[Rung]) -> None:
    assert list(rungs(inferer, device)) == found


def test_every_step_computes_the_same_and_leaves_the_bundles_own_inferer_alone() -> None:
    torch.manual_seed(1)
    network, image = torch.nn.Conv3d(1, 2, 3, padding=1), torch.rand(1, 1, 20, 20, 20)
    sizes: list[int] = []

    def seen(windows: torch.Tensor) -> torch.Tensor:
        sizes.append(len(windows))
        return network(windows)

    with torch.inference_mode():
        truth = WINDOWS(image, seen)
        assert max(sizes) == 4
        for rung in (Rung.ONE_WINDOW, Rung.HOST_STITCHING):
            sizes.clear()
            found = adapted(WINDOWS, rung, CPU)(image, seen)
            assert set(sizes) == {1}
            torch.testing.assert_close(found, truth, rtol=0, atol=1e-5)
    assert WINDOWS.sw_batch_size == 4
    assert adapted(WINDOWS, Rung.HOST_STITCHING, CUDA).device == CPU
    assert adapted(WINDOWS, Rung.HOST_STITCHING, CUDA).sw_device == CUDA
    assert adapted(WINDOWS, Rung.CPU, CPU) is WINDOWS


def test_the_first_step_for_which_memory_suffices_is_named() -> None:
    tried: list[Rung] = []

    def work(rung: Rung) -> str:
        tried.append(rung)
        if rung is not Rung.HOST_STITCHING:
            raise OutOfMemory("too little")
        return "made"

    assert climb(Rung, work) == ("made", Rung.HOST_STITCHING)
    assert tried == [Rung.CONFIGURED, Rung.ONE_WINDOW, Rung.HOST_STITCHING]


def test_where_no_step_suffices_the_error_names_them_all() -> None:
    def work(rung: Rung) -> None:
        raise OutOfMemory("too little")

    with pytest.raises(OutOfMemory, match=r"^OUT_OF_MEMORY: too little Tried: as configured, on the CPU\.$"):
        climb([Rung.CONFIGURED, Rung.CPU], work)


def test_what_a_step_computed_is_given_back_before_the_next() -> None:
    class Large:
        alive = 0

        def __init__(self) -> None:
            Large.alive += 1

        def __del__(self) -> None:
            Large.alive -= 1

    def work(rung: Rung) -> str:
        assert Large.alive == 0
        large = Large()
        if rung is Rung.CONFIGURED:
            large.itself = large
            raise OutOfMemory("too little")
        return "made"

    climb(Rung, work)


def more_than_there_is() -> None:
    np.empty(2**50, dtype=np.float32)


def more_than_torch_can_have() -> None:
    torch.zeros(2**50)


def within_a_transform() -> None:
    Compose([Lambda(lambda _image: np.empty(2**50))])(1)


def more_than_the_device_has() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def no_room_for_a_library() -> None:
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


@pytest.mark.parametrize(
    "work", [more_than_there_is, more_than_torch_can_have, within_a_transform, more_than_the_device_has, no_room_for_a_library]
)
@pytest.mark.filterwarnings("ignore")
def test_too_little_memory_is_recognised(work) -> None:
    with pytest.raises(OutOfMemory, match="does not suffice"), memory_named(CPU):
        work()


def test_a_broken_device_is_recognised() -> None:
    with pytest.raises(DeviceLost) as caught, memory_named(CUDA):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    assert caught.value.full_code == "DEVICE_LOST.cuda"


def test_another_error_of_torch_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="size"), memory_named(CPU):
        torch.zeros(2) + torch.zeros(3)


LIMITED = """
import resource, torch
from monai.inferers import SlidingWindowInferer
from pipelines.ladder import adapted, climb, memory_named, rungs

CPU = torch.device("cpu")
inferer = SlidingWindowInferer(roi_size=(32, 32, 32), sw_batch_size=16, overlap=0.5)
network = torch.nn.Sequential(torch.nn.Conv3d(1, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(64, 1, 3, padding=1))
image = torch.rand(1, 1, 64, 64, 64)
network(image[..., :32, :32, :32])

def work(rung):
    with memory_named(CPU), torch.inference_mode():
        return adapted(inferer, rung, CPU)(image, network)

used = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used + 100_000_000,) * 2)
print(climb(rungs(inferer, CPU), work)[1])
"""


def test_with_a_real_limit_fewer_windows_at_a_time_fit_where_many_did_not() -> None:
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, "-c", LIMITED], cwd=root, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "one window at a time", run.stderr
