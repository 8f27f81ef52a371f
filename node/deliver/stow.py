"""Bringing results by HTTP: the Store and Search transactions of DICOMweb as a client (PS3.18 sections 10.5 and 10.6).

One request for each instance, on one connection: so each has a status of its own, and the report is not sent behind a segmentation that
was not taken.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from ssl import SSLCertVerificationError, SSLContext, SSLError
from typing import Any

import httpx

from node.core.errors import PeerRefused, PeerUnavailable
from node.core.remote import WebDestination
from node.core.result import Answer, StoredObject

_JSON = "application/dicom+json"
_CHUNK = 1 << 18
#: Attributes of the response (PS3.18 section 10.5.3.2) and of an instance, as DICOM JSON names them.
_STORED, _FAILED, _SOP_INSTANCE = "00081199", "00081198", "00081155"
_FAILURE_REASON, _WARNING_REASON, _OWN_SOP_INSTANCE = "00081197", "00081196", "00080018"
#: Statuses that may pass by themselves (RFC 9110 section 15, RFC 6585 section 4).
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 507})


class WebClient:
    """Stores in and asks DICOMweb servers.

    Parameters
    ----------
    connect_s, answer_s : float
        For a connection, and for anything to come or to be taken on it.
    judge : callable
        What a Failure Reason means, which is the status that a C-STORE would have had (PS3.18 Table 10.5.3-2).
    """

    def __init__(self, connect_s: float, answer_s: float, judge: Callable[[int | None], Answer]) -> None:
        self._timeout, self._judge = httpx.Timeout(answer_s, connect=connect_s), judge

    def store(self, web: WebDestination, files: Sequence[tuple[StoredObject, Path]], tls: SSLContext | None = None) -> dict[str, Answer]:
        """Send files, one request each; return what the server said to each (SOP Instance UID -> answer), up to the first that failed.

        Raises
        ------
        PeerUnavailable
            If it cannot be reached.
        """
        answers: dict[str, Answer] = {}
        with self._open(web, tls) as client:
            for stored, path in files:
                uid = stored.sop_instance_uid
                try:
                    answers[uid] = self._store_one(client, web, uid, path)
                except httpx.TransportError as error:
                    if (why := _unreachable(web, error)) is not None:
                        raise why from error
                    answers[uid] = self._judge(None)
                if answers[uid].event != "accept":
                    break
        return answers

    def find(
        self, web: WebDestination, study_instance_uid: str, objects: Sequence[StoredObject], tls: SSLContext | None = None
    ) -> frozenset[str]:
        """Return the SOP Instance UIDs of those ``objects`` that the server answers a search with.

        Raises
        ------
        PeerUnavailable
            If it cannot be reached, or does not answer.
        PeerRefused
            If it will not be asked.
        """
        with self._open(web, tls) as client:
            try:
                return frozenset(stored.sop_instance_uid for stored in objects if self._has(client, web, study_instance_uid, stored))
            except httpx.TransportError as error:
                raise _unreachable(web, error) or PeerUnavailable(f"{web.name} did not answer the search.", reason="no_answer") from error

    def _open(self, web: WebDestination, tls: SSLContext | None) -> httpx.Client:
        headers = {"Accept": _JSON} | ({"Authorization": f"Bearer {web.token}"} if web.token else {})
        auth = (web.user, web.password) if web.user else None
        # The environment's proxies and passwords are not ours: whom we call is in the configuration alone.
        return httpx.Client(verify=tls if tls is not None else True, timeout=self._timeout, headers=headers, auth=auth, trust_env=False)

    def _store_one(self, client: httpx.Client, web: WebDestination, uid: str, path: Path) -> Answer:
        boundary = uuid.uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(len(head) + path.stat().st_size + len(tail)),
        }
        response = client.post(f"{web.url}/studies", content=_body(head, path, tail), headers=headers)
        return self._judge_store(response, uid)

    def _judge_store(self, response: httpx.Response, uid: str) -> Answer:
        """What a response says of the one instance that was sent (PS3.18 section 10.5.3)."""
        status, told = response.status_code, _read(response)
        failed = _item_of(told, _FAILED, uid)
        if failed is not None:
            return self._judge(_number(failed, _FAILURE_REASON) or 0x0110)
        stored = _item_of(told, _STORED, uid)
        if stored is not None and status in (200, 202):
            warning = _number(stored, _WARNING_REASON)
            sentence = f"Stored with a warning: 0x{warning:04X}." if warning else "Stored."
            return Answer(event="accept", dimse_status=warning or 0x0000, sentence=sentence)
        if status == 200:
            return Answer(event="accept", dimse_status=None, sentence="HTTP 200; the answer does not name it.")
        if status in _TRANSIENT or status == 202:
            return Answer(event="retry", dimse_status=None, sentence=f"The server could not store it now: HTTP {status}.")
        return Answer(event="refuse", dimse_status=None, sentence=f"The server refused it: HTTP {status}. Correct the cause, then replay.")

    def _has(self, client: httpx.Client, web: WebDestination, study_instance_uid: str, stored: StoredObject) -> bool:
        path = f"/studies/{study_instance_uid}/series/{stored.series_instance_uid}/instances"
        response = client.get(f"{web.url}{path}", params={"SOPInstanceUID": stored.sop_instance_uid})
        if response.status_code in (204, 404):  # none, or not even the study
            return False
        if response.status_code != 200:
            kind = PeerUnavailable if response.status_code in _TRANSIENT else PeerRefused
            raise kind(f"{web.name} answered the search with HTTP {response.status_code}.", reason=f"http_{response.status_code}")
        found = _parse(response)
        return isinstance(found, list) and any(_text(one, _OWN_SOP_INSTANCE) == stored.sop_instance_uid for one in found)


def _unreachable(web: WebDestination, error: httpx.TransportError) -> PeerUnavailable | None:
    """Why there is no connection: nobody is there, or one of us does not trust the other; None when there was one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, SSLCertVerificationError):
        said = f"{web.name} is not trusted at {web.url}: {cause.verify_message}. Correct its certificate there, or tls.authority here."
        return PeerUnavailable(said, reason="certificate")
    if cause is not None:
        return PeerUnavailable(f"{web.name} speaks no TLS with us at {web.url} ({cause.reason or type(cause).__name__}).", reason="tls")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return PeerUnavailable(f"{web.name} cannot be reached at {web.url}.", reason="no_connection")
    return None


def _body(head: bytes, path: Path, tail: bytes) -> Iterator[bytes]:
    yield head
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
    yield tail


def _read(response: httpx.Response) -> Mapping[str, Any]:
    """The data set of a response; empty when it has none that can be read."""
    found = _parse(response)
    if isinstance(found, list) and found:
        found = found[0]
    return found if isinstance(found, dict) else {}


def _parse(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _item_of(told: Mapping[str, Any], sequence: str, uid: str) -> Mapping[str, Any] | None:
    """The item of a sequence that is about an instance."""
    element = told.get(sequence)
    items = element.get("Value") if isinstance(element, dict) else None
    return next((item for item in items or [] if _text(item, _SOP_INSTANCE) == uid), None)


def _text(item: Any, tag: str) -> str:
    element = item.get(tag) if isinstance(item, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]) if values else ""


def _number(item: Any, tag: str) -> int | None:
    text = _text(item, tag)
    return int(text) if text.isdecimal() else None
