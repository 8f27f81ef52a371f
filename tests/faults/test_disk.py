"""A disk that fills up, or cannot be written any more: the sender is told so, nobody dies, and all goes on when it is mended."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from node.core.errors import StorageError
from node.ledger.engine import Ledger
from node.spool.slots import SUFFIX
from tests import invariants
from tests.faults.ballast import Ballast
from tests.faults.disks import MB, Disk, small_disk
from tests.integration.dimse.wire import Wire, message
from tests.invariants import Archived
from tests.nodes import Node, RoleProcess
from tests.peers import HOST, StoreScp, store_scu, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

OUT_OF_RESOURCES = 0xA700  # PS3.4 Table B.2-1
SIZE = 40 * MB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """The disk that the node's data lie on, its ledger among them."""
    with small_disk(tmp_path / "node" / "data", SIZE) as mounted:
        yield mounted


def make_node(tmp_path: Path, store_scp: StoreScp, min_free_bytes: int = 0) -> Node:
    return Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)], min_free_bytes=min_free_bytes)


def roles_of(serve: RoleProcess) -> set[int]:
    """The processes of the roles, when every one of them has started."""
    assert serve.process is not None
    wait_until(lambda: serve.log.count('"event": "queue.opened"') >= 2, seconds=60, sentence="the roles do not start")
    return {child.pid for child in psutil.Process(serve.process.pid).children()}


def fill(node: Node, ballast: Ballast) -> None:
    """Send until nothing is taken any more."""
    with Wire(node.port) as wire:
        for _ in range(400):
            ballast.send(wire)
            if list(ballast.answers.values())[-3:] == [OUT_OF_RESOURCES] * 3:
                break
        wire.release()
    assert set(ballast.answers.values()) == {0, OUT_OF_RESOURCES}


def send(node: Node, study: list[Path]) -> set[str]:
    sending = store_scu(HOST, node.port, study, called="RADNODE")
    assert set(sending.statuses) == {0}
    return sending.acknowledged


def send_again(node: Node, study: list[Path]) -> set[str]:
    """Send until everything is taken: each of the listeners finds out for itself that there is room again."""

    def taken() -> set[str] | None:
        sending = store_scu(HOST, node.port, study, called="RADNODE")
        assert set(sending.statuses) <= {0, OUT_OF_RESOURCES}
        return sending.acknowledged if set(sending.statuses) == {0} else None

    found: set[str] = wait_until(taken, seconds=10, sentence="what was refused is not taken when there is room again", pause=0.3)
    return found


def finish(node: Node, acknowledged: set[str], store_scp: StoreScp) -> None:
    node.wait_at_rest(studies=2)
    archive = Archived.in_files(store_scp.received())
    assert sorted(dataset.Modality for dataset in archive.datasets) == ["SEG", "SR"]
    invariants.check(node, acknowledged, {"pacs": archive})


@pytest.mark.parametrize("min_free_bytes", [12 * MB, 0], ids=["with a reserve", "to the last byte"])
def test_a_disk_that_fills_up(tmp_path: Path, study: list[Path], store_scp: StoreScp, disk: Disk, min_free_bytes: int) -> None:
    node, ballast = make_node(tmp_path, store_scp, min_free_bytes), Ballast(500_000)
    with node.running() as [serve]:
        roles = roles_of(serve)
        acknowledged = send(node, study[: len(study) // 2])
        fill(node, ballast)
        if min_free_bytes:
            assert disk.free() > min_free_bytes / 2, "it is refused before the disk is full"
            refused = node.wait_for("instance.refused")
            assert refused.code == "NOT_ENOUGH_DISK.watermark"
        else:
            assert disk.free() < MB
        disk.resize(2 * SIZE)
        ballast.send_rest(node.port)
        acknowledged |= send_again(node, study)
        finish(node, acknowledged | ballast.acknowledged, store_scp)
        assert roles_of(serve) == roles, "nobody died of it"


def test_a_disk_that_becomes_read_only(tmp_path: Path, study: list[Path], store_scp: StoreScp, disk: Disk) -> None:
    node, ballast = make_node(tmp_path, store_scp), Ballast(50_000)
    with node.running() as [serve]:
        roles = roles_of(serve)
        acknowledged = send(node, study[: len(study) // 2])
        with Wire(node.port) as wire, Wire(node.port) as other:
            ballast.send(wire)
            begun, rest = begin(other, ballast, roles)
            with disk.read_only():
                for _ in range(5):
                    ballast.send(wire)
                assert list(ballast.answers.values()) == [0, *[OUT_OF_RESOURCES] * 5]
                other.send(rest)
                assert other.answer()[1] == 0, "what had begun before lies in a file that is open still, and is durable there"
            ballast.send(other, begun)
            ballast.send(wire)
            assert list(ballast.answers.values())[-2:] == [0, 0], "on the same associations"
            wire.release()
            other.release()
        ballast.send_rest(node.port)
        acknowledged |= send(node, study)
        finish(node, acknowledged | ballast.acknowledged, store_scp)
        assert roles_of(serve) == roles, "nobody died of it"


def begin(wire: Wire, ballast: Ballast, roles: set[int]) -> tuple[str, bytes]:
    """Send the first half of an instance, and wait until a listener has opened its file; its UID, and the second half."""
    uid = ballast.make()
    whole = message(ballast.contents[uid], uid)
    half = len(whole) // 2
    wire.send(whole[:half])
    wait_until(lambda: any(path.endswith(SUFFIX) for path in opened(roles)), seconds=20, sentence="no file was opened", pause=0.01)
    return uid, whole[half:]


def opened(roles: set[int]) -> list[str]:
    return [found.path for pid in roles for found in psutil.Process(pid).open_files()]


def test_a_ledger_that_was_opened_while_its_disk_was_read_only_can_be_written_later(disk: Disk) -> None:
    """SQLite opens a file that it may not write for reading only; such a connection must not come back from the pool."""
    url = f"sqlite:///{disk.folder / 'some.db'}"
    with closing(Ledger(url, actor="first")) as first, closing(Ledger(url, actor="second")) as second:
        with first.beating() as tx:
            tx.exec_driver_sql("CREATE TABLE fact (n INTEGER)")
        with disk.read_only(), pytest.raises(StorageError), second.beating() as tx:
            tx.exec_driver_sql("INSERT INTO fact VALUES (1)")
        with second.beating() as tx:
            tx.exec_driver_sql("INSERT INTO fact VALUES (2)")
            assert tx.exec_driver_sql("SELECT n FROM fact").scalars().all() == [2]
