"""What the stations need of a spool, wherever its bytes are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from node.spool.draft import Draft
from node.spool.incoming import Incoming


class Spool(Protocol):
    """Bytes at rest under keys, written once: on this machine (``LocalSpool``), or where other hosts reach them too (``RemoteSpool``)."""

    def open_incoming(self, preface: bytes) -> Incoming:
        """Begin a file on the local disk, which is the journal of what was answered for."""
        ...

    def leave(self, incoming: Incoming, key: str) -> Draft:
        """Let go of what is sealed, and say under which key it is to be kept."""
        ...

    def draft_of(self, waiting: Path, key: str) -> Draft:
        """What lies sealed in a slot that somebody has left, and under which key it is to be kept."""
        ...

    def named(self, waiting: Path) -> str | None:
        """The key that the file of a slot has got on this host; None when it has none yet."""
        ...

    def keep(self, drafts: Sequence[Draft]) -> None:
        """Have drafts lie durably under their keys, where every host that needs them finds them.

        Raises
        ------
        OSError, StorageError
            If that could not be done; it may be tried again.
        """
        ...

    def put_atomic(self, key: str, *parts: bytes) -> Draft:
        """Write ``parts``, one behind the other, under ``key``, durably."""
        ...

    def path(self, key: str) -> Path:
        """Where the bytes of ``key`` can be read on this host now; they may be on the way out in a minute (see ``holding``).

        Raises
        ------
        StorageError
            If the key is none, or its bytes cannot be had now, or are not what was put.
        FileNotFoundError
            Possibly, if there is nothing under the key; with a local spool, when the path is opened.
        """
        ...

    def holding(self, keys: Iterable[str]) -> AbstractContextManager[list[Path]]:
        """The files of some keys, on this host, which stay for as long as the block runs; errors as in ``path``."""
        ...

    def head(self, key: str, most: int) -> tuple[bytes, int]:
        """The first bytes under ``key``, and how many there are in all; asked of where they are kept, not of a copy."""
        ...

    def sha256(self, key: str, *, skip: int = 0) -> str:
        """Digest of what lies under ``key``, from byte ``skip`` on."""
        ...

    def list(self, prefix: str = "") -> Iterator[str]:
        """Every key that begins with the folder ``prefix``."""
        ...

    def unsettled(self) -> Iterator[Path]:
        """Every used slot of this host: the ledger may not know of it yet."""
        ...

    def delete(self, key: str) -> None:
        """Remove ``key``; nothing happens when it is not there."""
        ...

    def free_bytes(self) -> int:
        """Room that is left for what comes in."""
        ...

    def fill(self) -> float | None:
        """How full the place is where bytes are kept, from 0 to 1; None where that has no meaning."""
        ...

    def marker(self) -> str | None:
        """Which ledger's bytes lie here, as ``mark`` wrote it."""
        ...

    def mark(self, name: str) -> None:
        """Write down, durably, whose bytes lie here."""
        ...

    def recover(self, is_known: Callable[[str], bool], adopt: Callable[[Path], bool] | None = None) -> int:
        """Clear up after processes of this host that are gone."""
        ...
