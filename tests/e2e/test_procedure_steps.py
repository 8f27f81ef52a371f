"""A modality discontinues its step while its study is worked on: nothing goes out until an operator wants it."""

from io import StringIO
from pathlib import Path

import pytest
from pynetdicom import AE
from rich.console import Console

from node.app.replay import replay
from node.dimse.mpps import MPPS
from node.show import print_history
from pipelines.phantom import ChestPhantom
from tests import invariants
from tests.integration.dimse.modality import IMPLICIT, begun, change, create, ended, reason
from tests.invariants import Archived
from tests.nodes import Node
from tests.peers import HOST, StoreScp, store_scu

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def test_a_discontinued_study_is_taken_from_its_worker_and_waits_for_an_operator(
    tmp_path: Path, study: list[Path], phantom: ChestPhantom, store_scp: StoreScp
) -> None:
    node = Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)])
    modality = AE("CT1")
    modality.add_requested_context(MPPS, IMPLICIT)
    with node.running():
        sending = store_scu(HOST, node.port, study, called="RADNODE")
        claimed = node.wait_for("job.claimed")
        # Had it spoken before, the study would wait for its step.
        association = modality.associate(HOST, node.port, ae_title="RADNODE")
        assert create(association, attributes=begun(phantom.study_instance_uid, PatientName="Phantom^Of")) == 0
        stop = ended("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=reason())
        assert change(association, stop).Status == 0
        association.release()
        refused = node.wait_for("job.refused")
        assert (refused.work_id, refused.code) == (claimed.work_id, "DISCONTINUED.by_modality")
        node.wait_for("job.fenced")
        node.wait_at_rest()
    assert store_scp.received() == []
    assert node.rows("delivery") == []
    invariants.check(node, sending.acknowledged, {"pacs": Archived([])})
    history = StringIO()
    print_history(node.config, Console(file=history, width=400), phantom.study_instance_uid)
    for said in ("CT by CTROOM1, told by CT1", "Incorrect worklist entry selected (110514 DCM)", "DISCONTINUED.by_modality"):
        assert said in history.getvalue()
    replay(node.config, str(refused.work_id), "admin")
    assert [row["state"] for row in node.rows("work")] == ["queued"]
