"""Every second is counted once, whatever is within what."""

import time

import pytest
import torch

from pipelines.clock import Clock
from pipelines.stopwatch import time_network


def test_what_is_within_a_stage_is_not_counted_to_it() -> None:
    clock, began = Clock(), time.perf_counter()
    with clock.timing("volume"):
        clock.time("decode", lambda: time.sleep(0.02))
        clock.time("decode", lambda: time.sleep(0.02))
    assert list(clock.seconds) == ["decode", "volume"]
    assert sum(clock.seconds.values()) <= time.perf_counter() - began
    assert clock.seconds["decode"] >= 0.04 > clock.seconds["volume"]


def test_a_stage_that_fails_ends_too() -> None:
    clock = Clock()
    with pytest.raises(ZeroDivisionError), clock.timing("volume"):
        clock.time("decode", lambda: 1 / 0)
    clock.time("measure", lambda: None)
    assert set(clock.seconds) == {"decode", "volume", "measure"}


def test_the_device_is_waited_for_before_a_stage_ends() -> None:
    waits = []
    clock = Clock(lambda: waits.append(1))
    assert clock.time("network", lambda: 5) == 5
    assert waits == [1]


def test_a_network_is_told_from_what_is_done_around_it() -> None:
    clock, network = Clock(), torch.nn.Identity()
    network.register_forward_pre_hook(lambda *_: time.sleep(0.02))

    def windows():
        time.sleep(0.02)
        return torch.cat([network(torch.ones(1)) for _ in range(2)])

    assert time_network(clock, network, "stitch", windows, torch.device("cpu")).tolist() == [1, 1]
    assert set(clock.seconds) == {"stitch", "network"}
    assert clock.seconds["stitch"] >= 0.02
    assert len(network._forward_hooks) == 0, "nothing is left behind"
