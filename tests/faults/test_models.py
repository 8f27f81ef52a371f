"""A model that hangs, one that segfaults, one that asks for more memory than there is, one that leaks: each ends clearly."""

from io import StringIO
from pathlib import Path

import pytest
from pydicom import dcmread
from rich.console import Console

from node.config import read_config
from node.show import print_status
from pipelines.phantom import make_chest_ct, write_datasets
from tests import invariants
from tests.faults.moods import write_moods
from tests.invariants import Archived
from tests.nodes import Node
from tests.peers import HOST, StoreScp, store_scu

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

#: What each may take, in seconds, and what becomes of its job.
MOODS = {"hangs": 3, "segfaults": 60, "greedy": 60, "leaky": 60}
ENDS = {
    "hangs": ("TIMED_OUT", "longer than 3 s"),
    "segfaults": ("DEVICE_LOST.crashed", "SIGSEGV"),
    "greedy": ("OUT_OF_MEMORY", "Tried: as configured, one window at a time."),
}


def node_of(folder: Path, destination: StoreScp, work: str, moods: dict[str, int] = MOODS) -> Node:
    """A node with the moody pipelines and none of ours."""
    write_moods(folder, moods)
    node = Node(folder, [("pacs", destination.ae_title, destination.port)])
    text = node.config_path.read_text()
    for kind in ("pipelines", "models"):
        text = text.replace(f'= "{Path(__file__).parents[2]}/{kind}"', f'= "{folder}/{kind}"')
    text = text.replace('enabled = ["ct_lungs"]', f"enabled = {list(moods)}").replace('device = "cpu"', f'device = "cpu"\n{work}')
    node.config_path.write_text(text)
    node.config = read_config(node.config_path)
    return node


def send(node: Node, mood: str, number: int, folder: Path) -> set[str]:
    """Send one small study for a mood."""
    phantom = make_chest_ct(study_name=f"{mood} {number}", shape=(16, 32, 32), spacing_mm=(12.0, 10.0, 10.0))
    for dataset in phantom.datasets:
        dataset.SeriesDescription = mood
    sending = store_scu(HOST, node.port, write_datasets(phantom.datasets, folder / f"{mood}-{number}"), called="RADNODE")
    assert set(sending.statuses) == {0}
    return set(sending.acknowledged)


def test_a_model_that_misbehaves_ends_in_a_clear_outcome_and_the_next_study_runs(tmp_path: Path, store_scp: StoreScp) -> None:
    limits = "attempts = 1\nchild_bytes = 4_000_000_000\ngrowth_bytes = 100_000_000"
    node = node_of(tmp_path / "node", store_scp, limits)
    acknowledged: set[str] = set()
    with node.running():
        for mood in ("hangs", "segfaults", "greedy"):
            acknowledged |= send(node, mood, 1, tmp_path)
        for number in range(3):
            acknowledged |= send(node, "leaky", number, tmp_path)
        node.wait_at_rest(studies=6, seconds=240)
    work = {row["pipeline"]: row for row in node.rows("work") if row["kind"] == "infer" and row["pipeline"] != "leaky"}
    for mood, (code, sentence) in ENDS.items():
        assert (work[mood]["state"], work[mood]["code"]) == ("failed", code)
        assert sentence in work[mood]["reason"]
    done = [row.detail for row in node.events() if row.event == "job.finished"]
    assert [(detail["rung"], detail["device"]) for detail in done] == [("one window at a time", "cpu")] * 3
    unloaded = [row.detail["why"] for row in node.events() if row.event == "model.unloaded"]
    assert sorted(set(unloaded)) == ["DEVICE_LOST.crashed", "OUT_OF_MEMORY", "TIMED_OUT", "grown"]
    assert all(detail["memory"]["peak"]["host"] >= detail["memory"]["held"]["host"] > 0 for detail in done)
    archive = Archived.in_files(store_scp.received())
    assert sorted(dataset.Modality for dataset in archive.datasets) == ["SEG"] * 3 + ["SR"] * 3
    assert all(dcmread(path).PatientID for path in store_scp.received())
    invariants.check(node, acknowledged, {"pacs": archive})


def test_a_poison_study_is_dead_after_three_crashes_by_the_shipped_defaults_and_the_next_study_runs(
    tmp_path: Path, store_scp: StoreScp
) -> None:
    node = node_of(tmp_path / "node", store_scp, "", {"deadly": 60, "leaky": 60})
    node.config_path.write_text(node.config_path.read_text().replace("crashes = 20\n", "", 1))
    work, shipped = read_config(node.config_path).work, read_config(Path(__file__).parents[2] / "config.toml").work
    assert (work.crashes, work.attempts) == (shipped.crashes, shipped.attempts) == (3, 4)
    with node.running():
        acknowledged = set().union(*(send(node, mood, 1, tmp_path) for mood in ("deadly", "leaky")))
        node.wait_at_rest(studies=2, seconds=240)
    works = {row["pipeline"]: row for row in node.rows("work") if row["kind"] == "infer"}
    assert (works["deadly"]["state"], works["deadly"]["code"]) == ("failed", "POISON.crashes")
    assert works["deadly"]["reason"] == "The work took its worker down 3 times; look at its input, then replay."
    assert works["leaky"]["state"] == "done"
    of = {mood: [row.event for row in node.events() if row.work_id == works[mood]["id"]] for mood in works}
    assert of["deadly"] == ["job.queued", *["job.claimed", "job.rescued"] * 3, "job.claimed", "job.failed"]
    archive = Archived.in_files(store_scp.received())
    assert sorted(dataset.Modality for dataset in archive.datasets) == ["SEG", "SR"]
    invariants.check(node, acknowledged, {"pacs": archive})


def test_a_device_that_computes_wrongly_takes_no_work_and_says_so(tmp_path: Path, study: list[Path], store_scp: StoreScp) -> None:
    node = Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)])
    # No device computes the same in reduced precision as in full: allowed nothing, each is a bad one.
    node.config_path.write_text(node.config_path.read_text().replace('device = "cpu"', 'device = "cpu"\nmost_difference = 0.0'))
    with node.running():
        assert set(store_scu(HOST, node.port, study, called="RADNODE").statuses) == {0}
        failed = node.wait_for("device.failed")
        node.wait_for("job.queued")
    assert failed.code == "DEVICE_LOST.reduced"
    assert "torch 2." in failed.detail["sentence"]
    assert [row["state"] for row in node.rows("work")] == ["queued"]
    assert [row.event for row in node.events() if row.event == "job.claimed"] == []
    assert store_scp.received() == []
    said = Console(file=StringIO(), width=200)
    print_status(node.config, said)
    assert "out of service" in said.file.getvalue()
