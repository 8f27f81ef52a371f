"""The receivers that are compared: RadNode, DCMTK's storescp, Orthanc and pynetdicom's own storescp."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from node.bench.load import Target
from node.core.errors import PeerUnavailable

_LOOK_S = 0.1
_CONFIG = """\
[node]
ae_title = "BENCH"
data = "{folder}/data"
[log]
level = "warning"
[listen]
host = "127.0.0.1"
port = {port}
min_free_bytes = 0
max_associations = 200
fast = {fast}
processes = {processes}
[assemble]
quiet_s = 3600.0
[pipelines]
enabled = []
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A receiver that answers."""

    target: Target
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """User and system time of the process and all its children, those that ended included."""
        tree = [self.process, *self.process.children(recursive=True)]
        times = [process.cpu_times() for process in tree]
        return sum(spent.user + spent.system + spent.children_user + spent.children_system for spent in times)

    @contextmanager
    def watching_memory(self) -> Iterator[Callable[[], float]]:
        """Look at the memory of the tree meanwhile, for a child that ends takes its figure with it.

        Yields
        ------
        callable
            The largest resident size that any process of the tree has had, in megabytes.
        """
        found, over = [self._high_water()], threading.Event()

        def look() -> None:
            while not over.wait(_LOOK_S):
                found.append(self._high_water())

        watch = threading.Thread(target=look, daemon=True)
        watch.start()
        try:
            yield lambda: max(*found, self._high_water()) / 1024
        finally:
            over.set()
            watch.join()

    def _high_water(self) -> int:
        return max(_high_water(process.pid) for process in (self.process, *self.process.children(recursive=True)))


def _high_water(pid: int) -> int:
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


Command = Callable[[Path, int], list[str]]


def _radnode(*, fast: str = "true", processes: int = 0) -> Command:
    def command(folder: Path, port: int) -> list[str]:
        (folder / "config.toml").write_text(_CONFIG.format(folder=folder, port=port, fast=fast, processes=processes), encoding="utf-8")
        return [sys.executable, "-m", "node.bench.crew", str(folder / "config.toml")]

    return command


def _storescp(*options: str) -> Command:
    def command(folder: Path, port: int) -> list[str]:
        found = shutil.which("storescp", path="/usr/bin:/usr/local/bin") or "storescp"
        return [found, "--fork", "-pdu", "131072", "+xa", *options, "-od", str(folder), str(port)]

    return command


def _orthanc(folder: Path, port: int) -> list[str]:
    settings = {
        "Name": "bench",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "DicomAet": "BENCH",
        "DicomPort": port,
        "HttpServerEnabled": False,
        "DicomAlwaysAllowStore": True,
        "DicomCheckCalledAet": False,
        "DicomThreadsCount": 8,
        "UnknownSopClassAccepted": True,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    return ["Orthanc", str(folder / "orthanc.json")]


def _pynetdicom(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "pynetdicom", "storescp", str(port), "-aet", "BENCH", "-od", str(folder), "-q", "-pdu", "0"]


#: Name -> how it is started. Each gets TCP_NODELAY, without which DCMTK and Orthanc wait 40 ms in every answer.
RECEIVERS: Mapping[str, Command] = {
    "radnode": _radnode(),
    "storescp": _storescp(),
    "storescp +B": _storescp("+B"),
    "orthanc": _orthanc,
    "pynetdicom": _pynetdicom,
    "radnode slow path": _radnode(fast="false"),
    "radnode, one listener": _radnode(processes=1),
}


@contextmanager
def running(name: str, folder: Path) -> Iterator[Running]:
    """Run a receiver in a new folder, which is left to the caller; the receiver is killed at the end.

    Raises
    ------
    PeerUnavailable
        If it is not installed or does not answer.
    """
    folder.mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        process = subprocess.Popen(
            ["env", "TCP_NODELAY=1", *RECEIVERS[name](folder, port)], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise PeerUnavailable(f"{name} is not installed ({error.filename}).", reason="missing") from error
    try:
        _wait(name, process, port)
        yield Running(Target(port=port, ae_title="BENCH"), psutil.Process(process.pid))
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


def _wait(name: str, process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                time.sleep(0.5)  # Orthanc opens its port half a second before it answers
                return
        time.sleep(0.05)
    raise PeerUnavailable(f"{name} does not answer on port {port}.", reason="start")
