"""One node runs every kind of result side by side: boxes, a mask from four inputs, scores. Each study comes back as what it is."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from node.config import read_config
from node.encode.content import codes_of, name_of, number_of, values_of, walk
from tests import invariants
from tests.heads import make_head, write_head
from tests.invariants import Archived
from tests.nodes import Node
from tests.nodules import HELD_OUT, as_series, is_hit, make_case
from tests.peers import HOST, StoreScp, store_scu
from tests.phantoms import write_series
from tests.radiographs import HEART, as_dicom, make_radiograph

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PIPELINES = ["ct_lung_nodules", "mr_brain_lesion", "cxr_findings"]
#: A ring with oedema, that the weights were not trained on.
HEAD = 9103


class Sent:
    """A running node with every demonstration, and what was sent to it."""

    def __init__(self, node: Node, pacs: StoreScp) -> None:
        self.node, self.pacs = node, pacs
        self.acknowledged: set[str] = set()

    def results_of(self, files: list[Path]) -> list[Dataset]:
        """Send a study; what came of it at the PACS."""
        before, studies = set(self.pacs.received()), len(self.node.rows("study"))
        sending = store_scu(HOST, self.node.port, files, called="RADNODE")
        assert set(sending.statuses) == {0}
        self.acknowledged |= sending.acknowledged
        self.node.wait_at_rest(studies=studies + 1, seconds=200)
        invariants.check(self.node, self.acknowledged, {"pacs": Archived.in_files(self.pacs.received())})
        results = Archived.in_files(sorted(set(self.pacs.received()) - before)).datasets
        assert all(" DEMO " in dataset.SeriesDescription and dataset.SeriesDescription.endswith("UNVERIFIED") for dataset in results)
        return sorted(results, key=lambda dataset: str(dataset.Modality))


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    folder = tmp_path_factory.mktemp("demonstrations")
    with StoreScp(folder / "pacs") as pacs:
        node = Node(folder / "node", [("pacs", pacs.ae_title, pacs.port)])
        node.config_path.write_text(node.config_path.read_text().replace('enabled = ["ct_lungs"]', f"enabled = {PIPELINES}"))
        node.config = read_config(node.config_path)
        with node.running():
            yield Sent(node, pacs)


def test_candidates_of_a_detector_are_drawn_where_the_nodules_are(sent: Sent, tmp_path: Path) -> None:
    case = make_case(HELD_OUT)
    datasets = as_series(case)
    [report] = sent.results_of(list(write_series(datasets, tmp_path).paths))
    assert report.Modality == "SR"
    by_uid = {str(dataset.SOPInstanceUID): dataset for dataset in datasets}
    regions = [item for item in walk(report) if item.ValueType == "SCOORD"]
    assert len(regions) >= len(case.nodules) / 2
    middles = [middle_of(region, by_uid) for region in regions]
    found = [any(is_hit(case, nodule, middle) for middle in middles) for nodule in case.nodules]
    assert sum(found) >= 3
    assert sum(found) / len(found) >= 0.6


def middle_of(region: Dataset, by_uid: dict[str, Dataset]) -> np.ndarray:
    """The middle of a polygon on an axial slice, in LPS millimetres."""
    source = by_uid[str(region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)]
    # Column and row, of which the middle of the first pixel is 0.5 (PS3.3 C.18.6.1.1).
    column, row = np.asarray(region.GraphicData, dtype=float).reshape(-1, 2)[:4].mean(axis=0) - 0.5
    down, across = (float(spacing) for spacing in source.PixelSpacing)
    return np.asarray(source.ImagePositionPatient, dtype=float) + np.array([column * across, row * down, 0.0])


def test_four_contrasts_become_one_segmentation_on_the_first(sent: Sent, tmp_path: Path) -> None:
    case = make_head(HEAD, slice_mm=4.0, shape=(84, 108, 84), step_mm=2.0)
    inputs = write_head(case, tmp_path)
    segmentation, report = sent.results_of([path for series in reversed(inputs) for path in series.paths])
    assert (segmentation.Modality, report.Modality) == ("SEG", "SR")
    # All four are named as what it came from; its frames lie on the first.
    assert [item.SeriesInstanceUID for item in segmentation.ReferencedSeriesSequence] == [series.series_instance_uid for series in inputs]
    assert {item.SegmentLabel for item in segmentation.SegmentSequence} == {"Lesion core", "T2/FLAIR hyperintensity"}
    volumes = [number_of(item) for item in walk(report) if item.ValueType == "NUM" and name_of(item) == "118565006"]
    truth_ml = np.count_nonzero((case.truth == 1) | (case.truth == 2)) * abs(np.linalg.det(case.affine[:3, :3])) / 1000
    assert sum(volumes) == pytest.approx(truth_ml, rel=0.35)


def test_scores_of_a_radiograph_are_told_in_a_report(sent: Sent, tmp_path: Path) -> None:
    [report] = sent.results_of(list(write_series([as_dicom(make_radiograph(HEART).image)], tmp_path).paths))
    assert report.Modality == "SR"
    groups = [item.ContentSequence for item in walk(report) if name_of(item) == "125007"]
    names = [values_of(group, "112039", "TextValue")[0] for group in groups]
    assert sorted(names) == ["Cardiomegaly", "Pleural effusion"]
    assert codes_of(report.ContentSequence, "121058")
    scores = dict(zip(names, (number_of(item) for group in groups for item in group if item.ValueType == "NUM"), strict=True))
    assert scores["Cardiomegaly"] > 0.5 > scores["Pleural effusion"]
