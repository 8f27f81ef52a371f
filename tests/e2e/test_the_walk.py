"""A study goes in by C-STORE, a SEG and an SR come out at the PACS: the whole node with real peers around it.

Most tests share one node and one PACS, and send studies of their own; each ends with the invariants of all that was sent so far.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from pipelines.phantom import ChestPhantom, make_chest_ct, write_datasets
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


class Shared:
    """A running node with DCMTK as its PACS."""

    def __init__(self, node: Node, store_scp: StoreScp) -> None:
        self.node, self.store_scp = node, store_scp
        self._acknowledged: set[str] = set()

    def send(self, files: Collection[Path]) -> None:
        """Send files of which every one is taken, and wait until nothing is left to do."""
        studies = len(self.node.rows("study"))
        sending = store_scu(HOST, self.node.port, files, called="RADNODE")
        assert set(sending.statuses) == {0}
        self._acknowledged |= sending.acknowledged
        self.node.wait_at_rest(studies=studies + 1)

    def archive_of(self, study_instance_uid: str) -> Archived:
        """What the PACS holds of one study."""
        archive = Archived.in_files(self.store_scp.received())
        archive.datasets = [dataset for dataset in archive.datasets if study_instance_uid == dataset.StudyInstanceUID]
        return archive

    def events(self, study_instance_uid: str) -> list[str]:
        return [row.event for row in self.node.events(study_instance_uid)]

    def check(self) -> None:
        invariants.check(self.node, self._acknowledged, {"pacs": Archived.in_files(self.store_scp.received())})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("shared")
    with StoreScp(folder / "pacs") as store_scp:
        node = Node(folder / "node", [("pacs", store_scp.ae_title, store_scp.port)])
        with node.running():
            assert echo_scu(HOST, node.port, called="RADNODE")
            yield Shared(node, store_scp)


def make_study(name: str, folder: Path) -> tuple[ChestPhantom, list[Path]]:
    """A phantom of the test's own, and its files."""
    phantom = make_chest_ct(study_name=name)
    return phantom, write_datasets(phantom.datasets, folder)


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


def test_dcmtk_sends_and_receives(shared: Shared, tmp_path: Path) -> None:
    phantom, study = make_study("dcmtk", tmp_path)
    shared.send(study)
    archive = shared.archive_of(phantom.study_instance_uid)
    [segmentation], [report] = archive.of("SEG"), archive.of("SR")
    assert report.VerificationFlag == "UNVERIFIED"
    assert segmentation.SeriesDescription.startswith("AI ")
    assert segmentation.SeriesDescription.endswith("UNVERIFIED")
    check_the_mask(segmentation, phantom)
    shared.check()


def check_the_mask(segmentation: Dataset, phantom: ChestPhantom) -> None:
    """The mask at the PACS lies on the right voxels of the source."""
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


def test_a_late_instance_opens_a_revision_and_the_study_is_processed_again(shared: Shared, tmp_path: Path) -> None:
    phantom, study = make_study("late instance", tmp_path)
    shared.send(study[:-1])
    shared.send(study[-1:])
    archive = shared.archive_of(phantom.study_instance_uid)
    assert sorted(dataset.Modality for dataset in archive.datasets) == ["SEG", "SEG", "SR", "SR"]
    revisions = [row["revision"] for row in shared.node.rows("study") if row["study_instance_uid"] == phantom.study_instance_uid]
    assert revisions == [1, 2]
    shared.check()


def test_results_that_come_back_to_us_do_not_start_the_work_again(shared: Shared, tmp_path: Path) -> None:
    phantom, study = make_study("echo", tmp_path)
    before = set(shared.store_scp.received())
    shared.send(study)
    shared.send(sorted(set(shared.store_scp.received()) - before))
    events = shared.events(phantom.study_instance_uid)
    assert events.count("study.processed") == 2
    assert events.count("job.queued") == 1
    assert events.count("job.unchanged") == 1
    shared.check()


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


def test_a_study_that_fits_nothing_says_why(shared: Shared, test_data: Path) -> None:
    files = sorted((test_data / "mr_brain_siemens_sag").glob("*"))
    uid = str(dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
    shared.send(files)
    [row] = [row for row in shared.node.events(uid) if row.event == "study.not_applicable"]
    assert row.code == "NO_USABLE_SERIES.modality"
    assert list(row.detail["series"].values())
    assert shared.archive_of(uid).datasets == []
    shared.check()
