"""A file that is durable, but that the ledger may not know of yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Draft:
    """What was made durable, until the ledger knows of it.

    Attributes
    ----------
    final : Path
        Under which name it is to stay.
    waiting : Path
        Under which name it lies in ``incoming/`` meanwhile.
    take_back : callable
        Removes what was put elsewhere.
    """

    final: Path
    waiting: Path
    take_back: Callable[[], None] = lambda: None

    def name(self) -> bool:
        """Link the file under its final name; False when one was there already, which it replaces unless it is the same.

        Raises
        ------
        FileNotFoundError
            If what waited is gone.
        """
        make_folders(self.final.parent)
        try:
            self.final.hardlink_to(self.waiting)
        except FileExistsError:
            if self.final.samefile(self.waiting):
                return False
            twin = self.waiting.with_suffix(".link")
            twin.hardlink_to(self.waiting)
            twin.replace(self.final)
            return False
        return True

    def settle(self) -> None:
        """Say that the ledger's row is committed; from now on the file stays, whatever happens."""
        self.waiting.unlink(missing_ok=True)

    def withdraw(self) -> None:
        """Take the file back: the ledger will never know of it. What another has put under the same key since is left alone."""
        if self.waiting.exists():
            self.take_back()
        remove_if_same(self.final, self.waiting)
        self.waiting.unlink(missing_ok=True)


def name_all(drafts: Iterable[Draft]) -> None:
    """Give drafts their final names, durably, with one fsync for each folder.

    Raises
    ------
    OSError
        If a name could not be given; it may be tried again.
    """
    folders = set()
    for draft in drafts:
        draft.name()
        folders.add(draft.final.parent)
    for folder in sorted(folders):
        fsync_folder(folder)


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
