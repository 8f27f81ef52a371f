"""The machine's clock is stepped back by an hour under a whole node: nothing waits for that hour to pass again."""

import struct
import subprocess
from pathlib import Path

import pytest

from tests import invariants
from tests.faults.ballast import Ballast
from tests.integration.dimse.wire import Wire
from tests.invariants import Archived
from tests.nodes import Node, RoleProcess
from tests.peers import HOST, StoreScp, find_tool, store_scu

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]


class Displaced(RoleProcess):
    """A node whose processes all read one clock of their own (``displaced.c``)."""

    def command(self) -> list[str]:
        library = self.node.folder / "displaced.so"
        compiler = [find_tool("gcc"), "-shared", "-fPIC", "-O1", "-nostdlib", "-fno-builtin", "-o", library]
        subprocess.run([*compiler, Path(__file__).with_name("displaced.c")], check=True)
        self.step(0)
        return ["env", f"LD_PRELOAD={library}", f"DISPLACED_CLOCK={self._clock}", *super().command()]

    def step(self, seconds: int) -> None:
        """Let the clock differ from the machine's by ``seconds``, from this moment on."""
        self._clock.touch()
        with self._clock.open("r+b") as file:  # in place: it is mapped into every process
            file.write(struct.pack("l", seconds))

    @property
    def _clock(self) -> Path:
        return self.node.folder / "clock"


def test_a_clock_that_is_stepped_back(tmp_path: Path, study: list[Path]) -> None:
    """Between the instances and the quiet time of one study, and between two attempts to deliver another."""
    store_scp = StoreScp(tmp_path / "pacs")
    node, ballast = Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)], quiet_s=2.0), Ballast(1000)
    serve = Displaced(node, "serve")
    node.processes.append(serve)
    with serve:
        sending = store_scu(HOST, node.port, study, called="RADNODE")
        assert set(sending.statuses) == {0}
        node.wait_for("parcel.retried")
        with Wire(node.port) as wire:
            ballast.send(wire)
            wire.release()
        before = node.wait_for("study.opened", count=2).at
        serve.step(-3600)
        with store_scp:
            node.wait_at_rest(studies=2, seconds=60)
    events = node.events()
    assert events[-1].at < before, "the clock was stepped back"
    archive = Archived.in_files(store_scp.received())
    assert sorted(dataset.Modality for dataset in archive.datasets) == ["SEG", "SR"]
    invariants.check(node, sending.acknowledged | ballast.acknowledged, {"pacs": archive})
