"""Whether there is room on the disk: asked for every piece of an instance, looked up a few times a second."""

from __future__ import annotations

import time
from collections.abc import Callable


class Room:
    """Remembers for a moment how much is free, less what was taken since: a fast sender fills a reserve between two looks.

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
        self._left = 0

    def is_there(self, count: int = 0) -> bool:
        """Whether another instance may be begun, or ``count`` bytes more of one be taken; these are counted."""
        now = time.monotonic()
        if now - self._looked_at > self._remembers_s:
            self._left, self._looked_at = self._free_bytes() - self._least, now
        self._left -= count
        return self._left >= 0
