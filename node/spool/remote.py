"""A spool whose bytes lie where several hosts reach them: in a bucket, or in a folder that they share.

The listener's local folder stays its journal: an instance is received, sealed and answered for there, and the sealed file leaves it only
when the bytes lie in the store, verified, and its row is committed. What was put or fetched stays in the local folder as a copy, until
others need its room.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from node.core.errors import NotEnoughDisk, StorageError
from node.spool.cache import Cache
from node.spool.draft import Draft
from node.spool.incoming import Incoming
from node.spool.local import LocalSpool

#: So many objects are on their way at once.
_AT_ONCE = 16


class Store(Protocol):
    """Where bytes are kept for all hosts. Every method raises StorageError when the store does not answer."""

    def put(self, key: str, path: Path, sha256: str) -> None:
        """Copy a file there, durably, and make sure that all of it arrived."""
        ...

    def fetch(self, key: str, path: Path) -> str:
        """Copy what lies under ``key`` into ``path``; return the digest that it was put with.

        Raises
        ------
        FileNotFoundError
            If there is nothing.
        """
        ...

    def head(self, key: str, most: int) -> tuple[bytes, int]:
        """The first bytes of what lies under ``key``, and how many there are; errors as in ``fetch``."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Every key that begins with the folder ``prefix``."""
        ...

    def delete(self, key: str) -> None:
        """Remove what lies under ``key``, if there is anything."""
        ...

    def fill(self) -> float | None:
        """How full the store is, from 0 to 1, where that can be known."""
        ...


class RemoteSpool:
    """Receives into a local folder, keeps in a store.

    Parameters
    ----------
    local : LocalSpool
        The journal, and the place of the copies.
    store : Store
        Where the bytes are kept.
    most_bytes : int
        So much room the local copies may take.
    """

    def __init__(self, local: LocalSpool, store: Store, most_bytes: int) -> None:
        self._local, self._store = local, store
        self._cache = Cache(local.root, most_bytes)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="store")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def open_incoming(self, preface: bytes) -> Incoming:
        """Begin a file on the local disk."""
        return self._local.open_incoming(preface)

    def leave(self, incoming: Incoming, key: str) -> Draft:
        """Let go of what is sealed, and say under which key it is to be kept."""
        return self._local.leave(incoming, key)

    def draft_of(self, waiting: Path, key: str) -> Draft:
        """What lies sealed in a slot, and under which key it is to be kept."""
        return self._local.draft_of(waiting, key)

    def named(self, waiting: Path) -> str | None:
        """None: what has its key lies in the store, and was read back when it was put there."""
        return self._local.named(waiting)

    def keep(self, drafts: Sequence[Draft]) -> None:
        """Put drafts into the store, several at a time; return when each is there, whole.

        Raises
        ------
        OSError, StorageError
            If one could not be; all may be put again.
        """
        for _ in self._threads.map(self._put, drafts):
            pass
        self._cache.make_room(sum(draft.waiting.stat().st_size for draft in drafts))

    def put_atomic(self, key: str, *parts: bytes) -> Draft:
        """Write ``parts`` under ``key`` and have them in the store.

        Raises
        ------
        NotEnoughDisk
            If the bytes could not be made durable; nothing is left behind.
        """
        draft = self._local.put_atomic(key, *parts)
        try:
            self.keep([draft])
        except (OSError, StorageError) as error:
            with suppress(StorageError):
                self._store.delete(key)
            draft.withdraw()
            sentence = error.sentence if isinstance(error, StorageError) else f"The spool cannot be read ({error.strerror})."
            raise NotEnoughDisk(sentence, reason="store") from error
        return replace(draft, take_back=lambda: self.delete(key))

    def path(self, key: str) -> Path:
        """Where a copy of ``key`` lies, which is fetched first if there is none.

        Raises
        ------
        StorageError
            If the store does not answer, or what came is not what was put.
        FileNotFoundError
            If there is nothing under the key.
        """
        final = self._local.path(key)
        if not self._cache.touch(final):
            self._fetch(key, final)
        return final

    @contextmanager
    def holding(self, keys: Iterable[str]) -> Iterator[list[Path]]:
        """Copies of some keys that nobody takes away while the block runs: links of our own; errors as in ``path``."""
        with self._cache.linking(self._local.place / f"held-{uuid.uuid4().hex}") as link:
            yield list(self._threads.map(lambda key: self._hold(key, link), keys))

    def head(self, key: str, most: int) -> tuple[bytes, int]:
        """The first bytes under ``key`` in the store, and how many there are; errors as in ``path``."""
        return self._store.head(key, most)

    def sha256(self, key: str, *, skip: int = 0) -> str:
        """Digest of what lies under ``key``, from byte ``skip`` on; errors as in ``path``."""
        self.path(key)
        return self._local.sha256(key, skip=skip)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Every key in the store that begins with the folder ``prefix``."""
        if prefix:
            self._local.path(prefix)
        return (key for key in self._store.list(prefix) if not key.startswith("."))

    def unsettled(self) -> Iterator[Path]:
        """Every used slot of this host."""
        return self._local.unsettled()

    def delete(self, key: str) -> None:
        """Remove ``key`` from the store, and our copy of it. Copies of other hosts go when their room is needed."""
        final = self._local.path(key)
        self._store.delete(key)
        final.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Room that is left in the local folder."""
        return self._local.free_bytes()

    def fill(self) -> float | None:
        """How full the store is, where that can be known."""
        return self._store.fill()

    def marker(self) -> str | None:
        """Which ledger's bytes lie in the store."""
        try:
            return self._store.head(_MARKER, 100)[0].decode()
        except FileNotFoundError:
            return None

    def mark(self, name: str) -> None:
        """Write down in the store whose bytes lie there."""
        path = self._local.place / "marker"
        path.write_text(name)
        self._store.put(_MARKER, path, _digest(path))
        path.unlink()

    def recover(self, is_known: Callable[[str], bool], adopt: Callable[[Path], bool] | None = None) -> int:
        """Clear up after processes of this host that are gone; what the ledger does not know leaves the store too."""

        def is_known_or_goes(key: str) -> bool:
            if known := is_known(key):
                return known
            self._store.delete(key)
            return False

        return self._local.recover(is_known_or_goes, adopt)

    def close(self) -> None:
        """Give the place in ``incoming/`` back."""
        self._threads.shutdown()
        self._local.close()

    def _put(self, draft: Draft) -> None:
        key = draft.final.relative_to(self._local.root).as_posix()
        self._store.put(key, draft.waiting, _digest(draft.waiting))
        draft.name()

    def _fetch(self, key: str, final: Path) -> None:
        fetched = self._local.place / f"{uuid.uuid4().hex}.fetch"
        try:
            expected = self._store.fetch(key, fetched)
            with fetched.open("rb") as file:
                os.fsync(file.fileno())  # after a loss of power a copy is whole or not there
            if _digest(fetched) != expected:
                raise StorageError("What came from the store is not what was put there.", reason="digest")
            size = fetched.stat().st_size
            self._cache.enter(fetched, final)
        finally:
            fetched.unlink(missing_ok=True)
        self._cache.make_room(size)

    def _hold(self, key: str, link: Callable[[Path], Path]) -> Path:
        while True:
            with suppress(_Evicted):
                return _link_or_again(self.path(key), link)


_MARKER = ".radnode"


class _Evicted(Exception):
    """The copy went between its fetching and its linking."""


def _link_or_again(path: Path, link: Callable[[Path], Path]) -> Path:
    try:
        return link(path)
    except FileNotFoundError as error:
        raise _Evicted from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
