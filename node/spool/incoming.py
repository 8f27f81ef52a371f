"""One file on its way in: bytes as they come, with their digest and length, then durable under a final name."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from node.core.errors import NotEnoughDisk
from node.spool.draft import Draft, fsync_folder, make_folders

#: How much of the beginning is kept at hand for whoever reads the header.
HEAD = 1 << 16


class Incoming:
    """A file in ``incoming/`` that is being written.

    Parameters
    ----------
    path : Path
        Made here; the name is completed with the key when that is known.
    preface : bytes
        Written before what comes, and covered by neither digest nor length.

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
        self.size = 0
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise _no_room(error) from error
        self._preface: bytes | None = preface

    def write(self, fragment: memoryview) -> None:
        """Append ``fragment``."""
        self._put(fragment)
        self._digest.update(fragment)
        self.size += len(fragment)
        if len(self.head) < HEAD:
            self.head += fragment[: HEAD - len(self.head)]

    def sha256(self) -> str:
        """Digest of what was written behind the preface."""
        return self._digest.hexdigest()

    def read(self) -> bytes:
        """Everything behind the preface, for the rare header that reaches beyond the head."""
        with self._path.open("rb") as file:
            file.seek(-self.size, os.SEEK_END) if self.size else file.seek(0, os.SEEK_END)
            return file.read()

    def publish(self, final: Path, waiting: Path) -> Draft:
        """Give the file its final name and make both durable; it keeps a second link until the ledger knows of it.

        The name is given before the fsync, so that one commit of the file system's journal covers data, size and name. What a power
        failure leaves between the two is found by its digest, which is part of the name.
        """
        draft = Draft(final=final, waiting=waiting)
        is_new = False
        try:
            if self._preface is not None:
                self._put(memoryview(b""))
            self._path.rename(waiting)
            is_new = self._name(draft)
            os.fsync(self._file)
            fsync_folder(final.parent)
        except OSError as error:
            if is_new:
                draft.withdraw()
            waiting.unlink(missing_ok=True)
            self.discard()
            raise _no_room(error) from error
        os.close(self._file)
        self._file = -1
        return draft

    def _name(self, draft: Draft) -> bool:
        """Link the file under its final name; False when the same bytes were there already."""
        try:
            draft.final.hardlink_to(draft.waiting)
        except FileNotFoundError:
            make_folders(draft.final.parent)
            return self._name(draft)
        except FileExistsError:
            # They may have been answered for: they are replaced by durable ones only.
            os.fsync(self._file)
            twin = draft.waiting.with_suffix(".link")
            twin.hardlink_to(draft.waiting)
            twin.replace(draft.final)
            return False
        return True

    def discard(self) -> None:
        """Take everything back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._path.unlink(missing_ok=True)

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
            raise _no_room(error) from error


def _no_room(error: OSError) -> NotEnoughDisk:
    return NotEnoughDisk(f"The spool cannot be written ({error.strerror}); make room or mend the disk, then send again.")
