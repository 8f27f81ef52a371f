"""The listener ends at every single step, one after the other: whatever was answered Success is there, and the rest can be sent again.

Two instances of one study pass every step that there is: the first makes the study's folder, the second finds it. The walk visits each
fsync, rename, link, replace, unlink and mkdir, and each COMMIT twice, before and behind it; it ends with the first run in which no step is
left to end at. More instances would only repeat the steps of the second.
"""

import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import pytest

from tests import invariants
from tests.integration.dimse.wire import Wire
from tests.nodes import REPOSITORY, Node
from tests.peers import HOST, find_tool, wait_until
from tests.unit.intake.arrivals import INSTANCE, encode, make_data_set

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

EXIT_CODE = 9
INSTANCES = {f"{INSTANCE}.{number}": encode(make_data_set(SOPInstanceUID=f"{INSTANCE}.{number}")) for number in range(2)}


class Exiter:
    """The process that forks listeners (``exiting.py``)."""

    def __init__(self) -> None:
        program = [find_tool("setpriv"), "--pdeathsig", "KILL", "--", sys.executable, str(Path(__file__).with_name("exiting.py"))]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment)
        self._listener = 0

    def start(self, node: Node, nth: int = 0, when: str = "signal") -> bool:
        """Start a listener; whether it came as far as to open its port."""
        print(node.config_path, nth, when, file=self._process.stdin, flush=True)
        said, pid = self._process.stdout.readline().split()
        assert said == "started"
        self._listener = int(pid)
        return bool(wait_until(lambda: self.has_ended() or self._answers(node.port), seconds=30, sentence="no port, no end")) and not (
            self.has_ended()
        )

    def has_ended(self) -> bool:
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._listener, number)

    def end(self) -> int:
        """Wait for the listener to end; its exit code."""
        said, code = self._process.stdout.readline().split()
        assert said == "ended"
        return int(code)

    def close(self) -> None:
        if not self.has_ended():
            self.signal(signal.SIGKILL)
        self._process.kill()
        self._process.communicate()

    @staticmethod
    def _answers(port: int) -> bool:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return True
        return False


@pytest.fixture(scope="module")
def exiter() -> Iterator[Exiter]:
    with closing(Exiter()) as running:
        yield running


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, exiter: Exiter) -> Path:
    """The data of a node that was started and stopped once, so that its tables are there."""
    node = new_node(tmp_path_factory.mktemp("template") / "node")
    assert exiter.start(node)
    exiter.signal(signal.SIGTERM)
    assert exiter.end() == 0
    return node.config.node.data


def new_node(folder: Path) -> Node:
    """A node that sweeps seldom before its orderly end, where it does so in any case: more sweeps would only repeat these steps."""
    return Node(folder, [], quiet_s=3600, sweep_s=2)


def make_node(template: Path, folder: Path) -> Node:
    node = new_node(folder)
    shutil.copytree(template, node.config.node.data)
    return node


def send(node: Node) -> set[str]:
    """Send every instance, as far as the listener lives; what was answered Success."""
    acknowledged = set()
    with suppress(OSError, AssertionError), Wire(node.port) as wire:
        for uid, content in INSTANCES.items():
            if wire.store(content, uid) == 0:
                acknowledged.add(uid)
        wire.release()
    return acknowledged


def check(exiter: Exiter, node: Node, acknowledged: set[str]) -> None:
    """Start again without a fault: nothing that was answered is lost, the rest can be sent, and the node is whole."""
    assert exiter.start(node), node.logs()[-2000:]
    rows = {row["sop_instance_uid"] for row in node.rows("instance")}
    assert acknowledged <= rows, "answered Success, and not there when the port is open again"
    assert send(node) == set(INSTANCES)
    exiter.signal(signal.SIGTERM)
    assert exiter.end() == 0
    invariants.i1_every_acknowledged_instance_is_on_disk(node, set(INSTANCES))
    invariants.i5_every_state_is_explained_by_the_audit_log(node)
    invariants.i7_no_orphan_files(node)
    assert [row["instances"] for row in node.rows("study")] == [len(INSTANCES)]
    incoming = node.config.node.data / "spool" / "incoming"
    assert [path for path in incoming.rglob("*") if path.is_file() and path.name not in (".lock", ".gate")] == []


def test_at_every_step_of_receiving(template: Path, exiter: Exiter, tmp_path: Path) -> None:
    """From the open port to the orderly end."""
    answered = set()
    for nth in count(1):
        node = make_node(template, tmp_path / f"node-{nth}")
        assert exiter.start(node, nth)
        exiter.signal(signal.SIGUSR1)
        wait_until((node.folder / "armed").exists, seconds=5, sentence="it does not count")
        acknowledged = send(node)
        if len(acknowledged) == len(INSTANCES) and not exiter.has_ended():
            wait_until(
                lambda node=node: exiter.has_ended() or len(node.rows("instance")) == len(INSTANCES), seconds=20, sentence="no rows came"
            )
            exiter.signal(signal.SIGTERM)
        code = exiter.end()
        assert code in (0, EXIT_CODE), node.logs()[-2000:]
        check(exiter, node, acknowledged)
        answered.add(len(acknowledged))
        shutil.rmtree(node.folder)
        if code == 0:
            break
    assert nth > 15, "every instance alone has five steps"
    assert answered == set(range(len(INSTANCES) + 1)), "it has ended before, between and behind the answers"


def test_at_every_step_of_taking_up_what_was_left(template: Path, exiter: Exiter, tmp_path: Path) -> None:
    """A listener that dies while it adopts what another has left is followed by one that adopts the rest."""
    left = make_node(template, tmp_path / "left")
    assert exiter.start(left)
    with closing(sqlite3.connect(left.config.database_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        acknowledged = send(left)
        exiter.signal(signal.SIGKILL)
        assert exiter.end() == -signal.SIGKILL
        other.execute("ROLLBACK")
    assert acknowledged == set(INSTANCES)
    assert left.rows("instance") == []
    for nth in count(1):
        node = make_node(left.config.node.data, tmp_path / f"node-{nth}")
        if opened := exiter.start(node, nth, "start"):
            exiter.signal(signal.SIGKILL)
        code = exiter.end()
        assert code == EXIT_CODE or (opened and code == -signal.SIGKILL), node.logs()[-2000:]
        check(exiter, node, acknowledged)
        shutil.rmtree(node.folder)
        if code != EXIT_CODE:
            break
    assert nth > 6, "two instances are adopted"
