"""What only a CUDA device can show: the self-test passes on it, and running out of its memory leads down the ladder."""

import pytest
import torch
from monai.inferers import SlidingWindowInferer

from pipelines.ladder import Rung, adapted, climb, memory_named, rungs
from pipelines.memory import gauge
from pipelines.selftest import examine

pytestmark = pytest.mark.gpu


def test_the_device_computes_rightly():
    report = examine("cuda:0", 0.1)
    assert report.free_bytes > 0
    assert report.driver not in ("none", "unknown")
    assert gauge()[1] > 0


def test_what_does_not_fit_into_the_device_is_stitched_in_host_memory_or_computed_on_the_cpu():
    device, cpu = torch.device("cuda:0"), torch.device("cpu")
    inferer = SlidingWindowInferer(roi_size=(64, 64, 64), sw_batch_size=8, overlap=0.5)
    network = torch.nn.Conv3d(1, 4, 3, padding=1)
    image = torch.rand(1, 1, 160, 96, 96)
    with torch.inference_mode():
        truth = inferer(image, network)
    places = {rung: cpu if rung is Rung.CPU else device for rung in Rung}

    def work(rung):
        with memory_named(device), torch.inference_mode():
            source = cpu if rung is Rung.HOST_STITCHING else places[rung]
            return adapted(inferer, rung, device)(image.to(source), network.to(places[rung])).cpu()

    assert climb(rungs(inferer, device), work)[1] is Rung.CONFIGURED
    total = torch.cuda.mem_get_info(device)[1]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(24_000_000 / total, device)
    try:
        made, rung = climb(rungs(inferer, device), work)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    assert rung in (Rung.HOST_STITCHING, Rung.CPU)
    torch.testing.assert_close(made, truth, rtol=0, atol=1e-2)
