"""Instances that come by HTTP: the real command, with Orthanc's DICOMweb plug-in and curl as clients."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from node.core.part10 import find_data_set
from pipelines.phantom import ChestPhantom
from tests import invariants
from tests.invariants import Archived
from tests.nodes import Node, RoleProcess
from tests.peers import HOST, Orthanc, find_tool, wait_until
from tests.stow import END, begin, body_of, distinct, part, post, store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

REPOSITORY = Path(__file__).parents[2]
TOKEN = "0123456789abcdef"
OPEN = "enabled = true"
CLOSED = f'enabled = true\n[[web.tokens]]\nname = "GATEWAY"\ntoken = "{TOKEN}"'


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Orthanc]:
    with Orthanc(tmp_path / "pacs", dicomweb=True) as running:
        yield running


def stow(pacs: Orthanc, node: Node, ids: list[str], **headers: str) -> dict[str, object]:
    """Have Orthanc's plug-in store resources at the node, and wait for it; HTTPError when it is not content."""
    pacs.request("PUT", "/dicom-web/servers/node", {"Url": f"http://{HOST}:{node.web_port}/", "HttpHeaders": headers})
    return dict(pacs.request("POST", "/dicom-web/servers/node/stow", {"Resources": ids, "Synchronous": True}))


def held(node: Node) -> dict[str, bytes]:
    """SOP Instance UID -> the data set in the spool."""
    rows = {row["sop_instance_uid"]: row for row in node.rows("instance")}
    return {uid: (node.config.node.data / "spool" / row["key"]).read_bytes()[-row["size"] :] for uid, row in rows.items()}


def test_orthanc_stores_a_study_by_http_and_gets_its_results(
    tmp_path: Path, study: list[Path], phantom: ChestPhantom, pacs: Orthanc
) -> None:
    node = Node(tmp_path / "node", [("pacs", "PACS", pacs.port)], web=CLOSED)
    ids = pacs.upload(study)
    with node.running("serve") as [serve]:
        wait_until(lambda: '"event": "web.opened"' in serve.log, seconds=30, sentence="no HTTP port")
        stow(pacs, node, ids, Authorization=f"Bearer {TOKEN}")
        node.wait_at_rest()
    results = [found["SOPInstanceUID"] for modality in ("SEG", "SR") for found in pacs.instances(Modality=modality)]
    archive = Archived(pacs.file(uid) for uid in results)
    assert sorted(dataset.Modality for dataset in archive.datasets) == ["SEG", "SR"]
    invariants.check(node, [dataset.SOPInstanceUID for dataset in phantom.datasets], {"pacs": archive})
    released = [row for row in node.events() if row.event == "association.released"]
    assert [(row.detail["calling_ae"], row.detail["instances"]) for row in released if row.actor.startswith("web@")] == [
        ("GATEWAY", len(study))
    ]


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_orthanc_stores_every_transfer_syntax_byte_for_byte(tmp_path: Path, pacs: Orthanc, test_data: Path) -> None:
    node, ids = Node(tmp_path / "node", [], web=OPEN, quiet_s=3600), []
    files = {uid: content for uid, content in distinct((test_data / "transfer_syntaxes").rglob("*.dcm")).items() if has_study(content)}
    for content in files.values():
        (tmp_path / "one.dcm").write_bytes(content)
        ids += pacs.upload([tmp_path / "one.dcm"])
    with node.running("web"):
        stow(pacs, node, ids)
        wait_until(lambda: len(node.rows("instance")) == len(files), seconds=10, sentence="a row is missing")
        kept = held(node)
        assert set(kept) == set(files)
        for uid, content in files.items():
            assert kept[uid] == content[find_data_set(content) :]
        assert len({row["transfer_syntax_uid"] for row in node.rows("instance")}) > 15


def has_study(content: bytes) -> bool:
    return bool(dcmread(BytesIO(content), stop_before_pixels=True).get("StudyInstanceUID"))


def test_orthanc_hears_what_was_refused(tmp_path: Path, pacs: Orthanc) -> None:
    node = Node(tmp_path / "node", [], web=CLOSED, quiet_s=3600)
    path = Path(str(get_testdata_file("CT_small.dcm")))
    other = dcmread(path)
    other.PatientID = "ANOTHER"
    other.save_as(tmp_path / "other.dcm")
    with node.running("web"):
        [uid] = pacs.upload([path])
        with pytest.raises(OSError, match="HTTP Error"):
            stow(pacs, node, [uid])
        assert store(node.web_port, tmp_path / "other.dcm", Authorization=f"Bearer {TOKEN}").status == 200
        with pytest.raises(OSError, match="HTTP Error"):
            stow(pacs, node, [uid], Authorization=f"Bearer {TOKEN}")
    assert [row.code for row in node.events() if row.event == "instance.conflict"] == ["CONFLICTING_DUPLICATE"]


def resident_peak_mb(process: RoleProcess) -> float:
    assert process.process is not None
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def test_a_large_instance_never_lies_in_memory(tmp_path: Path) -> None:
    """100 MB of frames, by one request with a length and by one in chunks."""
    node = Node(tmp_path / "node", [], web=OPEN, quiet_s=3600)
    large = dcmread(str(get_testdata_file("CT_small.dcm")))
    large.NumberOfFrames, large.PixelData = 3200, bytes(large.Rows * large.Columns * 2) * 3200
    sent = []
    for number in range(2):
        large.SOPInstanceUID = large.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dcmwrite(tmp_path / f"{number}.dcm", large)
        sent.append((tmp_path / f"{number}.dcm").read_bytes())
    with node.running("web") as [web]:
        assert store(node.web_port, Path(str(get_testdata_file("CT_small.dcm")))).status == 200
        before = resident_peak_mb(web)
        assert post(node.web_port, body_of(sent[:1])).status == 200
        body = body_of(sent[1:])
        assert post(node.web_port, (body[at : at + 65536] for at in range(0, len(body), 65536))).status == 200
        grown = resident_peak_mb(web) - before
        print(f"{len(body) / 1e6:.0f} MB twice: {before:.0f} MB before, {grown:.1f} MB more")
        assert grown < 20
        node.wait_for("instance.received", count=3)
    sizes = sorted(len(content) - find_data_set(content) for content in sent)  # UIDs differ in length
    assert sorted(len(content) for content in held(node).values())[1:] == sizes


def test_a_study_is_not_complete_while_a_request_brings_it(tmp_path: Path, study: list[Path], phantom: ChestPhantom) -> None:
    """The listener judges, the HTTP role says what it holds: the one waits for the other across processes."""
    node = Node(tmp_path / "node", [], web=OPEN, quiet_s=0.8)
    body = body_of(path.read_bytes() for path in study)
    half = len(body) // 2
    with node.running("listen", "web"):
        connection = begin(node.web_port, body[:half], len(body))
        node.wait_for("instance.received")
        time.sleep(2.5)
        assert not [row for row in node.events() if row.event == "study.completed"]
        connection.sendall(body[half:])
        assert connection.recv(100).split()[1] == b"200"
        connection.close()
        completed = node.wait_for("study.completed")
    assert completed.detail["instances"] == len(study)


def test_what_was_durable_when_the_role_was_killed_is_adopted(tmp_path: Path, study: list[Path]) -> None:
    """SIGKILL to the role in mid-request: what lies whole gets its row when the supervisor has started it again, the rest is sent again."""
    node = Node(tmp_path / "node", [], web=OPEN, quiet_s=3600)
    spool = node.config.node.data / "spool" / "instances"
    with node.running("serve") as [serve]:
        wait_until(lambda: '"event": "web.opened"' in serve.log, seconds=30, sentence="no HTTP port")
        assert serve.process is not None
        [web] = [role for role in psutil.Process(serve.process.pid).children() if "web" in role.cmdline()]
        body = b"".join(part(path.read_bytes()) for path in study)
        with begin(node.web_port, body[:-100], len(body) + len(END)):
            wait_until(lambda: len(list(spool.glob("*/*.dcm"))) == len(study) - 1, seconds=30, sentence="no file came", pause=0.001)
            web.kill()
        wait_until(lambda: serve.log.count('"event": "web.opened"') == 2, seconds=30, sentence="the HTTP port did not come back")
        assert len(node.rows("instance")) == len(study) - 1, "what was durable has its row before the port opens again"
        reply = store(node.web_port, *study)
        assert (reply.status, len(reply.stored)) == (200, len(study))
        wait_until(lambda: len(node.rows("instance")) == len(study), seconds=10, sentence="a row is missing")
    invariants.i1_every_acknowledged_instance_is_on_disk(node, reply.stored)
    invariants.i5_every_state_is_explained_by_the_audit_log(node)
    invariants.i7_no_orphan_files(node)


def test_what_is_under_way_when_the_role_stops_is_let_finish(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", [], web=OPEN, quiet_s=3600)
    path = Path(str(get_testdata_file("CT_small.dcm")))
    body = body_of([path.read_bytes()])
    with node.running("web") as [web]:
        connection = begin(node.web_port, body[:-200], len(body))
        node.wait_for("association.accepted")
        stopping = threading.Thread(target=web.stop)
        stopping.start()
        time.sleep(0.5)
        connection.sendall(body[-200:])
        assert connection.recv(100).split()[1] == b"200"
        connection.close()
        stopping.join()
    assert [row.event for row in node.events()][-1] == "association.released"
    assert len(node.rows("instance")) == 1


def test_the_role_does_not_start_where_it_was_not_asked_for(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", [])
    told = subprocess.run(
        [sys.executable, "-m", "node", "web", "-c", str(node.config_path)], capture_output=True, text=True, check=False, cwd=REPOSITORY
    )
    assert told.returncode == 2
    assert "web.enabled is false" in told.stderr


def test_the_commands_of_the_handbook_store_a_file(tmp_path: Path) -> None:
    """What docs/operations.md tells to type, with this node's port and token."""
    handbook = (REPOSITORY / "docs" / "operations.md").read_text()
    commands = handbook.partition("## Storing by HTTP")[2].partition("```sh\n")[2].partition("```")[0]
    assert "curl" in commands
    node = Node(tmp_path / "node", [], web=CLOSED, quiet_s=3600)
    (tmp_path / "image.dcm").write_bytes(Path(str(get_testdata_file("CT_small.dcm"))).read_bytes())
    script = commands.replace("8080", str(node.web_port)).replace("https://", "http://").replace("node.hospital.example", HOST)
    find_tool("curl")
    with node.running("web"):
        said = subprocess.run(
            ["bash", "-euc", script],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={"TOKEN": TOKEN, "PATH": "/usr/bin:/bin"},
        )
        assert said.returncode == 0, said.stderr
        assert '"00081199"' in said.stdout
        node.wait_for("instance.received")


def test_a_port_that_is_taken_is_said_to_be(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", [], web=OPEN)
    with socket.create_server((HOST, node.web_port)):
        told = subprocess.run(
            [sys.executable, "-m", "node", "web", "-c", str(node.config_path)], capture_output=True, text=True, check=False, cwd=REPOSITORY
        )
    assert told.returncode == 2
    assert f"Port {node.web_port} cannot be opened" in told.stderr
