"""Real series from real scanners: what is taken gives true numbers, what is not taken says why."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pipelines.catalog import Entry, load_entry
from pipelines.errors import CodedError, IdentityConflict, ImplausibleResult, QualityError
from pipelines.facts import facts_of
from pipelines.pixels import read_slice
from pipelines.quality import check_quality, outline
from pipelines.result import Inference, SeriesFiles
from pipelines.runner import Runner
from pipelines.selection import select
from pipelines.series import read_headers, read_volume
from pipelines.spec import Quality, Span

REPOSITORY = Path(__file__).parents[3]

# Old scanners wrote UIDs with leading zeros and values outside of their VR; pydicom says so at each.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.fixture(scope="module")
def entry() -> Entry:
    return load_entry(REPOSITORY / "pipelines" / "ct_lungs" / "pipeline.toml", REPOSITORY / "models")


def files_in(folder: Path) -> SeriesFiles:
    paths = tuple(sorted(path for path in folder.rglob("*") if path.is_file()))
    return SeriesFiles(series_instance_uid=str(read_headers(paths[:1])[0].get("SeriesInstanceUID", "")), paths=paths)


@pytest.fixture(scope="module")
def chest(entry: Entry, test_data: Path) -> Inference:
    return Runner(entry, "cpu").run(files_in(test_data / "ct_chest_lidc0001" / "ct"))


def test_the_lungs_of_a_real_chest_have_true_volumes(chest: Inference) -> None:
    right, left = chest.findings
    assert right.measurements[0].value == pytest.approx(1960, abs=60)
    assert left.measurements[0].value == pytest.approx(1767, abs=60)
    for finding in (right, left):
        assert -860 < finding.measurements[1].value < -800
        assert 1 < finding.measurements[2].value < 6


def test_a_real_chest_is_in_hounsfield_units_and_stays_so_in_no_other(chest: Inference) -> None:
    check_quality(Quality(), chest.volume)
    body = outline(chest.volume.array, chest.volume.grid)
    assert (body.area_cm2, body.lung_percent) == (pytest.approx(584, rel=0.02), pytest.approx(24, abs=2))
    for wrong in (chest.volume.array + 1024, chest.volume.array - 1024, (chest.volume.array + 1024) * 0.5 - 1024):
        with pytest.raises(QualityError):
            check_quality(Quality(), replace(chest.volume, array=wrong))


def test_the_right_lung_of_a_real_chest_is_on_the_right(chest: Inference) -> None:
    affine = chest.output.grid.affine
    x = {label: (affine @ [*np.argwhere(chest.output.array == label).mean(axis=0), 1.0])[0] for label in (1, 2)}
    # +x is the patient's left (PS3.3 C.7.6.2.1.1); this patient lies feet first, which changes nothing.
    assert x[1] < -40 < 40 < x[2]


def test_the_nodule_that_radiologists_marked_lies_in_a_lung(chest: Inference, test_data: Path) -> None:
    (path,) = (path for path in (test_data / "ct_chest_lidc0001" / "seg").rglob("*") if path.is_file())
    segmentation = dcmread(path)
    mask = segmentation.pixel_array.astype(bool)
    inside = total = 0
    for frame, item in zip(mask, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.asarray(item.PlanePositionSequence[0].ImagePositionPatient, float)
        index = round(float((np.linalg.inv(chest.output.grid.affine) @ [*position, 1.0])[0]))
        inside += np.count_nonzero(chest.output.array[index][frame])
        total += np.count_nonzero(frame)
    assert inside / total > 0.99


def test_a_belly_without_patient_is_refused(entry: Entry, test_data: Path) -> None:
    with pytest.raises(IdentityConflict) as refusal:
        Runner(entry, "cpu").run(files_in(test_data / "ct_body_j2k_totalseg" / "ct"))
    assert refusal.value.reason == "missing"


@pytest.fixture
def belly(test_data: Path, tmp_path: Path) -> SeriesFiles:
    """The belly with a made-up identity, so that everything after it is reached; still JPEG 2000."""
    for number, path in enumerate(files_in(test_data / "ct_body_j2k_totalseg" / "ct").paths):
        dataset = dcmread(path)
        dataset.SOPInstanceUID = f"2.25.3.{number}"
        dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "BELLY", "2.25.1", "2.25.2"
        dataset.save_as(tmp_path / path.name)
    return files_in(tmp_path)


def test_a_belly_too_short_for_a_chest_is_refused(entry: Entry, belly: SeriesFiles) -> None:
    with pytest.raises(CodedError) as refusal:
        Runner(entry, "cpu").run(belly)
    assert refusal.value.full_code == "GEOMETRY.coverage"


def test_a_belly_of_any_length_has_no_lungs(entry: Entry, belly: SeriesFiles) -> None:
    limits = entry.pipeline.limits.model_copy(update={"coverage_mm": Span(min=1, max=2000)})
    patient = Entry(pipeline=entry.pipeline.model_copy(update={"limits": limits}), model=entry.model, bundle=entry.bundle)
    with pytest.raises(ImplausibleResult):
        Runner(patient, "cpu").run(belly)


@pytest.mark.parametrize(
    ("folder", "code"),
    [
        ("ct_4d_19_timepoints", "IDENTITY_CONFLICT.mixed"),
        ("duplicate_and_missing", "GEOMETRY.duplicate_position"),
        ("gantrytilting", "GEOMETRY.tilt"),
        ("notavolume", "GEOMETRY.too_few"),
        ("slicecount", "GEOMETRY.too_few"),
        ("sliceincrement", "GEOMETRY.gap"),
        ("sliceorientation", "GEOMETRY.mixed_orientation"),
    ],
)
def test_odd_series_are_refused_by_their_oddity(folder: str, code: str, test_data: Path) -> None:
    with pytest.raises(CodedError) as refusal:
        read_volume(files_in(test_data / "odd" / "geometry" / folder))
    assert refusal.value.full_code == code


@pytest.mark.parametrize(
    ("folder", "shape", "spacing_mm"),
    [("mr_brain_ge_axial", (20, 256, 256), 7.0), ("mr_brain_siemens_sag", (24, 256, 256), 4.8)],
)
def test_jitter_of_a_real_scanner_is_accepted(folder: str, shape: tuple[int, int, int], spacing_mm: float, test_data: Path) -> None:
    grid = read_volume(files_in(test_data / folder)).grid
    assert grid.shape == shape
    assert grid.spacing_mm[0] == pytest.approx(spacing_mm, rel=0.001)


def test_one_slice_in_every_decodable_syntax_has_the_same_values(test_data: Path) -> None:
    folder = test_data / "transfer_syntaxes" / "same_ct_slice"
    lossless = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"}
    lossless |= {f"1.2.840.10008.1.2.4.{number}" for number in (57, 70, 80, 90)}
    slices = {}
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        header = dcmread(path, stop_before_pixels=True)
        if str(header.file_meta.TransferSyntaxUID) in lossless:
            slices[str(header.file_meta.TransferSyntaxUID)] = out = np.empty((header.Rows, header.Columns), np.float32)
            read_slice(path, out)
    assert set(slices) == lossless
    first = slices["1.2.840.10008.1.2.1"]
    assert {syntax for syntax, values in slices.items() if not np.array_equal(values, first)} == set()


def test_a_real_study_of_scouts_and_priors_says_why_nothing_fits(entry: Entry, test_data: Path) -> None:
    series: dict[str, list] = {}
    for path in sorted((test_data / "multi_study_tiny").rglob("*")):
        if path.is_file():
            header = dcmread(path, stop_before_pixels=True)
            series.setdefault(str(header.SeriesInstanceUID), []).append(header)
    selection = select(entry.pipeline.inputs[0], map(facts_of, series.values()))
    assert selection.chosen == ()
    assert set(selection.reasons) == set(series)


@pytest.mark.parametrize(
    ("path", "shape", "spacing_mm"),
    [
        ("mr_brain_enhanced_nema_tumour/BRTUM003.dcm", (24, 256, 256), 6.0),
        ("mr_vendors_small/siemens_xa10_enhanced/6_1.dcm", (6, 64, 64), 2.4),
        ("mr_vendors_small/siemens_xa30_enhanced/adc_enhanced.dcm", (39, 72, 72), 3.0),
    ],
)
def test_enhanced_images_of_real_scanners_are_volumes(path: str, shape: tuple[int, int, int], spacing_mm: float, test_data: Path) -> None:
    dataset = dcmread(test_data / path)
    volume = read_volume(SeriesFiles(series_instance_uid=dataset.SeriesInstanceUID, paths=(test_data / path,)))
    assert volume.grid.shape == shape
    assert volume.grid.spacing_mm[0] == pytest.approx(spacing_mm, rel=0.001)
    # by its own groups, each frame lies where its voxels were put
    for place, number in enumerate(volume.grid.frame_numbers):
        groups = dataset.PerFrameFunctionalGroupsSequence[number - 1]
        position = np.asarray(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        np.testing.assert_allclose((volume.grid.affine @ [place, 0, 0, 1])[:3], position, atol=0.01)
        np.testing.assert_array_equal(volume.array[place], dataset.pixel_array[number - 1])
