"""How fast a peer may send: a token bucket for each calling AE at one address, shared by its associations."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.core.study import Peer


class Bucket:
    """Lets ``rate`` bytes through in a second, and that many at once after a rest."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._left, self._at = float(rate), time.monotonic()
        self.users = 0

    def spend(self, count: int) -> float:
        """Take what was received; return for how long nothing more may be, in seconds."""
        with self._lock:
            self._refill()
            self._left -= count
            return max(0.0, -self._left / self._rate)

    def is_idle(self) -> bool:
        """Whether it is as good as new."""
        with self._lock:
            self._refill()
            return not self.users and self._left >= self._rate

    def _refill(self) -> None:
        now = time.monotonic()
        self._left, self._at = min(float(self._rate), self._left + (now - self._at) * self._rate), now


class Rates:
    """The buckets of everyone who sends.

    Parameters
    ----------
    rate : int
        Bytes per second for each; 0 for no limit.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def enter(self, peer: Peer) -> Bucket | None:
        """The bucket of a peer that has one more association; it outlives the association until it is full again."""
        if not self._rate:
            return None
        key = (peer.calling_ae, peer.address)
        with self._lock:
            for other in [other for other, bucket in self._buckets.items() if other != key and bucket.is_idle()]:
                del self._buckets[other]
            bucket = self._buckets.setdefault(key, Bucket(self._rate))
            bucket.users += 1
            return bucket

    def leave(self, bucket: Bucket | None) -> None:
        """One association of the peer has ended."""
        if bucket is not None:
            with self._lock:
                bucket.users -= 1
