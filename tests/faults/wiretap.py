"""Between the node and PostgreSQL: connections that are cut, and commits whose answer never comes."""

import random
import socket
import struct
import threading
from contextlib import suppress
from typing import Self

from tests.peers import HOST

#: The simple query by which libpq commits: type, length, text (PostgreSQL's frontend/backend protocol, version 3).
COMMIT = b"Q\0\0\0\x0bCOMMIT\0"
_ABORTIVE = struct.pack("ii", 1, 0)


class Wiretap:
    """A TCP relay to a PostgreSQL server.

    Parameters
    ----------
    port : int
        The server's.
    chance : Random
        Decides on every COMMIT.

    Attributes
    ----------
    dropped_share : float
        Of 1: how many commits are done by the server and never confirmed to the client, whose connection breaks instead.
    cut, dropped : int
        Connections and answers, so far.
    """

    def __init__(self, port: int, chance: random.Random) -> None:
        self._server_port, self._chance = port, chance
        self._listening = socket.create_server((HOST, 0), backlog=64)
        self.port: int = self._listening.getsockname()[1]
        self.dropped_share = 0.0
        self.cut = self.dropped = 0
        self._open: set[_Pair] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut_all()

    def cut_all(self) -> None:
        """Reset every connection."""
        with self._lock:
            pairs = list(self._open)
        for pair in pairs:
            pair.reset()
        self.cut += len(pairs)

    def drops_this(self) -> bool:
        """Decide on one COMMIT."""
        with self._lock:
            return self._chance.random() < self.dropped_share

    def note_dropped(self) -> None:
        with self._lock:
            self.dropped += 1

    def leave(self, pair: "_Pair") -> None:
        with self._lock:
            self._open.discard(pair)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                try:
                    server = socket.create_connection((HOST, self._server_port), 5)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                pair = _Pair(self, client, server)
                with self._lock:
                    self._open.add(pair)
                pair.start()


class _Pair:
    """One connection of the node, and ours to the server behind it."""

    def __init__(self, tap: Wiretap, client: socket.socket, server: socket.socket) -> None:
        self._tap, self._client, self._server = tap, client, server
        self._deaf = False

    def start(self) -> None:
        for side in (self._client, self._server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._forth, daemon=True).start()
        threading.Thread(target=self._back, daemon=True).start()

    def reset(self) -> None:
        for side in (self._client, self._server):
            with suppress(OSError):
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORTIVE)
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()
        self._tap.leave(self)

    def _forth(self) -> None:
        with suppress(OSError):
            while piece := self._client.recv(1 << 16):
                # Set before the server can have answered: it is asked afterwards.
                self._deaf = piece.endswith(COMMIT) and self._tap.drops_this()
                self._server.sendall(piece)
        self.reset()

    def _back(self) -> None:
        with suppress(OSError):
            while piece := self._server.recv(1 << 16):
                if self._deaf:
                    self._tap.note_dropped()
                    break
                self._client.sendall(piece)
        self.reset()
