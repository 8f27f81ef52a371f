"""Hosts of their own: network namespaces that reach this machine through a cable which can be pulled."""

from __future__ import annotations

import os
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.nodes import Node, RoleProcess
from tests.peers import HOST


class Host:
    """A network namespace, and the address at which it finds us."""

    def __init__(self, number: int) -> None:
        self.name, self.cable, self.plug = (
            f"radnode{os.getpid()}-{number}",
            f"rn{os.getpid() % 100000}-{number}",
            f"rp{os.getpid() % 100000}-{number}",
        )
        self.ours, self.theirs = f"10.213.{number}.1", f"10.213.{number}.2"

    def cut(self) -> None:
        """Pull the cable: nothing goes through, and nobody is told."""
        _ip("link", "set", self.cable, "down")

    def mend(self) -> None:
        """Put the cable back."""
        _ip("link", "set", self.cable, "up")

    def role(self, node: Node, role: str) -> RoleProcess:
        """A role of a node, on this host."""
        process = _Elsewhere(node, role, self.name)
        node.processes.append(process)
        return process


class _Elsewhere(RoleProcess):
    def __init__(self, node: Node, role: str, namespace: str) -> None:
        super().__init__(node, role)
        self._namespace = namespace

    def command(self) -> list[str]:
        # A machine of its own has another name, so that nobody looks for its processes here.
        renamed = ["unshare", "--uts", "sh", "-c", f'hostname {self._namespace} && exec "$@"', "sh"]
        return ["ip", "netns", "exec", self._namespace, *renamed, *super().command()]


@contextmanager
def two_hosts(ports: Sequence[int]) -> Iterator[tuple[Host, Host]]:
    """Two hosts that reach these of our ports; skips with a sentence where namespaces are not permitted."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the program ip (iproute2)")
    one, two = Host(1), Host(2)
    with ExitStack() as stack:
        for host in (one, two):
            try:
                _ip("netns", "add", host.name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"network namespaces are not permitted here: {error.stderr.strip()}")
            stack.callback(_ip, "netns", "delete", host.name)
            _ip("link", "add", host.cable, "type", "veth", "peer", "name", host.plug, "netns", host.name)
            stack.callback(_quietly, "link", "delete", host.cable)
            _ip("address", "add", f"{host.ours}/24", "dev", host.cable)
            _ip("link", "set", host.cable, "up")
            _ip("-n", host.name, "address", "add", f"{host.theirs}/24", "dev", host.plug)
            _ip("-n", host.name, "link", "set", host.plug, "up")
            _ip("-n", host.name, "link", "set", "lo", "up")
            for port in ports:
                stack.enter_context(_relaying(host.ours, port))
        yield one, two


@contextmanager
def _relaying(address: str, port: int) -> Iterator[None]:
    """What comes to ``address`` goes on to the same port of the loopback, where the peers of the tests listen."""

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), socket.create_connection((HOST, port)) as other:
                back = threading.Thread(target=_pump, args=(other, self.request), daemon=True)
                back.start()
                _pump(self.request, other)
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True
        block_on_close = False

    with Server((address, port), Relay) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield
        server.shutdown()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def _quietly(*words: str) -> None:
    subprocess.run(["ip", *words], check=False, capture_output=True)
