"""Bytes at rest in a bucket of S3, or of whatever speaks its protocol. Only home of obstore."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from node.core.errors import StorageError

_DIGEST = "sha256"
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a bucket is, and with what it is opened. Without keys, those that AWS looks for by itself are used (role, environment)."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    connect_s: float = 5.0
    answer_s: float = 30.0


class Bucket:
    """Objects below a prefix of a bucket."""

    def __init__(self, place: Place) -> None:
        given: dict[str, Any] = {
            "endpoint": place.endpoint,
            "region": place.region,
            "access_key_id": place.access_key,
            "secret_access_key": place.secret_key,
            "session_token": place.session_token,
        }
        self._name = place.bucket
        self._store = S3Store(
            place.bucket,
            prefix=place.prefix.strip("/") or None,
            checksum_algorithm="SHA256",  # the server refuses what is not what we have sent
            client_options={
                "allow_http": place.endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=place.connect_s),
                "timeout": timedelta(seconds=place.answer_s),
            },
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=place.answer_s)},
            **{name: value for name, value in given.items() if value},
        )

    def put(self, key: str, path: Path, sha256: str) -> None:
        """Put a file, and look at what is there then.

        The client sends a digest that the server compares. What the server says afterwards of length and digest is compared again, so
        that one that answers before it has stored, or stores something else, is found out.

        Raises
        ------
        StorageError
            If it is not there whole.
        """
        with self._reaching():
            obstore.put(self._store, key, path, attributes={_DIGEST: sha256})
            found = obstore.get(self._store, key, options={"head": True})
            if found.meta["size"] != path.stat().st_size or found.attributes.get(_DIGEST) != sha256:
                raise StorageError("The bucket holds something else than what was put; it will be put again.", reason="store")

    def fetch(self, key: str, path: Path) -> str:
        """Write an object into ``path``; return the digest that it was put with.

        Raises
        ------
        FileNotFoundError
            If there is none.
        StorageError
            If the bucket does not answer.
        """
        with self._reaching():
            found = obstore.get(self._store, key)
            with path.open("wb") as file:
                for piece in found.stream(min_chunk_size=_PIECE):
                    file.write(piece)
        return str(found.attributes.get(_DIGEST, ""))

    def head(self, key: str, most: int) -> tuple[bytes, int]:
        """The first bytes of an object, and its length; errors as in ``fetch``."""
        with self._reaching():
            found = obstore.get(self._store, key, options={"range": (0, most)})
            return bytes(found.bytes()), int(found.meta["size"])

    def list(self, prefix: str) -> Iterator[str]:
        """Every key that begins with the folder ``prefix``; errors as in ``fetch``."""
        with self._reaching():
            for some in obstore.list(self._store, prefix or None):
                yield from (str(one["path"]) for one in some)

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        with self._reaching(), suppress(FileNotFoundError):
            obstore.delete(self._store, key)

    def fill(self) -> float | None:
        """A bucket has no end that we know of."""
        return None

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Say in our own words what went wrong: the client's may hold what it was opened with."""
        try:
            yield
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, f"no such object in the bucket {self._name}") from None
        except BaseError as error:
            sentence = f"The bucket {self._name} cannot be used ({type(error).__name__}); look at [store], or wait for it."
            raise StorageError(sentence, reason="store") from error
