"""A spool in a local folder.

``put_atomic`` returns when the bytes are on disk under their final name. Until ``Draft.settle`` says that the ledger knows of them, a
second link to the same file stays in ``incoming/``: what a crash leaves there was never answered for, and ``recover`` takes it away.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from node.core.errors import NotEnoughDisk, StorageError


@dataclass(frozen=True, slots=True)
class Draft:
    """What ``put_atomic`` has made durable, until the ledger knows of it."""

    final: Path
    waiting: Path

    def settle(self) -> None:
        """Say that the ledger's row is committed; from now on the file stays, whatever happens."""
        self.waiting.unlink(missing_ok=True)

    def withdraw(self) -> None:
        """Take the file back: the ledger will never know of it. What another has put under the same key since is left alone."""
        _remove_if_same(self.final, self.waiting)
        self.waiting.unlink(missing_ok=True)


class LocalSpool:
    """A folder of files that are written once.

    Parameters
    ----------
    root : Path
        Made if it is not there. Everything lies on one file system, so that a rename is atomic.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming" / uuid.uuid4().hex
        self._incoming.parent.mkdir(parents=True, exist_ok=True)
        with self._gate():
            self._incoming.mkdir()
            self._lock = (self._incoming / ".lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def put_atomic(self, key: str, *parts: bytes) -> Draft:
        """Write ``parts``, one behind the other, under ``key``: fsync, rename, fsync of the folder.

        Raises
        ------
        NotEnoughDisk
            If the bytes could not be made durable; nothing is left behind.
        """
        final = self.path(key)
        draft = Draft(final=final, waiting=self._incoming / f"{uuid.uuid4().hex}~{key.replace('/', '+')}.part")
        twin = draft.waiting.with_suffix(".link")
        try:
            _make_folders(final.parent)
            with draft.waiting.open("xb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft.waiting, twin)
            twin.replace(final)
            _fsync_folder(final.parent)
        except OSError as error:
            twin.unlink(missing_ok=True)
            draft.withdraw()
            raise NotEnoughDisk(f"The spool cannot be written ({error.strerror}); make room or mend the disk, then send again.") from error
        return draft

    def path(self, key: str) -> Path:
        """Where the bytes of ``key`` lie.

        Raises
        ------
        StorageError
            If the key would lead out of the spool, or cannot be written into the name of a draft.
        """
        pure = PurePosixPath(key)
        unsafe = any(part == "incoming" or part.startswith(".") for part in pure.parts) or not {"+", "\0"}.isdisjoint(key)
        if pure.is_absolute() or not pure.parts or unsafe:
            raise StorageError(f"{key!r} is not a key of the spool.", reason="key")
        return self.root / pure

    def sha256(self, key: str, *, skip: int = 0) -> str:
        """Digest of what lies under ``key``, from byte ``skip`` on."""
        with self.path(key).open("rb") as file:
            file.seek(skip)
            return hashlib.file_digest(file, "sha256").hexdigest()

    def list(self, prefix: str = "") -> Iterator[str]:
        """Every key that begins with the folder ``prefix``, sorted within each folder."""
        for folder, names, files in os.walk(self.path(prefix) if prefix else self.root):
            here = Path(folder)
            if here == self.root and "incoming" in names:
                names.remove("incoming")
            names.sort()
            for name in sorted(files):
                yield (here / name).relative_to(self.root).as_posix()

    def delete(self, key: str) -> None:
        """Remove ``key``; nothing happens when it is not there."""
        self.path(key).unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Room that is left on the spool's file system."""
        return shutil.disk_usage(self.root).free

    def recover(self, is_known: Callable[[str], bool]) -> int:
        """Clear up after processes that are gone: what the ledger does not know goes, what it knows stays.

        Returns
        -------
        int
            How many files were taken away.
        """
        removed = 0
        with self._gate():
            for folder in sorted(path for path in self._incoming.parent.iterdir() if path.is_dir() and path != self._incoming):
                with (folder / ".lock").open("w") as lock:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        continue  # its process lives
                    removed += self._clear(folder, is_known)
                shutil.rmtree(folder)
        return removed

    def close(self) -> None:
        """Give the place in ``incoming/`` back."""
        with self._gate():
            self._lock.close()
            if sorted(self._incoming.iterdir()) == [self._incoming / ".lock"]:
                shutil.rmtree(self._incoming)

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """Enter, leave or clear ``incoming/`` one process at a time, so that none takes another's half-made place for an abandoned one."""
        with (self._incoming.parent / ".gate").open("w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield

    def _clear(self, folder: Path, is_known: Callable[[str], bool]) -> int:
        removed = 0
        for waiting in sorted(folder.glob("*.part")):
            key = waiting.name.removesuffix(".part").partition("~")[2].replace("+", "/")
            if not is_known(key):
                removed += _remove_if_same(self.path(key), waiting)
        return removed


def _remove_if_same(final: Path, waiting: Path) -> bool:
    """Remove ``final`` if it is the very file that waits, and not one that another process has put in its place."""
    if not (final.exists() and waiting.exists() and final.samefile(waiting)):
        return False
    final.unlink()
    return True


def _make_folders(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    _fsync_folder(folder.parent)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
