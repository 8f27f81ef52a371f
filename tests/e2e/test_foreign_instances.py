"""An instance of another patient in a study: kept, named, and decided on by an operator."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from pipelines.phantom import ChestPhantom
from tests import invariants
from tests.invariants import Archived
from tests.nodes import Node
from tests.peers import HOST, StoreScp, store_scu

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def radnode(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "node", *arguments, "-c", str(node.config_path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_operator_sets_it_aside_and_the_study_is_processed(
    tmp_path: Path, study: list[Path], phantom: ChestPhantom, store_scp: StoreScp
) -> None:
    data_set = dcmread(study[-1])
    data_set.PatientID, data_set.SOPInstanceUID = "ANOTHER", generate_uid()
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    data_set.save_as(study[0].parent / "other.dcm")
    node = Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)], quiet_s=0.5)
    with node.running():
        sending = store_scu(HOST, node.port, [*study, study[0].parent / "other.dcm"], called="RADNODE")
        assert set(sending.statuses) == {0}
        node.wait_for("study.processed")
        assert node.wait_for("study.not_applicable").code == "IDENTITY_CONFLICT.mixed"
        assert "in quarantine" in radnode(node, "status").stdout
        listed = radnode(node, "quarantine")
        assert phantom.study_instance_uid in listed.stdout
        assert "ANOTHER" not in listed.stdout
        assert radnode(node, "quarantine", "--set-aside").returncode == 2
        assert radnode(node, "quarantine", "1.2.3", "--set-aside").returncode == 2
        decided = radnode(node, "quarantine", phantom.study_instance_uid, "--set-aside", "--who", "an operator")
        assert decided.returncode == 0, decided.stderr
        node.wait_at_rest(studies=2)
        archive = Archived.in_files(store_scp.received())
    assert sorted(dataset.Modality for dataset in archive.datasets) == ["SEG", "SR"]
    history = radnode(node, "history", phantom.study_instance_uid)
    assert {"study.released", "instance.quarantined"} <= set(history.stdout.split())
    invariants.check(node, sending.acknowledged, {"pacs": archive})
