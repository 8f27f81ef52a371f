"""A sender that costs little: everything is encoded before the clock starts, so that the receiver is what is measured.

It sends one C-STORE at a time in each association and waits for each answer, as modalities do; several associations are several processes.
"""

from __future__ import annotations

import multiprocessing
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from pydicom.filereader import read_file_meta_info

_APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"  # PS3.7 Annex A.2.1
_IMPLEMENTATION = b"1.2.826.0.1.3680043.9.3811.9"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Who is sent to."""

    port: int
    ae_title: str
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What came of one run.

    Attributes
    ----------
    seconds : float
        From the first byte of the first instance to the last answer; associations are open before and closed after.
    failed : int
        Instances that were not answered 0x0000.
    latencies : tuple of float
        Seconds from an instance's first byte to its answer, sorted.
    """

    instances: int
    bytes: int
    seconds: float
    failed: int
    latencies: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Message:
    sop_class_uid: bytes
    syntax_uid: bytes
    wire: bytes
    size: int


def send_load(target: Target, files: Sequence[Path], associations: int, pdu: int = 131072) -> Load:
    """Send ``files`` over so many associations at once, each file once."""
    context = multiprocessing.get_context("fork")
    crew = []
    for number in range(associations):
        ours, theirs = context.Pipe()
        worker = context.Process(target=_work, args=(target, list(files[number::associations]), pdu, theirs), daemon=True)
        worker.start()
        crew.append((worker, ours))
    for _, pipe in crew:
        pipe.recv()  # it is associated, with everything encoded
    for _, pipe in crew:
        pipe.send("go")
    parts = [pipe.recv() for _, pipe in crew]
    for worker, _ in crew:
        worker.join()
    return Load(
        instances=sum(part["instances"] for part in parts),
        bytes=sum(part["bytes"] for part in parts),
        seconds=max(part["ended"] for part in parts) - min(part["began"] for part in parts),
        failed=sum(part["failed"] for part in parts),
        latencies=tuple(sorted(latency for part in parts for latency in part["latencies"])),
    )


def _work(target: Target, files: Sequence[Path], pdu: int, pipe: Connection) -> None:
    largest = _probe(target, files[0])
    messages = [_encode(path, number % 0x7FFF + 1, min(pdu, largest or pdu)) for number, path in enumerate(files)]
    with socket.create_connection((target.host, target.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _associate(connection, target, messages[0])
        pipe.send("ready")
        pipe.recv()
        began, failed, latencies = time.perf_counter(), 0, []
        for message in messages:
            sent = time.perf_counter()
            connection.sendall(message.wire)
            failed += not _is_success(_read_pdu(connection))
            latencies.append(time.perf_counter() - sent)
        ended = time.perf_counter()
        connection.sendall(struct.pack(">BBII", 5, 0, 4, 0))
        _read_pdu(connection)
    size = sum(message.size for message in messages)
    pipe.send({"instances": len(messages), "bytes": size, "began": began, "ended": ended, "failed": failed, "latencies": latencies})


def _probe(target: Target, path: Path) -> int:
    """The largest PDU that the receiver takes, 0 for any, by its own word (PS3.8 Annex D.1)."""
    with socket.create_connection((target.host, target.port)) as connection:
        answer = _associate(connection, target, _encode(path, 1, 16384))
        place = answer.index(b"\x51\x00\x00\x04", 68)
        connection.sendall(struct.pack(">BBII", 5, 0, 4, 0))
        _read_pdu(connection)
        return int(struct.unpack_from(">I", answer, place + 4)[0])


def _associate(connection: socket.socket, target: Target, message: _Message) -> bytes:
    """Send an A-ASSOCIATE-RQ with one presentation context (PS3.8 section 9.3.2); return the answer."""
    context = struct.pack(">BBBB", 1, 0, 0, 0) + _item(0x30, message.sop_class_uid) + _item(0x40, message.syntax_uid)
    user = _item(0x51, struct.pack(">I", 16384)) + _item(0x52, _IMPLEMENTATION) + _item(0x55, b"RADNODE-BENCH")
    titles = target.ae_title.encode().ljust(16) + b"BENCH".ljust(16) + bytes(32)
    body = struct.pack(">HH", 1, 0) + titles + _item(0x10, _APPLICATION_CONTEXT) + _item(0x20, context) + _item(0x50, user)
    connection.sendall(struct.pack(">BBI", 1, 0, len(body)) + body)
    answer = _read_pdu(connection)
    if answer[:1] != b"\x02":
        raise ConnectionError(f"the receiver at port {target.port} did not accept the association")
    return answer


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def _read_pdu(connection: socket.socket) -> bytes:
    header = _exactly(connection, 6)
    return header + _exactly(connection, struct.unpack(">I", header[2:])[0])


def _exactly(connection: socket.socket, count: int) -> bytes:
    got = connection.recv(count, socket.MSG_WAITALL)
    if len(got) != count:
        raise ConnectionError("the receiver closed the connection")
    return got


def _is_success(pdu: bytes) -> bool:
    """Read Status (0000,0900) out of a C-STORE-RSP."""
    place, command = 0, pdu[12:]
    while place + 8 <= len(command):
        _, element, length = struct.unpack_from("<HHI", command, place)
        if element == 0x0900:
            return command[place + 8 : place + 10] == b"\0\0"
        place += 8 + length
    return False


def _encode(path: Path, message_id: int, pdu: int) -> _Message:
    """Make every PDU of one C-STORE-RQ (PS3.7 section 9.3.1.1, PS3.8 section 9.3.5)."""
    meta = read_file_meta_info(path)
    data = path.read_bytes()[132 + 12 + int(meta.FileMetaInformationGroupLength) :]
    sop_class, instance, syntax = (
        str(uid).encode() for uid in (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID)
    )
    command = _element(0x0002, sop_class) + _element(0x0100, struct.pack("<H", 1)) + _element(0x0110, struct.pack("<H", message_id))
    command += _element(0x0700, struct.pack("<H", 0)) + _element(0x0800, struct.pack("<H", 0)) + _element(0x1000, instance)
    command = _element(0, struct.pack("<I", len(command))) + command
    pdus = [struct.pack(">BBIIBB", 4, 0, len(command) + 6, len(command) + 2, 1, 3) + command]
    step = pdu - 6
    for place in range(0, len(data), step):
        part = data[place : place + step]
        pdus.append(struct.pack(">BBIIBB", 4, 0, len(part) + 6, len(part) + 2, 1, 2 if place + step >= len(data) else 0) + part)
    return _Message(sop_class, syntax, b"".join(pdus), len(data))


def _element(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", 0, number, len(value)) + value
