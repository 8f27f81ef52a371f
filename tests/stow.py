"""A client of the Store transaction (PS3.18 section 10.5), which can also do what no client should."""

import http.client
import json
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

from pydicom import dcmread

from tests.peers import HOST

BOUNDARY = "radnode-test"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
END = f"\r\n--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the port answered."""

    status: int
    headers: Message
    content: bytes

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.content))

    @property
    def stored(self) -> list[str]:
        """The Referenced SOP Instance UIDs of what was stored."""
        return [item["00081155"]["Value"][0] for item in self.items("00081199")]

    @property
    def failed(self) -> dict[str, int]:
        """Of what failed, Referenced SOP Instance UID -> Failure Reason."""
        return {item["00081155"]["Value"][0]: item["00081197"]["Value"][0] for item in self.items("00081198")}

    @property
    def nameless(self) -> list[int]:
        """The Failure Reasons of what has no name."""
        return [item["00081197"]["Value"][0] for item in self.items("0008119A")]

    def items(self, tag: str) -> list[dict[str, Any]]:
        assert self.headers["Content-Type"] == "application/dicom+json"
        return list(self.json.get(tag, {"Value": []})["Value"])


def part(content: bytes, *headers: str) -> bytes:
    """One part of a body, with the boundary before it."""
    lines = "".join(f"{header}\r\n" for header in headers or ("Content-Type: application/dicom",))
    return f"\r\n--{BOUNDARY}\r\n{lines}\r\n".encode() + content


def body_of(contents: Iterable[bytes]) -> bytes:
    """A whole body."""
    return b"".join([*(part(content) for content in contents), END])


def post(port: int, body: bytes | Iterator[bytes], path: str = "/studies", *, timeout: float = 60, **headers: str) -> Reply:
    """Send one request; a body that is an iterator is sent in chunks (RFC 9112 section 7.1)."""
    named = {"Content-Type": MULTIPART} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request("POST", path, body, named, encode_chunked=not isinstance(body, bytes))
        answer = connection.getresponse()
        return Reply(status=answer.status, headers=answer.headers, content=answer.read())
    finally:
        connection.close()


def store(port: int, *paths: Path, path: str = "/studies", **headers: str) -> Reply:
    """Send files in one request."""
    return post(port, body_of(file.read_bytes() for file in paths), path, **headers)


def distinct(paths: Iterable[Path]) -> dict[str, bytes]:
    """Files by their SOP Instance UID; one that shares its UID with another gets one of its own, as long as it was."""
    found: dict[str, bytes] = {}
    for path in sorted(paths):
        content = path.read_bytes()
        uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
        while uid in found:
            other = f"{uid[:-3]}{(int(uid[-3:]) + 1) % 900 + 100}"
            uid, content = other, content.replace(uid.encode(), other.encode())
        found[uid] = content
    return found


def begin(port: int, body: bytes, length: int, path: str = "/studies", **headers: str) -> socket.socket:
    """Begin a request of ``length`` bytes and send only ``body`` of it; the caller may go on, or not."""
    connection = socket.create_connection((HOST, port), timeout=30)
    named = {"Host": HOST, "Content-Type": MULTIPART, "Content-Length": str(length)}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    connection.sendall(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
    return connection


def status_on(connection: socket.socket) -> int:
    """Read the status of an answer."""
    line = connection.makefile("rb").readline()
    return int(line.split()[1]) if line else 0
