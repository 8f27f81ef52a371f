"""A node with three titles: each has its own callers, its own rules, and its own pipelines."""

from pathlib import Path

import pytest

from node.config import read_config
from pipelines.phantom import ChestPhantom, make_chest_ct, write_datasets
from tests import invariants
from tests.invariants import Archived
from tests.nodes import Node
from tests.peers import HOST, Orthanc, store_scu

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

TITLES = """
[[called]]
ae_title = "CHEST"
calling_ae = ["CT1"]
quiet_s = 0.3
ask = "pacs"
[[called]]
ae_title = "KEEP"
pipelines = []
quiet_s = 0.3
"""


def test_what_is_sent_to_a_title_is_judged_by_its_rules(tmp_path: Path, study: list[Path], phantom: ChestPhantom, orthanc: Orthanc) -> None:
    node = Node(tmp_path / "node", [("pacs", orthanc.ae_title, orthanc.port)], quiet_s=3600)
    node.config_path.write_text(node.config_path.read_text() + TITLES)
    node.config = read_config(node.config_path)
    (tmp_path / "other").mkdir()
    other = write_datasets(make_chest_ct(shape=(4, 16, 16), study_name="kept").datasets, tmp_path / "other")
    orthanc.upload(study)
    with node.running():
        assert not store_scu(HOST, node.port, study[:1], "CT2", "CHEST").accepted
        assert node.wait_for("association.rejected").detail["reason"] == "calling AE title not allowed to call this title"
        first = store_scu(HOST, node.port, study[:-5], "CT1", "CHEST")
        awaited = node.wait_for("study.awaited")
        assert {"kind": "reported", "sentence": f"pacs reports {len(study)} instances, {len(study) - 5} are held."} in awaited.detail[
            "reasons"
        ]
        kept = store_scu(HOST, node.port, other, "CT2", "KEEP")
        assert node.wait_for("study.processed").study_instance_uid != phantom.study_instance_uid, "it waits for nobody"
        rest = store_scu(HOST, node.port, study[-5:], "CT1", "CHEST")
        node.wait_at_rest(studies=2)
    (completed,) = [row for row in node.events(phantom.study_instance_uid) if row.event == "study.completed"]
    assert (completed.detail["rule"], completed.detail["called_ae"]) == ("quiet", ["CHEST"])
    assert completed.detail["asked"][0]["count"]["instances"] == len(study)
    assert {row["called_ae"] for row in node.rows("instance")} == {"CHEST", "KEEP"}
    results = [found["SOPInstanceUID"] for modality in ("SEG", "SR") for found in orthanc.instances(Modality=modality)]
    archive = Archived(orthanc.file(uid) for uid in results)
    assert sorted(dataset.Modality for dataset in archive.datasets) == ["SEG", "SR"]
    invariants.check(node, first.acknowledged | kept.acknowledged | rest.acknowledged, {"pacs": archive})
