"""A spool in a local folder.

``put_atomic`` returns when the bytes are on disk under their final name; an ``Incoming`` that is sealed is on disk under the name of
its slot. Until ``Draft.settle`` says that the ledger knows of them, a link to the file stays in ``incoming/``. That folder is the journal:
what a crash leaves there is either adopted by its owner, or taken away.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from node.core.errors import StorageError
from node.spool.draft import Draft, fsync_folder, name_all, remove_if_same
from node.spool.incoming import Incoming, no_room
from node.spool.slots import SUFFIX, Slots

_MARKER = ".radnode"


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
        self._slots = Slots(self._incoming)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def open_incoming(self, preface: bytes) -> Incoming:
        """Begin a file that is written as its bytes come, and then sealed.

        Raises
        ------
        NotEnoughDisk
            If there is no room for it.
        """
        try:
            return Incoming(self._slots.take(), preface)
        except OSError as error:
            raise no_room(error) from error

    def leave(self, incoming: Incoming, key: str) -> Draft:
        """Let go of what is sealed, and say under which key it is to be kept."""
        return incoming.leave(self.path(key))

    def draft_of(self, waiting: Path, key: str) -> Draft:
        """What lies sealed in a slot that somebody has left, and under which key it is to be kept."""
        return Draft(final=self.path(key), waiting=waiting)

    def named(self, waiting: Path) -> str | None:
        """The key that the file of a slot has got; None when it has none yet."""
        if waiting.stat().st_nlink == 1:
            return None
        return next((key for key in self.list() if self.path(key).samefile(waiting)), None)

    def keep(self, drafts: Sequence[Draft]) -> None:
        """Give drafts their final names, durably.

        Raises
        ------
        OSError
            If a name could not be given; it may be tried again.
        """
        name_all(drafts)

    def put_atomic(self, key: str, *parts: bytes) -> Draft:
        """Write ``parts``, one behind the other, under ``key``, durably.

        Raises
        ------
        NotEnoughDisk
            If the bytes could not be made durable; nothing is left behind.
        """
        final = self.path(key)  # a key that leads elsewhere is refused before anything is written
        name = f"{uuid.uuid4().hex}~{key.replace('/', '+')}"
        incoming = Incoming(self._incoming / f"{name}.new", b"")
        for part in parts:
            incoming.write(memoryview(part))
        return incoming.publish(final, self._incoming / f"{name}.part")

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

    @contextmanager
    def holding(self, keys: Iterable[str]) -> Iterator[list[Path]]:
        """Where the bytes of some keys lie."""
        yield [self.path(key) for key in keys]

    def head(self, key: str, most: int) -> tuple[bytes, int]:
        """The first bytes under ``key``, and how many there are."""
        with self.path(key).open("rb") as file:
            return file.read(most), os.fstat(file.fileno()).st_size

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
            for name in sorted(name for name in files if not name.startswith(".")):
                yield (here / name).relative_to(self.root).as_posix()

    def unsettled(self) -> Iterator[Path]:
        """Every used slot, of any process: the ledger may not know of it yet. Each may be settled, and gone, at any moment."""
        for folder in list(self._incoming.parent.glob("*/")):
            with suppress(FileNotFoundError):  # its process has ended meanwhile, or was cleared up after: all is settled
                yield from _used_slots(folder)

    def delete(self, key: str) -> None:
        """Remove ``key``; nothing happens when it is not there."""
        self.path(key).unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Room that is left on the spool's file system."""
        return shutil.disk_usage(self.root).free

    def fill(self) -> float | None:
        """How full the spool's file system is, as whoever is not root sees it."""
        found = os.statvfs(self.root)
        used = found.f_blocks - found.f_bfree
        return used / (used + found.f_bavail)

    @property
    def place(self) -> Path:
        """This process's own folder in ``incoming/``; what it leaves there in a crash goes when the next of its owner clears up."""
        return self._incoming

    def marker(self) -> str | None:
        """Which ledger's bytes lie here, as ``mark`` wrote it."""
        try:
            return (self.root / _MARKER).read_text().strip()
        except FileNotFoundError:
            return None

    def mark(self, name: str) -> None:
        """Write down, durably, whose bytes lie here."""
        new = self._incoming / "marker"
        with new.open("w") as file:
            file.write(name)
            file.flush()
            os.fsync(file.fileno())
        new.rename(self.root / _MARKER)
        fsync_folder(self.root)

    def recover(self, is_known: Callable[[str], bool], adopt: Callable[[Path], bool] | None = None) -> int:
        """Clear up after processes that are gone: what the ledger does not know goes, what it knows stays.

        Parameters
        ----------
        is_known : callable
            Whether the ledger knows a key.
        adopt : callable
            Gives a slot's file its final name and its row; False when it cannot have been answered for. Without it, what lies in slots
            stays there.

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
                    slots = _used_slots(folder)
                    if slots and adopt is None:
                        continue
                    removed += sum(not adopt(path) for path in slots if adopt)
                shutil.rmtree(folder)
        return removed

    def close(self) -> None:
        """Give the place in ``incoming/`` back."""
        with self._gate():
            self._lock.close()
            self._slots.remove()
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
            key = _key_of(waiting)
            if not is_known(key):
                removed += remove_if_same(self.path(key), waiting)
        return removed


def _used_slots(folder: Path) -> list[Path]:
    """Those into which something was written; one that another process settles meanwhile is left out."""
    used = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with suppress(FileNotFoundError):
            used += [path] if path.stat().st_size else []
    return used


def _key_of(waiting: Path) -> str:
    return waiting.name.removesuffix(".part").partition("~")[2].replace("+", "/")
