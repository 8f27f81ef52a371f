"""Who is let in, and with what."""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus

from starlette.datastructures import Headers

from node.core.uids import is_valid_uid
from node.web.answer import DICOM_JSON
from node.web.refused import Refused

#: What a client is called that shows no token.
_NAMELESS = "STOW-RS"
_ANSWERS = (DICOM_JSON, "application/json", "application/*", "*/*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who may come in with a token."""

    name: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where the port is, and what senders may do there; see ``[web]`` in config.toml.

    Attributes
    ----------
    largest_request, largest_instance : int
        In bytes.
    slowest : int
        Bytes per second below which a sender is given up.
    """

    host: str
    port: int
    ae_title: str
    clients: Sequence[Client]
    certificate_names: frozenset[str]
    max_requests: int
    largest_request: int
    largest_instance: int
    idle_s: float
    slowest: int
    tls: ssl.SSLContext | None = None


def identify(door: Door, headers: Headers, shown: frozenset[str]) -> str:
    """Find out who comes.

    Parameters
    ----------
    shown : frozenset of str
        The names in the client's certificate.

    Raises
    ------
    Refused
        If nobody who is known.
    """
    if door.certificate_names and not shown & door.certificate_names:
        raise Refused(HTTPStatus.FORBIDDEN, "The client certificate is not one of web.tls.names.")
    if not door.clients:
        return _NAMELESS
    scheme, _, token = headers.get("authorization", "").partition(" ")
    given = token.strip().encode()
    # Every token is compared, and in the same time, so that how long it takes tells nothing.
    found = [client.name for client in door.clients if hmac.compare_digest(client.token.encode(), given)]
    if scheme.lower() != "bearer" or not found:
        raise Refused(HTTPStatus.UNAUTHORIZED, "The request has no token of web.tokens: Authorization: Bearer TOKEN.")
    return found[0]


def boundary_of(door: Door, headers: Headers, study: str) -> str:
    """Check what a request says before its body comes (PS3.18 section 10.5.1); return the boundary of its parts.

    Parameters
    ----------
    study : str
        The Study Instance UID in its path, if there is one.

    Raises
    ------
    Refused
        If it cannot be taken, or its answer could not be read.
    """
    if study and not is_valid_uid(study):
        raise Refused(HTTPStatus.BAD_REQUEST, "The path has no valid Study Instance UID (PS3.5 section 9.1).")
    if not any(kind.partition(";")[0].strip().lower() in _ANSWERS for kind in headers.get("accept", "*/*").split(",")):
        raise Refused(HTTPStatus.NOT_ACCEPTABLE, f"The answer can be {DICOM_JSON} only.")
    content = Message()
    content["content-type"] = headers.get("content-type", "")
    kind = str(content.get_param("type", "application/dicom")).lower()
    if content.get_content_type() != "multipart/related" or kind != "application/dicom":
        sentence = 'Only DICOM files are taken: multipart/related; type="application/dicom". Metadata and bulk data apart are not.'
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, sentence)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A Content-Encoding is not taken.")
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) > door.largest_request:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The request is larger than {door.largest_request} bytes.")
    return str(content.get_param("boundary", ""))
