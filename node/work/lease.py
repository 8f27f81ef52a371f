"""Keeping leases alive, and stopping work whose lease is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from node.core.errors import StorageError
from node.ledger import leases
from node.ledger.engine import Ledger

log = structlog.get_logger(__name__)


class Heart(threading.Thread):
    """Beats five times a lease: renews what this process holds, and knows since when it has not missed a beat.

    Parameters
    ----------
    lost : callable
        Called with the id of work that another has taken over, or that we could not renew in time: it must be stopped.
    """

    def __init__(self, ledger: Ledger, lease_s: float, lost: Callable[[str], None]) -> None:
        super().__init__(name="heart", daemon=True)
        self._ledger, self._lease_s, self._lost = ledger, lease_s, lost
        self._held: dict[str, str] = {}
        self._lock = threading.Lock()
        self._stop_beating = threading.Event()
        self._steady_since = self._last_beat = time.monotonic()

    @contextmanager
    def holding(self, work_id: str, token: str) -> Iterator[None]:
        """Keep the lease on ``work_id`` alive while the block runs."""
        with self._lock:
            self._held[work_id] = token
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(work_id, None)

    def is_steady(self) -> bool:
        """Whether this process has beaten without a gap for one whole lease.

        Until then nobody may be declared dead by us: if we were frozen or cut off, so may the others have been, and their leases
        look as old as ours.
        """
        now = time.monotonic()
        return now - self._last_beat < self._lease_s / 2 and now - self._steady_since >= self._lease_s

    def run(self) -> None:
        """Beat until stopped."""
        while not self._stop_beating.wait(self._lease_s / 5):
            self._beat()

    def stop(self) -> None:
        """Beat no more."""
        self._stop_beating.set()

    def _beat(self) -> None:
        with self._lock:
            held = dict(self._held)
        try:
            with self._ledger.beating() as tx:
                lost = leases.renew(tx, held, self._lease_s)
        except StorageError as error:
            log.warning("heart.missed", code=error.full_code, sentence=error.sentence)
            lost = set(held) if time.monotonic() - self._last_beat > self._lease_s else set()
        else:
            now = time.monotonic()
            if now - self._last_beat > self._lease_s / 2:
                self._steady_since = now
            self._last_beat = now
        for work_id in lost:
            with self._lock:
                still_held = self._held.get(work_id) == held[work_id]
            if still_held:
                log.warning("lease.lost", work_id=work_id)
                self._lost(work_id)
