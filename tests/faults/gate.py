"""A gate in front of a peer: it lets so many answers of one association through, and swallows the others, until it is opened."""

import re
import socket
import threading
from contextlib import suppress
from typing import Self

from tests.peers import HOST, free_port

#: Command Field (0000,0100) of a C-STORE-RQ, as it goes over the wire (PS3.7 section 9.3.1).
_STORE_REQUEST = bytes.fromhex("0000000102000000" + "0100")
#: Presentation of a C-FIND-RQ and of an N-ACTION-RQ likewise.
_QUESTION = re.compile(re.escape(bytes.fromhex("0000000102000000")) + b"(\x20\x00|\x30\x01)", re.DOTALL)


class Gate:
    """Relays associations to the port of a peer.

    Parameters
    ----------
    port : int
        The peer's.
    answers : int
        Of an association that asks for something, so many PDUs of the peer are let through.
    before : int
        So many associations pass as they are; the gate is for what comes behind them.
    """

    def __init__(self, port: int, *, answers: int, before: int = 1) -> None:
        self.port, self._peer, self._answers, self._before = free_port(), port, answers, before
        self._open, self._server = threading.Event(), socket.create_server((HOST, self.port))
        self._ups: list[bytearray] = []
        self._sockets: list[socket.socket] = [self._server]
        self.swallowed = threading.Event()

    def open(self) -> None:
        """Let everything through that comes from here on."""
        self._open.set()

    @property
    def stores(self) -> int:
        """How many C-STORE requests have passed."""
        return sum(bytes(up).count(_STORE_REQUEST) for up in self._ups)

    @property
    def questions(self) -> int:
        """How many C-FIND and N-ACTION requests have passed."""
        return sum(len(_QUESTION.findall(bytes(up))) for up in self._ups)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._server.accept()
                there = socket.create_connection((HOST, self._peer))
                self._sockets += [here, there]
                self._ups.append(bytearray())
                gated = len(self._ups) > self._before and not self._open.is_set()
                threading.Thread(target=self._up, args=(here, there, self._ups[-1]), daemon=True).start()
                threading.Thread(target=self._down, args=(there, here, gated), daemon=True).start()

    @staticmethod
    def _up(here: socket.socket, there: socket.socket, seen: bytearray) -> None:
        with suppress(OSError):
            while piece := here.recv(1 << 16):
                seen += piece
                there.sendall(piece)
            there.shutdown(socket.SHUT_WR)

    def _down(self, there: socket.socket, here: socket.socket, gated: bool) -> None:
        passed = 0
        with suppress(OSError), there.makefile("rb") as stream:
            while len(head := stream.read(6)) == 6:  # type, reserved, length (PS3.8 section 9.3.1)
                body = stream.read(int.from_bytes(head[2:], "big"))
                if gated and passed >= self._answers:
                    self.swallowed.set()
                    continue
                passed += 1
                here.sendall(head + body)
        with suppress(OSError):
            here.shutdown(socket.SHUT_WR)
