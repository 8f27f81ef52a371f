"""What the machine itself can do: without it a rate says little."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path


def fsyncs_per_second(folder: Path, writers: int, size: int = 526_000, count: int = 200) -> float:
    """Files of ``size`` bytes that so many writers at once can write and fsync in a second; they are left in ``folder``, empty."""
    content = os.urandom(size)

    def write(first: int) -> None:
        for number in range(first, count, writers):
            with (folder / f"fsync-{writers}-{number}").open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())

    crew = [threading.Thread(target=write, args=(first,)) for first in range(writers)]
    began = time.perf_counter()
    for writer in crew:
        writer.start()
    for writer in crew:
        writer.join()
    seconds = time.perf_counter() - began
    make_empty(folder)
    return count / seconds


def make_empty(folder: Path) -> None:
    """Give the space of all files in a folder back, but not the files.

    Without a journal, ext4 looks for up to five minutes at each inode that was freed before it makes a new file: to delete what one
    receiver has written would slow down the next, and most the one that makes most files.
    """
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.truncate(path, 0)


def even_out(folder: Path, size: int = 512 << 20) -> None:
    """Give every receiver the same memory to start from: a virtual machine hands free pages back to its host."""
    path = folder / "even-out"
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    os.truncate(path, 0)
    os.sync()


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
