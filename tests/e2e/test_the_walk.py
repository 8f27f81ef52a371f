"""A study goes in by C-STORE, a SEG and an SR come out at the PACS: the whole node with real peers around it."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pipelines.phantom import ChestPhantom
from tests import invariants
from tests.invariants import Archived
from tests.nodes import Node
from tests.peers import HOST, Orthanc, StoreScp, echo_scu, store_scu

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

#: The steps that a study must leave in the audit log, in this order.
WALK = [
    "association.accepted",
    "instance.received",
    "study.opened",
    "association.released",
    "study.completed",
    "job.queued",
    "job.claimed",
    "delivery.owed",
    "job.finished",
    "study.processed",
    "parcel.claimed",
    "delivery.started",
    "delivery.sent",
    "parcel.finished",
]


def first_occurrences(node: Node, uid: str) -> list[str]:
    return list(dict.fromkeys(row.event for row in node.events(uid)))


def test_orthanc_pushes_a_study_and_receives_its_results(
    tmp_path: Path, study: list[Path], phantom: ChestPhantom, orthanc: Orthanc, database: str
) -> None:
    node = Node(tmp_path / "node", [("pacs", orthanc.ae_title, orthanc.port)], database=database)
    orthanc.add_modality("radnode", "RADNODE", node.port)
    orthanc.upload(study)
    with node.running():
        pushed = orthanc.push(phantom.study_instance_uid, "radnode")
        assert (pushed["InstancesCount"], pushed["FailedInstancesCount"]) == (len(study), 0)
        node.wait_at_rest()
    results = [found["SOPInstanceUID"] for modality in ("SEG", "SR") for found in orthanc.instances(Modality=modality)]
    archive = Archived(orthanc.file(uid) for uid in results)
    assert sorted(dataset.Modality for dataset in archive.datasets) == ["SEG", "SR"]
    invariants.check(node, [dataset.SOPInstanceUID for dataset in phantom.datasets], {"pacs": archive})
    walked = first_occurrences(node, phantom.study_instance_uid)
    assert [step for step in walked if step in WALK] == WALK


def test_dcmtk_sends_and_receives(tmp_path: Path, study: list[Path], phantom: ChestPhantom, store_scp: StoreScp) -> None:
    node = Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)])
    with node.running():
        assert echo_scu(HOST, node.port, called="RADNODE")
        sending = store_scu(HOST, node.port, study, called="RADNODE")
        assert sending.statuses == [0] * len(study) or set(sending.statuses) == {0}
        node.wait_at_rest()
    archive = Archived.in_files(store_scp.received())
    invariants.check(node, sending.acknowledged, {"pacs": archive})
    [segmentation], [report] = archive.of("SEG"), archive.of("SR")
    assert report.VerificationFlag == "UNVERIFIED"
    assert segmentation.SeriesDescription.startswith("AI ")
    assert segmentation.SeriesDescription.endswith("UNVERIFIED")


def test_the_mask_at_the_pacs_lies_on_the_right_voxels_of_the_source(
    tmp_path: Path, study: list[Path], phantom: ChestPhantom, store_scp: StoreScp
) -> None:
    node = Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)])
    with node.running():
        assert set(store_scu(HOST, node.port, study, called="RADNODE").statuses) == {0}
        node.wait_at_rest()
    [segmentation] = Archived.in_files(store_scp.received()).of("SEG")
    place = {str(dataset.SOPInstanceUID): index for index, dataset in enumerate(phantom.datasets)}
    stored = {name: np.zeros(phantom.labels.shape, dtype=bool) for name in ("Right lung", "Left lung")}
    frames = segmentation.pixel_array.reshape(-1, *phantom.labels.shape[1:])
    names = {item.SegmentNumber: item.SegmentLabel for item in segmentation.SegmentSequence}
    for frame, groups in zip(frames, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        source = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        stored[names[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber]][place[source]] = frame > 0
    for value, name in ((1, "Right lung"), (2, "Left lung")):
        truth = phantom.labels == value
        dice = 2 * (stored[name] & truth).sum() / (stored[name].sum() + truth.sum())
        assert dice > 0.9, f"{name}: Dice {dice:.3f} against the phantom's truth"


def test_a_late_instance_opens_a_revision_and_the_study_is_processed_again(
    tmp_path: Path, study: list[Path], phantom: ChestPhantom, store_scp: StoreScp
) -> None:
    node = Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)])
    with node.running():
        assert set(store_scu(HOST, node.port, study[:-1], called="RADNODE").statuses) == {0}
        node.wait_at_rest()
        assert set(store_scu(HOST, node.port, study[-1:], called="RADNODE").statuses) == {0}
        node.wait_for("study.processed", count=2)
        node.wait_at_rest(studies=2)
    archive = Archived.in_files(store_scp.received())
    assert sorted(dataset.Modality for dataset in archive.datasets) == ["SEG", "SEG", "SR", "SR"]
    assert [row["revision"] for row in node.rows("study")] == [1, 2]
    invariants.check(node, [dataset.SOPInstanceUID for dataset in phantom.datasets], {"pacs": archive})


def test_results_that_come_back_to_us_do_not_start_the_work_again(
    tmp_path: Path, study: list[Path], phantom: ChestPhantom, store_scp: StoreScp
) -> None:
    node = Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)])
    with node.running():
        assert set(store_scu(HOST, node.port, study, called="RADNODE").statuses) == {0}
        node.wait_at_rest()
        assert set(store_scu(HOST, node.port, store_scp.received(), called="RADNODE").statuses) == {0}
        node.wait_for("study.processed", count=2)
        node.wait_at_rest(studies=2)
    assert [row.event for row in node.events()].count("job.queued") == 1
    assert [row.event for row in node.events()].count("job.unchanged") == 1
    invariants.check(node, [dataset.SOPInstanceUID for dataset in phantom.datasets], {"pacs": Archived.in_files(store_scp.received())})


def test_two_destinations_get_the_same_bytes_and_one_that_is_away_gets_them_later(tmp_path: Path, study: list[Path]) -> None:
    with StoreScp(tmp_path / "first", ae_title="FIRST") as first:
        second = StoreScp(tmp_path / "second", ae_title="SECOND")
        node = Node(tmp_path / "node", [("first", "FIRST", first.port), ("second", "SECOND", second.port)])
        with node.running():
            sending = store_scu(HOST, node.port, study, called="RADNODE")
            assert set(sending.statuses) == {0}
            node.wait_for("parcel.finished")
            node.wait_for("parcel.retried")
            with second:
                node.wait_at_rest()
        archives = {"first": Archived.in_files(first.received()), "second": Archived.in_files(second.received())}
        invariants.check(node, sending.acknowledged, archives)
    assert len(archives["first"].datasets) == 2
    contents = [[dcmread(path).to_json() for path in peer.received()] for peer in (first, second)]
    assert contents[0] == contents[1]


def test_a_study_that_fits_nothing_says_why(tmp_path: Path, test_data: Path, store_scp: StoreScp) -> None:
    node = Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)])
    files = sorted((test_data / "mr_brain_siemens_sag").glob("*"))
    with node.running():
        sending = store_scu(HOST, node.port, files, called="RADNODE")
        assert sending.acknowledged
        node.wait_at_rest()
    row = node.wait_for("study.not_applicable")
    assert row.code == "NO_USABLE_SERIES.modality"
    assert list(row.detail["series"].values())
    assert not store_scp.received()
    invariants.check(node, sending.acknowledged, {"pacs": Archived([])})
