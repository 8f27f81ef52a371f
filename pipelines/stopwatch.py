"""How long a network itself took, among what an inferer does around it: cutting windows, and stitching what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import torch

from pipelines.clock import Clock


def time_network(clock: Clock, network: torch.nn.Module, rest: str, work: Callable[[], Any], device: torch.device) -> Any:
    """Do work that calls a network; its time is that of stage ``network``, and what else the work takes that of stage ``rest``."""
    watch = Stopwatch(device)
    with watch.watching(network):
        result = clock.time(rest, work)
    clock.part("network", of=rest, seconds=watch.seconds())
    return result


class Stopwatch:
    """Adds up the time between a network's being called and its answer.

    On a GPU by events in its stream, so that no window waits for the one before.
    """

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._spans: list[tuple[Any, Any]] = []
        self._begun: list[Any] = []

    @contextmanager
    def watching(self, network: torch.nn.Module) -> Iterator[None]:
        """Watch a network while the block runs."""
        before = network.register_forward_pre_hook(lambda *_: self._begun.append(self._now()))
        after = network.register_forward_hook(lambda *_: self._spans.append((self._begun.pop(), self._now())))
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def seconds(self) -> float:
        """The time that was counted; on a GPU after its stream was waited for."""
        if self._is_cuda:
            return float(sum(begun.elapsed_time(ended) for begun, ended in self._spans)) / 1000.0
        return float(sum(ended - begun for begun, ended in self._spans))

    def _now(self) -> Any:
        if not self._is_cuda:
            return perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event
