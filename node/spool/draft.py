"""A file that is durable, but that the ledger may not know of yet."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Draft:
    """What was made durable, until the ledger knows of it."""

    final: Path
    waiting: Path

    def settle(self) -> None:
        """Say that the ledger's row is committed; from now on the file stays, whatever happens."""
        self.waiting.unlink(missing_ok=True)

    def withdraw(self) -> None:
        """Take the file back: the ledger will never know of it. What another has put under the same key since is left alone."""
        remove_if_same(self.final, self.waiting)
        self.waiting.unlink(missing_ok=True)


def remove_if_same(final: Path, waiting: Path) -> bool:
    """Remove ``final`` if it is the very file that waits, and not one that another process has put in its place."""
    try:
        if not final.samefile(waiting):
            return False
        final.unlink()
    except FileNotFoundError:
        return False
    return True


def make_folders(folder: Path) -> None:
    """Make ``folder`` and those above it, each durable before the next."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    fsync_folder(folder.parent)


def fsync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
