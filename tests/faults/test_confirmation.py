"""SIGKILL to the courier behind Orthanc's Success and before it is known that Orthanc has it: each ends confirmed, and is sent once."""

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread

from node.app.role import Role
from node.core.job import Job, Work
from node.core.result import StoredObject
from node.ledger import outbox
from tests import invariants
from tests.faults.gate import Gate
from tests.invariants import Archived
from tests.nodes import Node
from tests.peers import Orthanc, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]


@pytest.fixture
def files(test_data: Path) -> list[Path]:
    folder = test_data / "seg_sr_reference" / "dcmqi_tid1500"
    return [folder / "seg.dcm", folder / "sr.dcm"]


def node_of(folder: Path, orthanc: Orthanc, gate: Gate, confirm: str) -> Node:
    """A node whose PACS is behind the gate, and which Orthanc reports to."""
    node = Node(folder, [("pacs", orthanc.ae_title, gate.port)], confirm=confirm)
    text = node.config_path.read_text()
    node.config_path.write_text(text.replace("[deliver]\n", "[deliver]\nreport_s = 20.0\n"))
    orthanc.add_modality("radnode", "RADNODE", node.port)
    return node


def owe(node: Node, files: list[Path]) -> None:
    """Owe the objects in ``files``, as a worker does that has made them."""
    with ExitStack() as stack:
        role = Role(node.config, "work", stack)
        objects = []
        for path in files:
            read = dcmread(path, stop_before_pixels=True)
            key = f"objects/{read.SOPInstanceUID}.dcm"
            role.spool.put_atomic(key, path.read_bytes()).settle()
            uids = {
                "sop_class_uid": read.SOPClassUID,
                "sop_instance_uid": read.SOPInstanceUID,
                "series_instance_uid": read.SeriesInstanceUID,
            }
            values = {name: str(uid) for name, uid in uids.items()}
            objects.append(StoredObject(kind=str(read.Modality), key=key, sha256=role.spool.sha256(key), **values))
        work = work_on(str(read.StudyInstanceUID), objects[0].series_instance_uid)
        role.ledger.write(lambda tx: outbox.owe(tx, work, objects, ["pacs"], role.engine.dispatch))


def work_on(study_instance_uid: str, series_instance_uid: str) -> Work:
    job = Job(
        node_ae="RADNODE",
        study_instance_uid=study_instance_uid,
        revision=1,
        series_instance_uids=(series_instance_uid,),
        pipeline="ct_lungs",
        model_digest="0" * 64,
        input_sha256="0" * 64,
        queued_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    return Work(id=job.id, kind="infer", job_id=job.id, job=job, destination=None, priority=100, attempt=1, dispatch=1, crashes=0)


def check(node: Node, gate: Gate, orthanc: Orthanc, state: str) -> None:
    """Both objects are confirmed, each was sent once, and each is at the PACS once."""
    wait_until(lambda: {row["state"] for row in node.rows("work")} == {"done"}, seconds=60, sentence="the parcel is not done", pause=0.1)
    assert [row["state"] for row in node.rows("delivery")] == [state, state]
    assert gate.stores == 2, "each was sent once"
    assert len(orthanc.instances()) == 2
    archive = Archived(orthanc.file(one["SOPInstanceUID"]) for one in orthanc.instances())
    invariants.i3_each_output_is_at_its_destination_once(node, {"pacs": archive})
    invariants.i5_every_state_is_explained_by_the_audit_log(node)
    invariants.i6_nothing_is_in_limbo(node)
    assert [row.detail["why"] for row in node.events() if row.event == "parcel.rescued"] in ([], ["process gone"])


@pytest.mark.parametrize(
    ("confirm", "answers", "questions", "state"),
    [
        ("commitment", 0, 0, "committed"),  # its association was not answered: sent, and nothing asked yet
        ("commitment", 1, 1, "committed"),  # Orthanc was asked, and its answer is on its way
        ("query", 1, 1, "found"),  # the question is asked, and its answer is on its way
    ],
)
def test_the_courier_killed_while_it_asks(
    tmp_path: Path, files: list[Path], orthanc: Orthanc, confirm: str, answers: int, questions: int, state: str
) -> None:
    with Gate(orthanc.port, answers=answers) as gate:
        node = node_of(tmp_path / "node", orthanc, gate, confirm)
        owe(node, files)
        with ExitStack() as stack:
            if confirm == "commitment":
                stack.enter_context(node.role("listen"))  # Orthanc reports to it
            courier = stack.enter_context(node.role("deliver"))
            assert gate.swallowed.wait(60)
            courier.kill()
            assert next(row["state"] for row in node.rows("delivery")) in ("sent", "committed")
            assert gate.questions == questions
            gate.open()
            courier.start()
            check(node, gate, orthanc, state)
        assert [row.event for row in node.events()].count("parcel.rescued") == 1


def test_the_report_comes_while_there_is_no_courier(tmp_path: Path, files: list[Path], orthanc: Orthanc) -> None:
    with Gate(orthanc.port, answers=0, before=99) as gate:
        node = node_of(tmp_path / "node", orthanc, gate, "commitment")
        owe(node, files)
        with node.role("listen") as listener, node.role("deliver") as courier:
            listener.pause()
            node.wait_for("pledge.asked")
            courier.kill()
            listener.resume()
            node.wait_for("pledge.reported")
            assert [row["state"] for row in node.rows("delivery")] == ["committed", "committed"]
            assert node.rows("work")[0]["state"] != "done"
            courier.start()
            check(node, gate, orthanc, "committed")
        assert [row.event for row in node.events()].count("pledge.begun") == 1, "it is asked once"
