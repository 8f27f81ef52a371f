"""How long each stage took, from the files to the result; every second is counted once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TypeVar

Made = TypeVar("Made")


class Clock:
    """Notes wall times by stage.

    Parameters
    ----------
    wait : callable, optional
        Waits for the device, which works on after a call returns.

    Attributes
    ----------
    seconds : dict of str to float
        The time of each stage without that of the stages within it, in the order in which they ended.
    """

    def __init__(self, wait: Callable[[], None] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._wait = wait
        self._within: list[float] = []

    def time(self, stage: str, work: Callable[[], Made]) -> Made:
        """Run a stage, which may have others within it."""
        with self.timing(stage):
            return work()

    @contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        """Count the time of a block, which may have other stages within it."""
        started = perf_counter()
        self._within.append(0.0)
        try:
            yield
            if self._wait is not None:
                self._wait()
        finally:
            whole = perf_counter() - started
            self._add(stage, whole - self._within.pop())
            if self._within:
                self._within[-1] += whole

    def part(self, stage: str, of: str, seconds: float) -> None:
        """Count seconds to a stage that were counted to another, in which it took place."""
        self._add(stage, seconds)
        self._add(of, -seconds)

    def _add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
