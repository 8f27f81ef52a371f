"""What the machine itself can do: without it a rate says little."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path


def fsyncs_per_second(folder: Path, size: int = 526_000, count: int = 100) -> float:
    """Files of ``size`` bytes that can be written and fsynced in a second, one after the other."""
    content = os.urandom(size)
    began = time.perf_counter()
    for number in range(count):
        path = folder / f"fsync-{number}"
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    for number in range(count):
        (folder / f"fsync-{number}").unlink()
    return count / seconds


def loopback_bytes_per_second(total: int = 1 << 30) -> float:
    """Bytes that one connection on this machine carries in a second."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = threading.Thread(target=_pour, args=(server.getsockname()[1], total))
        began = time.perf_counter()
        sender.start()
        connection, _ = server.accept()
        buffer, left = bytearray(1 << 20), total
        with connection:
            while left > 0:
                left -= connection.recv_into(buffer)
        seconds = time.perf_counter() - began
        sender.join()
    return total / seconds


def _pour(port: int, total: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        chunk = bytes(1 << 20)
        for _ in range(total // len(chunk)):
            connection.sendall(chunk)
