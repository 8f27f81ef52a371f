"""The invariants that every end-to-end test ends with: each must be able to fail."""

import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipelines.phantom import ChestPhantom, write_datasets
from tests import invariants
from tests.invariants import Archived
from tests.nodes import Node
from tests.peers import HOST, StoreScp, store_scu

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@dataclass
class Finished:
    """A node that has done its work, as it lies on disk, and what the archive holds."""

    node: Node
    acknowledged: set[str]
    archive: Archived

    def check(self) -> None:
        invariants.check(self.node, self.acknowledged, {"pacs": self.archive})

    def sql(self, *statements: str) -> None:
        engine = sa.create_engine(f"sqlite:///{self.node.config.node.data / 'radnode.db'}")
        with engine.begin() as connection:
            for statement in ("DROP TRIGGER IF EXISTS audit_no_UPDATE", "DROP TRIGGER IF EXISTS audit_no_DELETE", *statements):
                connection.exec_driver_sql(statement)
        engine.dispose()

    def instance_file(self) -> Path:
        return self.node.config.node.data / "spool" / self.node.rows("instance")[0]["key"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, phantom: ChestPhantom) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("original")
    (folder / "study").mkdir()
    study = write_datasets(phantom.datasets, folder / "study")
    with StoreScp(folder / "pacs") as store_scp:
        node = Node(folder / "node", [("pacs", store_scp.ae_title, store_scp.port)])
        with node.running():
            acknowledged = set(store_scu(HOST, node.port, study, called="RADNODE").acknowledged)
            node.wait_at_rest()
        yield Finished(node, acknowledged, Archived.in_files(store_scp.received()))


@pytest.fixture
def finished(original: Finished, tmp_path: Path) -> Finished:
    node = Node(tmp_path / "node", [])
    shutil.copytree(original.node.config.node.data, node.config.node.data)
    return Finished(node, set(original.acknowledged), deepcopy(original.archive))


def lose_a_file(finished: Finished) -> None:
    finished.instance_file().unlink()


def flip_a_bit(finished: Finished) -> None:
    path = finished.instance_file()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def acknowledge_more(finished: Finished) -> None:
    finished.acknowledged.add("1.2.3")


def lose_an_object_at_the_pacs(finished: Finished) -> None:
    finished.archive.datasets.pop()


def double_an_object_at_the_pacs(finished: Finished) -> None:
    finished.archive.datasets.append(finished.archive.datasets[0])


def change_the_patient(finished: Finished) -> None:
    finished.archive.datasets[0].PatientID = "ANOTHER"


def run_a_job_twice(finished: Finished) -> None:
    columns = ", ".join(column for column in finished.node.rows("work")[0] if column != "id")
    finished.sql(f"INSERT INTO work (id, {columns}) SELECT 'again', {columns} FROM work WHERE kind = 'infer'")


def change_a_state_in_silence(finished: Finished) -> None:
    finished.sql("UPDATE delivery SET state = 'refused'")


def rewrite_the_audit(finished: Finished) -> None:
    finished.sql("UPDATE audit SET actor = 'nobody' WHERE n = 3")


def cut_the_audit(finished: Finished) -> None:
    finished.sql("DELETE FROM audit WHERE event = 'job.queued'")


def leave_work_queued(finished: Finished) -> None:
    finished.sql("UPDATE work SET state = 'queued' WHERE kind = 'infer'")


def leave_an_orphan(finished: Finished) -> None:
    (finished.node.config.node.data / "spool" / "results" / "orphan.dcm").write_bytes(b"")


def log_the_name(finished: Finished) -> None:
    folder = finished.node.folder / "listen-1"
    folder.mkdir()
    (folder / "radnode.log").write_text("received PHANTOM^CHEST")


def test_a_node_that_did_its_work_passes(finished: Finished) -> None:
    finished.check()


@pytest.mark.parametrize(
    "harm",
    [
        lose_a_file,
        flip_a_bit,
        acknowledge_more,
        lose_an_object_at_the_pacs,
        double_an_object_at_the_pacs,
        change_the_patient,
        run_a_job_twice,
        change_a_state_in_silence,
        rewrite_the_audit,
        cut_the_audit,
        leave_work_queued,
        leave_an_orphan,
        log_the_name,
    ],
)
def test_every_harm_is_noticed(finished: Finished, harm: Callable[[Finished], None]) -> None:
    harm(finished)
    with pytest.raises((AssertionError, FileNotFoundError)):
        finished.check()
