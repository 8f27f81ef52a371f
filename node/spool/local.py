"""A spool in a local folder.

``publish`` and ``put_atomic`` return when the bytes are on disk under their final name. Until ``Draft.settle`` says that the ledger
knows of them, a second link to the same file stays in ``incoming/``. That folder is the journal: what a crash leaves there is either
adopted by its owner, or taken away.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from node.core.errors import StorageError
from node.spool.draft import Draft, remove_if_same
from node.spool.incoming import Incoming


class LocalSpool:
    """A folder of files that are written once.

    Parameters
    ----------
    root : Path
        Made if it is not there. Everything lies on one file system, so that a rename is atomic.
    owner : str
        Whose place in ``incoming/`` this is, ``listen`` for example; what a crash leaves there is recovered by the next of the same kind.
    """

    def __init__(self, root: Path, owner: str) -> None:
        self.root = root
        self._owner = owner
        self._incoming = root / "incoming" / f"{owner}-{uuid.uuid4().hex}"
        self._incoming.parent.mkdir(parents=True, exist_ok=True)
        with self._gate():
            self._incoming.mkdir()
            self._lock = (self._incoming / ".lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def open_incoming(self, preface: bytes) -> Incoming:
        """Begin a file that is written as its bytes come; see ``publish``.

        Raises
        ------
        NotEnoughDisk
            If there is no room for it.
        """
        return Incoming(self._incoming / f"{uuid.uuid4().hex}.new", preface)

    def publish(self, incoming: Incoming, key: str) -> Draft:
        """Give what has come its final name, durably.

        Raises
        ------
        NotEnoughDisk
            If it could not be made durable; nothing is left behind.
        """
        return incoming.publish(self.path(key), self._waiting(key))

    def set_aside(self, draft: Draft, key: str) -> Draft:
        """Let what a crash leaves of ``draft`` be asked about as ``key``; the file itself stays under its own."""
        return Draft(final=draft.final, waiting=draft.waiting.rename(self._waiting(key)))

    def put_atomic(self, key: str, *parts: bytes) -> Draft:
        """Write ``parts``, one behind the other, under ``key``, durably.

        Raises
        ------
        NotEnoughDisk
            If the bytes could not be made durable; nothing is left behind.
        """
        self.path(key)  # a key that leads elsewhere is refused before anything is written
        incoming = self.open_incoming(b"")
        for part in parts:
            incoming.write(memoryview(part))
        return self.publish(incoming, key)

    def _waiting(self, key: str) -> Path:
        return self._incoming / f"{uuid.uuid4().hex}~{key.replace('/', '+')}.part"

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
            for folder in sorted(path for path in self._incoming.parent.glob(f"{self._owner}-*") if path != self._incoming):
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
                removed += remove_if_same(self.path(key), waiting)
        return removed
