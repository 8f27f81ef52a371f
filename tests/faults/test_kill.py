"""SIGKILL at the worst moment, a restart, and every instance that was answered Success ends in exactly one SEG and one SR."""

import time
from collections.abc import Collection
from pathlib import Path

import psutil
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from tests import invariants
from tests.invariants import Archived
from tests.nodes import Node, RoleProcess
from tests.peers import HOST, StoreScp, StoreScu, store_scu, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

#: What happens in the roles only, whatever database is behind them; what a kill does to a transaction is tried on both.
EITHER_DATABASE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def send(node: Node, study: list[Path]) -> set[str]:
    """Send a study whole; return what was answered Success."""
    sending = store_scu(HOST, node.port, study, called="RADNODE")
    assert set(sending.statuses) == {0}
    return set(sending.acknowledged)


def finish(node: Node, acknowledged: Collection[str], store_scp: StoreScp) -> None:
    """Wait for rest, and hold the node against the invariants: one SEG and one SR at the PACS."""
    node.wait_at_rest()
    archive = Archived.in_files(store_scp.received())
    assert sorted(dataset.Modality for dataset in archive.datasets) == ["SEG", "SR"]
    invariants.check(node, acknowledged, {"pacs": archive})


def wait_for_files(node: Node, count: int) -> None:
    """Wait until so many instances lie in the spool; their rows may be a moment behind."""
    spool = node.config.node.data / "spool" / "instances"
    wait_until(lambda: len(list(spool.glob("*/*.dcm"))) >= count, seconds=60, sentence="no file came", pause=0.001)


@pytest.fixture
def node(tmp_path: Path, store_scp: StoreScp, database: str) -> Node:
    return Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)], database=database)


def write_ballast(source: Path, folder: Path, count: int = 400) -> list[Path]:
    """Small instances of another study, so many that a sender is not done before it is noticed that it has begun."""
    folder.mkdir()
    instance = dcmread(source)
    instance.Modality, instance.StudyInstanceUID, instance.SeriesInstanceUID = "OT", generate_uid(), generate_uid()
    instance.Rows, instance.Columns, instance.PixelData = 8, 8, bytes(128)
    paths = [folder / f"{number:04d}.dcm" for number in range(count)]
    for path in paths:
        instance.SOPInstanceUID = instance.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        instance.save_as(path)
    return paths


def test_the_listener_killed_while_it_receives(node: Node, study: list[Path], store_scp: StoreScp, tmp_path: Path) -> None:
    everything = [*study, *write_ballast(study[0], tmp_path / "ballast")]
    with node.role("listen") as listener:
        with StoreScu(HOST, node.port, everything, "STORESCU", "RADNODE") as sender:
            wait_for_files(node, 10)
            listener.kill()
            first = sender.wait()
        assert 0 < len(first.acknowledged) < len(everything)
    with node.running("listen"):
        again = send(node, study)
        with node.running("work", "deliver"):
            finish(node, first.acknowledged | again, store_scp)


@EITHER_DATABASE
def test_the_listener_killed_before_the_study_is_complete(node: Node, study: list[Path], store_scp: StoreScp) -> None:
    with node.role("listen") as listener:
        acknowledged = send(node, study)
        listener.kill()
    assert not [row for row in node.events() if row.event == "study.completed"]
    with node.running("listen", "work", "deliver"):
        finish(node, acknowledged, store_scp)


@EITHER_DATABASE
def test_the_worker_killed_in_mid_inference(node: Node, study: list[Path], store_scp: StoreScp) -> None:
    with node.running("listen", "deliver"), node.role("work") as worker:
        acknowledged = send(node, study)
        node.wait_for("job.claimed")
        time.sleep(0.3)
        worker.kill_parent()
        assert not [row for row in node.events() if row.event == "job.finished"]
        worker.start()
        finish(node, acknowledged, store_scp)
        rescued = [row for row in node.events() if row.event == "job.rescued"]
        assert [row.detail["why"] for row in rescued] == ["process gone"]


def test_a_worker_with_another_identity_finishes_the_job_of_a_frozen_one(node: Node, study: list[Path], store_scp: StoreScp) -> None:
    """A frozen worker cannot be told from one that was cut off: its lease runs out, and what it says after its thaw is dropped."""
    lease_s = node.config.work.lease_s
    with node.running("listen", "deliver"), node.role("work", 1) as frozen:
        acknowledged = send(node, study)
        claimed = node.wait_for("job.claimed")
        frozen.pause()
        with node.role("work", 2):
            second = node.wait_for("job.claimed", count=2)
            assert second.detail["by"] != claimed.detail["by"]
            node.wait_for("job.finished")
            frozen.resume()
            finish(node, acknowledged, store_scp)
            node.wait_for("job.fenced", seconds=30)
        rescued = node.wait_for("job.rescued")
    assert rescued.detail["why"] == "lease expired"
    assert (rescued.at - claimed.at).total_seconds() < 2 * lease_s + 10
    finish(node, acknowledged, store_scp)


@EITHER_DATABASE
def test_the_courier_killed_in_mid_association(node: Node, study: list[Path], store_scp: StoreScp) -> None:
    with node.running("listen", "work"), node.role("deliver") as courier:
        acknowledged = send(node, study)
        node.wait_for("job.queued")
        store_scp.pause()
        node.wait_for("delivery.started", count=2)
        courier.kill()
        store_scp.resume()
        courier.start()
        finish(node, acknowledged, store_scp)
        assert [row for row in node.events() if row.event == "parcel.rescued"]


@pytest.mark.parametrize(
    ("moment", "database"),
    [
        ("instance.received", "sqlite"),
        ("instance.received", "postgresql"),
        ("study.completed", "sqlite"),
        ("job.claimed", "sqlite"),
        ("delivery.owed", "sqlite"),
        ("delivery.owed", "postgresql"),
        ("delivery.started", "sqlite"),
    ],
    indirect=["database"],
)
def test_everything_killed_at_once(node: Node, study: list[Path], store_scp: StoreScp, moment: str) -> None:
    with node.running("serve") as [everything]:
        with StoreScu(HOST, node.port, study, "STORESCU", "RADNODE") as sender:
            if moment == "instance.received":
                node.wait_for(moment, count=len(study) // 2)
                everything.kill()
            first = sender.wait()
        if everything.process is not None:
            node.wait_for(moment)
            everything.kill()
    with node.running("serve"):
        again = set() if len(first.acknowledged) == len(study) else send(node, study)
        finish(node, first.acknowledged | again, store_scp)


@EITHER_DATABASE
def test_the_supervisor_starts_a_killed_role_again(node: Node, study: list[Path], store_scp: StoreScp) -> None:
    with node.running("serve") as [serve]:
        kill_roles(serve)
        wait_until(serve.is_ready, seconds=30, sentence="the listener did not come back")
        finish(node, send(node, study), store_scp)


@EITHER_DATABASE
def test_a_node_that_is_told_to_stop_drains(node: Node, study: list[Path], store_scp: StoreScp) -> None:
    with node.running("serve") as [serve]:
        acknowledged = send(node, study)
        node.wait_for("job.claimed")
        assert serve.process is not None
        serve.process.terminate()
        assert serve.process.wait(60) == 0
        assert [row.event for row in node.events()].count("job.finished") == 1, "a job in progress is finished before the node ends"
    with node.running("serve"):
        finish(node, acknowledged, store_scp)


def kill_roles(serve: RoleProcess) -> None:
    """SIGKILL to every role; the supervisor lives."""
    assert serve.process is not None
    for role in psutil.Process(serve.process.pid).children():
        role.kill()
