"""Orthanc asks us to answer for what it has pushed, and hears on an association of ours what we say."""

from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import generate_uid

from pipelines.phantom import ChestPhantom
from tests.invariants import i5_every_state_is_explained_by_the_audit_log
from tests.nodes import Node
from tests.peers import Orthanc, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
PEER = """
[[peer]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {port}
"""


def wait_for_report(orthanc: Orthanc, transaction_uid: str) -> dict[str, Any]:
    """What Orthanc knows of a transaction, as soon as it was told."""

    def told() -> dict[str, Any] | None:
        found = orthanc.commitment(transaction_uid)
        return None if found["Status"] == "Pending" else found

    found: dict[str, Any] = wait_until(told, seconds=30, sentence=f"{transaction_uid} was not reported", pause=0.1)
    return found


def test_orthanc_hears_whether_what_it_pushed_is_safe(
    tmp_path: Path, study: list[Path], phantom: ChestPhantom, orthanc: Orthanc, database: str
) -> None:
    node = Node(tmp_path / "node", [], database=database, quiet_s=60.0, more=PEER.format(port=orthanc.port))
    orthanc.add_modality("radnode", "RADNODE", node.port)
    orthanc.upload(study)
    pushed = [(CT, str(dataset.SOPInstanceUID)) for dataset in phantom.datasets]
    with node.running("listen"):
        assert orthanc.push(phantom.study_instance_uid, "radnode")["FailedInstancesCount"] == 0
        safe = orthanc.ask_for_commitment("radnode", *pushed)
        told = wait_for_report(orthanc, safe)
        assert told["Status"] == "Success"
        assert {found["SOPInstanceUID"] for found in told["Success"]} == {uid for _, uid in pushed}
        unknown = (CT, generate_uid())
        told = wait_for_report(orthanc, orthanc.ask_for_commitment("radnode", pushed[0], unknown, (MR, pushed[1][1])))
        assert told["Status"] == "Failure"
        assert [found["SOPInstanceUID"] for found in told["Success"]] == [pushed[0][1]]
        assert {found["SOPInstanceUID"]: found["FailureReason"] for found in told["Failures"]} == {unknown[1]: 0x0112, pushed[1][1]: 0x0119}
        node.wait_for("commitment.reported", count=2)
    reported = [row for row in node.events(phantom.study_instance_uid) if row.event == "commitment.reported"]
    assert [row.detail["remote"] for row in reported] == ["pacs", "pacs"]
    assert reported[0].detail["transaction_uid"] == safe
    i5_every_state_is_explained_by_the_audit_log(node)
