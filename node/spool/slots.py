"""Empty files that wait for bytes, under names that are durable already.

A file that is made for an instance costs two fsyncs before it is safe: one for its bytes, one for its name. Names are made durable here
by the dozen and ahead of need, so that a sender waits for the first only.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections import deque
from contextlib import suppress
from pathlib import Path

from node.spool.draft import fsync_folder

#: Made at once, with one fsync.
_AT_ONCE = 64
#: When fewer are left, more are made in the background: enough for what comes meanwhile.
_FEW = 64
SUFFIX = ".slot"


class Slots:
    """The free slots of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._free: deque[Path] = deque()
        self._lock = threading.Lock()
        self._refill: threading.Thread | None = None

    def take(self) -> Path:
        """An empty file with a durable name, for the caller alone.

        Raises
        ------
        OSError
            If none is left and none can be made.
        """
        with self._lock:
            if not self._free:
                self._free += self._make()
            slot = self._free.popleft()
            if len(self._free) < _FEW and self._refill is None:
                self._refill = threading.Thread(target=self._make_more, name="slots", daemon=True)
                self._refill.start()
        return slot

    def remove(self) -> None:
        """Take away those that were not used."""
        while (refill := self._refill) is not None:
            refill.join()
        with self._lock:
            while self._free:
                self._free.pop().unlink(missing_ok=True)

    def _make_more(self) -> None:
        made: list[Path] = []
        # A disk that takes nothing is told to the next who finds no slot left.
        with suppress(OSError):
            made = self._make()
        with self._lock:
            self._free += made
            self._refill = None

    def _make(self) -> list[Path]:
        made = [self._folder / f"{uuid.uuid4().hex}{SUFFIX}" for _ in range(_AT_ONCE)]
        try:
            for path in made:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
            fsync_folder(self._folder)
        except OSError:
            for path in made:
                path.unlink(missing_ok=True)
            raise
        return made
