"""What operators do by hand: look, find the reason, mend, replay, verify."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.phantom import ChestPhantom
from tests import invariants
from tests.invariants import Archived
from tests.nodes import Node
from tests.peers import HOST, StoreScp, store_scu

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def radnode(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "node", *arguments, "-c", str(node.config_path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_results_that_the_pacs_refused_are_found_and_brought_back(tmp_path: Path, study: list[Path], phantom: ChestPhantom) -> None:
    refusing = StoreScp(tmp_path / "refusing", "--refuse", ae_title="PACS")
    node = Node(tmp_path / "node", [("pacs", "PACS", refusing.port)])
    with node.running():
        with refusing:
            sending = store_scu(HOST, node.port, study, called="RADNODE")
            assert set(sending.statuses) == {0}
            node.wait_at_rest()
            invariants.check(node, sending.acknowledged, {"pacs": Archived([])})
        [refused] = [row for row in node.events() if row.event == "parcel.refused"]
        assert refused.code == "PEER_REFUSED.rejected"
        status = radnode(node, "status")
        assert "PEER_REFUSED.rejected" in status.stdout
        with StoreScp(tmp_path / "mended", ae_title="PACS", port=refusing.port) as mended:
            assert radnode(node, "check", "--peers").returncode == 0
            assert radnode(node, "replay", str(refused.work_id)).returncode == 0
            node.wait_for("parcel.finished")
            archive = Archived.in_files(mended.received())
    assert sorted(dataset.Modality for dataset in archive.datasets) == ["SEG", "SR"]
    invariants.check(node, sending.acknowledged, {"pacs": archive})
    history = radnode(node, "history", phantom.study_instance_uid)
    assert history.returncode == 0
    for event in ("association.accepted", "study.completed", "job.finished", "parcel.refused", "parcel.replayed", "delivery.sent"):
        assert event in history.stdout
    assert "Phantom" not in history.stdout
    assert radnode(node, "verify-audit").returncode == 0


def test_what_cannot_be_done_is_a_sentence_and_an_exit_code(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", [("pacs", "PACS", 1)])
    with node.running("listen"):
        pass
    nothing = radnode(node, "replay", "nothing")
    assert (nothing.returncode, "There is no work nothing" in nothing.stderr) == (2, True)
    assert radnode(node, "history", "1.2.3").returncode == 1
    assert radnode(node, "status").returncode == 0
    unreachable = radnode(node, "check", "--peers")
    assert (unreachable.returncode, "PEER_UNAVAILABLE" in unreachable.stdout) == (2, True)
    node.config_path.write_text(node.config_path.read_text().replace("[work]", "[work]\nleese_s = 3"))
    faulty = radnode(node, "check")
    assert (faulty.returncode, "did you mean lease_s" in faulty.stderr) == (2, True)


def test_a_port_that_is_taken_is_a_sentence(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", [])
    with socket.create_server((HOST, node.port)):
        told = radnode(node, "serve")
    assert told.returncode == 2
    assert f"Port {node.port} cannot be opened" in told.stderr
