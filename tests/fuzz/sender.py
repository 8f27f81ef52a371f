"""Plays cases against a listener, and says how each ended; whatever may not happen is a finding."""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import pieces
from tests.fuzz.cases import Case
from tests.integration.dimse.wire import ECHO, RELEASE, STORE
from tests.peers import HOST

#: Nobody waits longer for an end: idle_s of the listeners below, several times over.
PATIENCE_S = 60.0
_ECHO_ID = 0xEC40


class Finding(Exception):
    """Something happened that may not."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A C-STORE-RSP or another response."""

    field: int
    message_id: int
    status: int
    instance: str


class Sender:
    """One sender at one listener; it keeps its association as long as that lasts."""

    def __init__(self, port: int, spool: Path, *, tls: bool) -> None:
        self._port, self._spool, self._tls = port, spool, tls
        self._socket: socket.socket | None = None
        self._contexts = pieces.CONTEXTS
        self.kept: list[tuple[str, str, Path]] = []

    def close(self) -> None:
        """End in order."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendall(RELEASE)
                self._read()
        self._drop()

    def play(self, case: Case) -> str:
        """Play one case; how it ended.

        Raises
        ------
        Finding
            If it ended as it may not.
        """
        try:
            return self._play(case)
        except TimeoutError as error:
            raise Finding("neither answered nor ended in time") from error

    def _play(self, case: Case) -> str:
        if case.alone:
            self._drop()
            try:
                self._connect()
            except ssl.SSLError:
                return "no handshake"
        else:
            self._associate(case)
        assert self._socket is not None
        with suppress(OSError):  # shown out before it had finished: what was answered is still read
            self._send(case)
            if case.ends:
                socket.socket.shutdown(self._socket, socket.SHUT_WR)
            elif not case.alone and not case.pause_s and case.family != "stores":
                self._socket.sendall(pieces.echo(_ECHO_ID))
        how, replies = self._hear(case)
        if how != "answered":
            self._drop()
        return self._judge(case, replies, how)

    def _hear(self, case: Case) -> tuple[str, list[Reply]]:
        """Read what is answered, until the case or the connection is over."""
        assert self._socket is not None
        replies: list[Reply] = []
        how = "closed"
        while True:
            kind, body = self._read()
            if kind == 4:
                replies.append(_reply(body))
                if not case.ends and (case.family == "stores" or replies[-1].message_id == _ECHO_ID):
                    return "answered", replies
            elif kind == 2:
                if case.pause_s:
                    raise Finding("half a request was accepted")
                how = "accepted"
                with suppress(OSError):
                    self._socket.sendall(RELEASE)
            else:
                ends = {0: "closed", 3: "rejected", 6: "released", 7: "aborted"}
                return how if how == "accepted" else ends.get(kind, f"pdu {kind}"), replies

    def _send(self, case: Case) -> None:
        assert self._socket is not None
        if not case.pause_s:
            self._socket.sendall(case.sends)
            return
        slowly = 60 if case.pause_s < 1 else 0
        self._socket.sendall(case.sends[: len(case.sends) - slowly])
        for place in range(max(0, len(case.sends) - slowly), len(case.sends)):
            self._socket.sendall(case.sends[place : place + 1])
            time.sleep(case.pause_s)

    def _judge(self, case: Case, replies: list[Reply], how: str) -> str:
        stored = [reply for reply in replies if reply.field == 0x8001]
        if any(reply.status == 0 for reply in stored):
            whole = pieces.reassembled(case.sends)
            for reply in stored:
                if reply.status == 0:
                    self._check_kept(case, reply, [content for uid, content in whole if uid == reply.instance])
        if stored:
            return f"{stored[-1].status:#06x}"
        if replies and how == "answered":
            others = [reply for reply in replies if reply.message_id != _ECHO_ID]
            return f"{others[-1].status:#06x} to another" if others else "ignored"
        return how

    def _check_kept(self, case: Case, reply: Reply, acceptable: list[bytes]) -> None:
        """Success was said: these bytes must lie in the spool, and under their final name as soon as the scribe comes to them."""
        deadline = time.monotonic() + 20
        while not self._is_kept(reply, acceptable):
            if time.monotonic() > deadline:
                raise Finding(f"Success for {reply.instance}, of which there is no file ({case.kind})")
            time.sleep(0.02)

    def _is_kept(self, reply: Reply, acceptable: list[bytes]) -> bool:
        syntax = next((syntax for number, _, syntax in self._contexts if number == STORE), "")
        for content in acceptable:
            digest = hashlib.sha256(content).hexdigest()
            name = f"{reply.instance}-{hashlib.sha256(syntax.encode() + digest.encode()).hexdigest()[:16]}.dcm"
            for path in (self._spool / "instances").glob(f"*/{name}"):
                held = path.read_bytes()
                if held[int.from_bytes(held[140:144], "little") + 144 :] != content:
                    raise Finding(f"{path.name} holds other bytes than were sent")
                self.kept.append((reply.instance, digest, path))
                return True
        return False

    def _associate(self, case: Case) -> None:
        contexts = [(STORE, *case.context), *pieces.CONTEXTS[1:]]
        if self._socket is not None and contexts == self._contexts:
            return
        self.close()
        for _ in range(20):
            self._contexts = contexts
            # On a busy machine a handshake or a request may take longer than these listeners wait: then it begins again.
            with suppress(ConnectionError, ssl.SSLError):
                self._connect()
                assert self._socket is not None
                self._socket.sendall(pieces.plain_request(contexts))
                kind, _ = self._read()
                if kind == 2:
                    return
            self._drop()
            time.sleep(0.2)
        raise Finding("a sender in good standing is not let in")

    def _connect(self) -> None:
        raw = socket.create_connection((HOST, self._port), timeout=PATIENCE_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            raw = context.wrap_socket(raw)
        self._socket = raw

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _read(self) -> tuple[int, bytes]:
        header = self._exactly(6)
        if len(header) < 6:
            return 0, b""
        kind, _, length = struct.unpack(">BBI", header)
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        assert self._socket is not None
        got = b""
        with suppress(ConnectionError, ssl.SSLError):
            while len(got) < count and (piece := self._socket.recv(count - len(got))):
                got += piece
        return got


def _reply(body: bytes) -> Reply:
    """Read a response, which is one PDV."""
    elements, place = {}, 6
    while place + 8 <= len(body):
        _, number, length = struct.unpack_from("<HHI", body, place)
        elements[number] = body[place + 8 : place + 8 + length]
        place += 8 + length
    number = lambda name: int.from_bytes(elements.get(name, b"\xff\xff"), "little")  # noqa: E731
    return Reply(number(0x100), number(0x120), number(0x900), elements.get(0x1000, b"").decode("latin-1").rstrip("\0 "))


def check_echo(port: int, spool: Path, *, tls: bool) -> None:
    """The listener still serves whoever keeps the rules."""
    sender = Sender(port, spool, tls=tls)
    probe = Case(number=-1, family="probe", kind="echo", sends=b"", ends=False)
    if (how := sender.play(probe)) != "ignored":
        raise Finding(f"a C-ECHO was not answered: {how}")
    sender.close()


__all__ = ["ECHO", "Finding", "Sender", "check_echo"]
