"""`work.ahead`: the next job is claimed, and its files are checked, while the one before it is computed."""

from pathlib import Path

import pytest

from pipelines.phantom import make_chest_ct, write_datasets
from tests.invariants import Archived, check
from tests.nodes import Node
from tests.peers import HOST, StoreScp, store_scu

pytestmark = [pytest.mark.e2e]


@pytest.mark.parametrize(("ahead", "order"), [(0, "claimed finished claimed finished"), (1, "claimed claimed finished finished")])
def test_a_job_is_made_ready_while_another_is_computed(tmp_path: Path, store_scp: StoreScp, ahead: int, order: str) -> None:
    node = Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)], work=f"ahead = {ahead}")
    acknowledged: set[str] = set()
    with node.running("listen", "deliver"):
        for number in range(2):
            study = write_datasets(make_chest_ct(study_name=f"ahead {number}").datasets, tmp_path / f"study-{number}")
            acknowledged |= store_scu(HOST, node.port, study).acknowledged
        node.wait_for("job.queued", count=2)
        with node.running("work"):
            node.wait_at_rest(studies=2)
    events = [row for row in node.events() if row.event in ("job.claimed", "job.finished")]
    assert " ".join(row.event.removeprefix("job.") for row in events) == order
    waited = [row.detail["waited_s"] for row in events if row.event == "job.finished"]
    assert (waited[1] > waited[0] + 0.1) == bool(ahead), "it waits for the device, and for nothing else"
    check(node, acknowledged, {"pacs": Archived.in_files(store_scp.received())})
