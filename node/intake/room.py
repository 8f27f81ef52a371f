"""Whether there is room on the disk: asked for every instance, looked up a few times a second."""

from __future__ import annotations

import time
from collections.abc import Callable


class Room:
    """Remembers for a moment how much is free.

    Parameters
    ----------
    free_bytes : callable
        Asks the file system.
    least : int
        Below this nothing is taken.
    """

    def __init__(self, free_bytes: Callable[[], int], least: int, *, remembers_s: float = 0.2) -> None:
        self._free_bytes, self._least, self._remembers_s = free_bytes, least, remembers_s
        self._looked_at = float("-inf")
        self._is_there = True

    def is_there(self) -> bool:
        """Whether another instance may be taken."""
        now = time.monotonic()
        if now - self._looked_at > self._remembers_s:
            self._is_there, self._looked_at = self._free_bytes() >= self._least, now
        return self._is_there
