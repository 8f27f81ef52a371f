"""One file on its way in: bytes as they come, with their digest and length, then durable under a final name."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from node.core.errors import NotEnoughDisk
from node.spool.draft import Draft, fsync_folder
from node.spool.writeout import begin_writeout

#: How much of the beginning is kept at hand for whoever reads the header.
HEAD = 1 << 16
#: So much is given to the disk at once and early; for less, an operation of its own costs more than it gains.
_WORTH_WHILE = 1 << 17


class Incoming:
    """A file in ``incoming/`` that is being written.

    Parameters
    ----------
    path : Path
        A slot, or a name that no file has yet.
    preface : bytes
        Written before what comes, and covered by neither digest nor length. It may end with room for a seal.

    Attributes
    ----------
    head : bytearray
        The first bytes behind the preface, at most ``HEAD``.
    size : int
        Bytes behind the preface.

    Raises
    ------
    NotEnoughDisk
        Here and in ``write``: if the disk does not take the bytes. Nothing is left behind.
    """

    def __init__(self, path: Path, preface: bytes) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self.head = bytearray()
        self.size = self._unbegun = 0
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise no_room(error) from error
        self._preface: bytes | None = preface
        self._seal_ends_at = len(preface)

    def write(self, fragment: memoryview) -> None:
        """Append ``fragment``; the disk takes it while the digest is computed."""
        self._put(fragment)
        self._unbegun += len(fragment)
        if self._unbegun >= _WORTH_WHILE:
            begin_writeout(self._file)
            self._unbegun = 0
        self._digest.update(fragment)
        self.size += len(fragment)
        if len(self.head) < HEAD:
            self.head += fragment[: HEAD - len(self.head)]

    def sha256(self) -> str:
        """Digest of what was written behind the preface."""
        return self._digest.hexdigest()

    def read(self, most: int) -> bytes:
        """The first bytes behind the preface, so many, for the rare header that reaches beyond the head."""
        with self._path.open("rb") as file:
            file.seek(-self.size, os.SEEK_END) if self.size else file.seek(0, os.SEEK_END)
            return file.read(most)

    def seal(self, seal: bytes) -> None:
        """Write ``seal`` over the end of the preface and make the file durable where it lies.

        What bears its seal after a crash was whole when its sender was answered; its final name follows (``Draft.name``). The name of a
        slot is durable already, so this is the only fsync that a sender waits for.
        """
        self._put(memoryview(b""))
        try:
            os.pwrite(self._file, seal, self._seal_ends_at - len(seal))
            os.fsync(self._file)
        except OSError as error:
            self.discard()
            raise no_room(error) from error

    def leave(self, final: Path) -> Draft:
        """Let go of a file that is sealed; it is to be named ``final``."""
        self._close()
        return Draft(final=final, waiting=self._path)

    def publish(self, final: Path, waiting: Path) -> Draft:
        """Give the file its final name and make both durable; it keeps a second link until the ledger knows of it.

        A file that is there already may have been answered for, so it is replaced by a durable one only.
        """
        draft = Draft(final=final, waiting=waiting)
        is_new = False
        self._put(memoryview(b""))
        try:
            self._path.rename(waiting)
            os.fsync(self._file)
            is_new = draft.name()
            fsync_folder(final.parent)
        except OSError as error:
            # A disk that became read-only cannot take anything back; what stays is cleared, or adopted, at the next start.
            with suppress(OSError):
                if is_new:
                    draft.withdraw()
                waiting.unlink(missing_ok=True)
            self.discard()
            raise no_room(error) from error
        self._close()
        return draft

    def discard(self) -> None:
        """Take everything back; what a disk that cannot be written keeps is cleared, or adopted, at the next start."""
        with suppress(OSError):
            self._close()
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        descriptor, self._file = self._file, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _put(self, view: memoryview) -> None:
        try:
            if self._preface is not None:
                # The preface and the first bytes in one call; what a full disk left over follows, or fails, below.
                before, self._preface = self._preface, None
                done = os.writev(self._file, (before, view)) - len(before)
                view = view[done:] if done >= 0 else memoryview(before[done:] + bytes(view))
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            self.discard()
            raise no_room(error) from error


def no_room(error: OSError) -> NotEnoughDisk:
    """What a sender is told when the disk does not take what it sends."""
    return NotEnoughDisk(f"The spool cannot be written ({error.strerror}); make room or mend the disk, then send again.")
