"""Local copies of what lies in a store: the least recently used go first, and never more room is taken than was given.

Any number of processes of a host share the folder. When a file was last used is its time of modification, so nothing has to be kept in
memory or agreed upon.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from node.spool.draft import make_folders

#: What was asked for so lately may be about to be opened; it stays.
_GRACE_S = 60.0
#: The folder is looked through when so much of its room has been filled since, and emptied to this.
_LOOK_AFTER = 0.05
_EMPTY_TO = 0.9


class Cache:
    """The copies below ``root``, without what begins with a dot and without ``incoming/``.

    Parameters
    ----------
    most_bytes : int
        So much room the copies may take.
    grace_s : float
        What was used within this time stays all the same.
    """

    def __init__(self, root: Path, most_bytes: int, *, grace_s: float = _GRACE_S) -> None:
        self._root, self._most, self._grace_s = root, most_bytes, grace_s
        self._added = most_bytes  # so that the first to come looks
        self._lock = threading.Lock()

    def touch(self, path: Path) -> bool:
        """Note that a copy is used; False when there is none."""
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def enter(self, fetched: Path, final: Path) -> None:
        """Give a file that was fetched its name; nothing is made durable, because it can be fetched again."""
        make_folders(final.parent)
        fetched.rename(final)

    def make_room(self, added: int) -> None:
        """Note that ``added`` bytes came, and let go of what was not used for longest when there are too many."""
        with self._lock:
            self._added += added
            if self._added < self._most * _LOOK_AFTER:
                return
            self._added = 0
        self.evict()

    def evict(self) -> int:
        """Let go of the least recently used until the copies have room again; return how many bytes went."""
        found = sorted(self._copies())
        total, gone = sum(size for _, size, _ in found), 0
        if total <= self._most:
            return 0
        latest = time.time() - self._grace_s
        for used_at, size, path in found:
            if total - gone <= self._most * _EMPTY_TO or used_at > latest:
                break
            path.unlink(missing_ok=True)
            gone += size
        return gone

    @contextmanager
    def linking(self, folder: Path) -> Iterator[Callable[[Path], Path]]:
        """A function that gives a copy a second name in ``folder``, so that its bytes stay; all of these go at the end."""
        folder.mkdir()

        def link(path: Path) -> Path:
            held = folder / path.name
            held.hardlink_to(path)
            return held

        try:
            yield link
        finally:
            shutil.rmtree(folder)

    def _copies(self) -> Iterator[tuple[float, int, Path]]:
        for folder, names, files in os.walk(self._root):
            here = Path(folder)
            if here == self._root:
                names[:] = [name for name in names if name != "incoming" and not name.startswith(".")]
            for name in files:
                with suppress(FileNotFoundError):
                    found = (here / name).stat()
                    if not name.startswith("."):
                        yield found.st_mtime, found.st_size, here / name
