"""What a client certificate says of its owner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def names_of(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """What a verified certificate calls its owner: Common Name and DNS names, as `ssl.SSLSocket.getpeercert` gives them."""
    return frozenset(_names(certificate)) if certificate else frozenset()


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    parts: Sequence[Sequence[tuple[str, str]]] = certificate.get("subject", ())
    yield from (value for part in parts for name, value in part if name == "commonName")
    yield from (value for name, value in certificate.get("subjectAltName", ()) if name == "DNS")
