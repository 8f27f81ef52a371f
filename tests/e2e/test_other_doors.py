"""Instances that come as files, and a study that an operator judges complete: the same desk, the same history."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from pydicom import dcmread

from pipelines.phantom import ChestPhantom
from tests import invariants
from tests.invariants import Archived
from tests.nodes import Node
from tests.peers import StoreScp

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def radnode(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "node", *arguments, "-c", str(node.config_path)], capture_output=True, text=True, check=False
    )


def test_an_archive_is_taken_in_as_a_folder_is(tmp_path: Path, study: list[Path]) -> None:
    packed = tmp_path / "study.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in study:
            archive.write(path, path.name)
    held = []
    for source in (packed, study[0].parent):
        node = Node(tmp_path / source.stem / "node", [], quiet_s=3600)
        assert radnode(node, "ingest", str(source)).returncode == 0
        held.append({(row["key"], row["sha256"]) for row in node.rows("instance")})
    assert held[0] == held[1]
    assert len(held[0]) == len(study)


def test_what_the_ledger_holds_is_explained_series_by_series(tmp_path: Path, study: list[Path], phantom: ChestPhantom) -> None:
    node = Node(tmp_path / "node", [], quiet_s=3600)
    assert radnode(node, "ingest", str(study[0].parent)).returncode == 0
    told = radnode(node, "pipelines", "explain", phantom.study_instance_uid)
    assert told.returncode == 0, told.stderr
    assert f"{len(study)} slices: taken" in told.stdout
    unknown = radnode(node, "pipelines", "explain", "1.2.3")
    assert unknown.returncode == 2
    assert unknown.stderr.startswith("STATE.no_study")


def test_files_are_taken_in_and_an_operator_completes_the_study(
    tmp_path: Path, study: list[Path], phantom: ChestPhantom, store_scp: StoreScp
) -> None:
    node = Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)], quiet_s=3600)
    source = study[0].parent
    (source / "note.txt").write_text("no DICOM")
    with node.running("listen", "work", "deliver"):
        taken = radnode(node, "ingest", str(source))
        assert taken.returncode == 0, taken.stdout + taken.stderr
        assert "0x0000" in taken.stdout
        assert radnode(node, "complete", phantom.study_instance_uid).returncode == 0
        node.wait_at_rest()
        assert radnode(node, "complete", phantom.study_instance_uid).returncode == 1
    [completed] = [row for row in node.events() if row.event == "study.completed"]
    assert completed.detail["rule"].startswith("operator ")
    archive_holds = Archived.in_files(store_scp.received())
    assert sorted(dataset.Modality for dataset in archive_holds.datasets) == ["SEG", "SR"]
    invariants.check(node, [dataset.SOPInstanceUID for dataset in phantom.datasets], {"pacs": archive_holds})


def test_a_file_whose_front_says_something_else_than_its_data_set_is_taken_for_what_its_data_set_says(
    tmp_path: Path, study: list[Path]
) -> None:
    node = Node(tmp_path / "node", [], quiet_s=3600)
    data_set = dcmread(study[0])
    data_set.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    data_set.save_as(study[0])
    assert radnode(node, "ingest", str(study[0].parent)).returncode == 0
    assert str(data_set.SOPInstanceUID) in {row["sop_instance_uid"] for row in node.rows("instance")}


def test_what_is_refused_is_counted_and_ends_in_an_exit_code(tmp_path: Path, study: list[Path]) -> None:
    node = Node(tmp_path / "node", [], quiet_s=3600)
    data_set = dcmread(study[0])
    del data_set.StudyInstanceUID
    data_set.save_as(study[0])
    taken = radnode(node, "ingest", str(study[0].parent))
    assert taken.returncode == 1
    assert "0xC000" in taken.stdout
    assert [row.code for row in node.events() if row.event == "instance.refused"] == ["NOT_UNDERSTOOD.missing_identity"]


def test_a_source_that_is_neither_folder_nor_archive_is_a_sentence(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", [])
    told = radnode(node, "ingest", str(tmp_path / "nothing"))
    assert told.returncode == 2
    assert "neither a folder nor a ZIP archive" in told.stderr
