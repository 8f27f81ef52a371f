"""All roles of a node under one command: each in its own process, started again when it dies, drained on SIGTERM.

Processes, not threads: the listener never loads torch, and a fault of the device takes neither the socket nor the courier with it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import structlog

from node.config import Config
from node.core.errors import StorageError

log = structlog.get_logger(__name__)

#: A role that dies again and again is started again after 0.2 s, then after twice as long each time, up to this; one that lived
#: for longer than a minute is forgiven.
_LONGEST_PAUSE_S = 5.0
_HEALTHY_S = 60.0
_DRAIN_S = 45.0


def open_port(host: str, port: int) -> socket.socket:
    """Open the port once, for all listeners: one that dies leaves it open for the next, and senders wait for a moment instead of failing.

    Raises
    ------
    StorageError
        If it cannot be had.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128)
    except OSError as error:
        raise StorageError(f"Port {port} cannot be opened: {error.strerror}.", reason="port") from error


def listeners_of(config: Config) -> int:
    """How many listeners to run: as configured, or one for every core, four at most."""
    return config.listen.processes or max(1, min(4, os.cpu_count() or 1))


class Supervisor:
    """Keeps the roles alive.

    Parameters
    ----------
    config : Path
        config.toml, which each role reads for itself.
    port : socket
        Listens already; the listeners share it.
    listeners : int
        How many of them.
    web : bool
        Whether instances are taken by HTTP as well.
    """

    def __init__(self, config: Path, port: socket.socket, listeners: int, *, web: bool = False) -> None:
        self._config, self._port = config, port
        roles = [*(f"listen {number}" for number in range(1, listeners + 1)), "work", "deliver", *(["web"] if web else [])]
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._deaths = dict.fromkeys(roles, 0)
        self._due = dict.fromkeys(roles, 0.0)
        self._born = dict.fromkeys(roles, 0.0)

    def run(self, stop: threading.Event) -> None:
        """Start every role, and start again whatever dies, until ``stop`` is set; then drain them all."""
        while not stop.wait(0.1):
            for role in self._deaths:
                self._keep_alive(role)
        self._drain()

    def _keep_alive(self, role: str) -> None:
        child = self._children.get(role)
        if child is not None and child.poll() is None:
            return
        now = time.monotonic()
        if child is not None:
            healthy = now - self._born[role] > _HEALTHY_S
            self._deaths[role] = 1 if healthy else self._deaths[role] + 1
            pause = min(_LONGEST_PAUSE_S, 0.1 * 2 ** self._deaths[role])
            self._due[role] = now + pause
            log.error("role.died", died=role, exit_code=child.returncode, again_in_s=round(pause, 1))
            del self._children[role]
        if now >= self._due[role]:
            self._born[role] = now
            verb = role.partition(" ")[0]
            command = [sys.executable, "-m", "node", verb, "--config", str(self._config), "--parent", str(os.getpid())]
            port = self._port.fileno()
            given = ["--port-fd", str(port)] if verb == "listen" else []
            self._children[role] = subprocess.Popen([*command, *given], pass_fds=[port] if given else [])

    def _drain(self) -> None:
        """Ask every role to stop, wait for it, and kill what does not."""
        self._port.close()
        for child in self._children.values():
            child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _DRAIN_S
        for role, child in self._children.items():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("role.killed", killed=role)
                child.kill()
                child.wait()
