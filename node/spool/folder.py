"""Bytes at rest in a folder that several hosts have mounted."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.core.errors import StorageError
from node.spool.draft import fsync_folder, make_folders


class SharedFolder:
    """Files below ``root``: each is written under a name of its own, made durable, and then renamed; none is ever changed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, path: Path, sha256: str) -> None:
        """Copy a file, durably, and compare what was written.

        Raises
        ------
        StorageError
            If it is not there whole.
        """
        final = self._root / key
        with _reaching():
            make_folders(final.parent)
            part = final.parent / f".{uuid.uuid4().hex}.part"
            with path.open("rb") as source, part.open("xb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
            with part.open("rb") as copied:
                whole = hashlib.file_digest(copied, "sha256").hexdigest() == sha256
            if not whole:
                part.unlink()
                raise StorageError("The shared folder holds something else than what was put; it will be put again.", reason="store")
            part.replace(final)
            fsync_folder(final.parent)

    def fetch(self, key: str, path: Path) -> str:
        """Copy what lies under ``key`` into ``path``; return the digest of what was read.

        Raises
        ------
        FileNotFoundError
            If there is nothing.
        StorageError
            If the folder cannot be read.
        """
        with _reaching():
            shutil.copyfile(self._root / key, path)
            with (self._root / key).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()

    def head(self, key: str, most: int) -> tuple[bytes, int]:
        """The first bytes, and how many there are; errors as in ``fetch``."""
        with _reaching(), (self._root / key).open("rb") as file:
            return file.read(most), os.fstat(file.fileno()).st_size

    def list(self, prefix: str) -> Iterator[str]:
        """Every key that begins with the folder ``prefix``."""
        for folder, _, files in os.walk(self._root / prefix):
            yield from ((Path(folder) / name).relative_to(self._root).as_posix() for name in files if not name.startswith("."))

    def delete(self, key: str) -> None:
        """Remove a file, if there is one."""
        with _reaching():
            (self._root / key).unlink(missing_ok=True)

    def fill(self) -> float | None:
        """How full its disk is."""
        with _reaching():
            found = shutil.disk_usage(self._root)
        return found.used / found.total


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"The shared folder cannot be used ({error.strerror}); it will be tried again.", reason="store") from error
