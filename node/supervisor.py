"""All roles of a node under one command: each in its own process, started again when it dies, drained on SIGTERM.

Processes, not threads: the listener never loads torch, and a fault of the device takes neither the socket nor the courier with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

ROLES = ("listen", "work", "deliver")

#: A role that dies again and again is started again after 0.2 s, then after twice as long each time, up to this; one that lived
#: for longer than a minute is forgiven.
_LONGEST_PAUSE_S = 5.0
_HEALTHY_S = 60.0
_DRAIN_S = 45.0


class Supervisor:
    """Keeps the roles alive.

    Parameters
    ----------
    config : Path
        config.toml, which each role reads for itself.
    """

    def __init__(self, config: Path, roles: Sequence[str] = ROLES) -> None:
        self._config = config
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
            command = [sys.executable, "-m", "node", role, "--config", str(self._config), "--parent", str(os.getpid())]
            self._children[role] = subprocess.Popen(command)

    def _drain(self) -> None:
        """Ask every role to stop, wait for it, and kill what does not."""
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
