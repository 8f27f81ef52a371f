"""The shipped pipeline finds the phantom's lungs, whichever way the scanner looked at them."""

import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.catalog import Entry, load_entry
from pipelines.errors import DigestMismatch, GeometryError, ImplausibleResult, QualityError
from pipelines.facts import survey
from pipelines.phantom import LEFT_LUNG, RIGHT_LUNG, make_chest_ct
from pipelines.runner import Runner
from pipelines.selection import why_not
from pipelines.series import read_volume
from tests.phantoms import PRONE, SEEN_FROM_ABOVE, multiframe, oblique, turned, write_series

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def entry() -> Entry:
    return load_entry(REPOSITORY / "pipelines" / "ct_lungs" / "pipeline.toml", REPOSITORY / "models")


@pytest.fixture(scope="module")
def runner(entry: Entry) -> Runner:
    return Runner(entry, "cpu")


def dice(found: NDArray[np.uint8], truth: NDArray[np.uint8], label: int) -> float:
    a, b = found == label, truth == label
    return 2.0 * float(np.count_nonzero(a & b)) / float(np.count_nonzero(a) + np.count_nonzero(b))


VIEWS = {
    "plain": {},
    "another patient": {"seed": 5},
    "oblique": {"orientation": oblique()},
    "askew": {"orientation": turned()},
    "prone": {"orientation": PRONE},
    "from head to feet": {"orientation": SEEN_FROM_ABOVE},
    "oblong pixels and thin slices": {"spacing_mm": (2.5, 1.2, 1.6), "shape": (116, 160, 150)},
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_each_lung_is_found_on_its_own_side(runner: Runner, view: dict[str, object], tmp_path: Path) -> None:
    phantom = make_chest_ct(**view)
    inference = runner.run(write_series(phantom.datasets, tmp_path))
    assert dice(inference.output.array, phantom.labels, RIGHT_LUNG) > 0.98
    assert dice(inference.output.array, phantom.labels, LEFT_LUNG) > 0.98


def test_one_enhanced_instance_is_taken_and_found_as_the_classic_ones_are(runner: Runner, tmp_path: Path) -> None:
    phantom = make_chest_ct(orientation=oblique())
    image = multiframe(phantom.datasets, np.random.default_rng(5).permutation(60))
    (facts,) = survey([image])
    assert why_not(runner.entry.pipeline.inputs[0], facts) is None
    inference = runner.run(write_series([image], tmp_path))
    assert dice(inference.output.array, phantom.labels, RIGHT_LUNG) > 0.98
    assert dice(inference.output.array, phantom.labels, LEFT_LUNG) > 0.98


def test_feet_first_changes_nothing_but_the_word(runner: Runner, tmp_path: Path) -> None:
    phantom = make_chest_ct(orientation=SEEN_FROM_ABOVE)
    for dataset in phantom.datasets:
        dataset.PatientPosition = "FFS"
    inference = runner.run(write_series(phantom.datasets, tmp_path))
    assert dice(inference.output.array, phantom.labels, RIGHT_LUNG) > 0.98


def test_the_inference_says_everything_about_itself(runner: Runner, entry: Entry, tmp_path: Path) -> None:
    phantom = make_chest_ct()
    inference = runner.run(write_series(phantom.datasets, tmp_path))
    assert inference.pipeline == "ct_lungs"
    assert inference.model == entry.model
    assert inference.device == "cpu"
    around = {"decode", "volume", "preprocess", "upload", "network", "stitch"}
    assert set(inference.seconds) == {*around, "invert", "postprocess", "download", "measure"}
    assert inference.volume.grid is inference.volume.grid
    assert inference.output.array.flags.c_contiguous
    truth_ml = {label: np.count_nonzero(phantom.labels == label) * inference.volume.grid.voxel_ml for label in (1, 2)}
    for finding in inference.findings:
        volume, mean, below = finding.measurements
        assert volume.value == pytest.approx(truth_ml[finding.label], rel=0.02)
        assert -880 < mean.value < -780
        assert below.value < 1


def test_the_same_series_gives_the_same_labels(runner: Runner, entry: Entry, tmp_path: Path) -> None:
    files = write_series(make_chest_ct().datasets, tmp_path)
    first = runner.run(files).masks.array
    np.testing.assert_array_equal(runner.run(files).masks.array, first)
    np.testing.assert_array_equal(Runner(entry, "cpu").run(files).masks.array, first)


def test_air_around_or_under_the_body_is_no_lung(runner: Runner, tmp_path: Path) -> None:
    phantom = make_chest_ct()
    found = runner.run(write_series(phantom.datasets, tmp_path)).masks.array
    stomach = (phantom.hounsfield < -900) & (phantom.labels == 0)
    stomach[20:] = False
    assert np.count_nonzero(found[:12]) == 0
    assert np.count_nonzero(found[stomach]) == 0


def test_a_belly_is_refused_instead_of_called_lungs(runner: Runner, tmp_path: Path) -> None:
    phantom = make_chest_ct()
    with pytest.raises(ImplausibleResult):
        runner.run(write_series(phantom.datasets[:25], tmp_path))


def test_a_chest_with_one_lung_is_refused(runner: Runner, tmp_path: Path) -> None:
    phantom = make_chest_ct()
    for dataset, labels in zip(phantom.datasets, phantom.labels, strict=True):
        stored = np.frombuffer(dataset.PixelData, "<u2").reshape(labels.shape).copy()
        stored[labels == LEFT_LUNG] = 1024 + 40
        dataset.PixelData = stored.tobytes()
    with pytest.raises(ImplausibleResult, match="Left lung") as refusal:
        runner.run(write_series(phantom.datasets, tmp_path))
    assert refusal.value.reason == "label_missing"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"spacing_mm": (5.5, 1.5, 1.5), "shape": (30, 32, 32)}, "spacing"),
        ({"spacing_mm": (5.0, 1.7, 1.5), "shape": (30, 32, 32)}, "pixel_spacing"),
        ({"spacing_mm": (5.0, 1.5, 1.7), "shape": (30, 32, 32)}, "pixel_spacing"),
        ({"spacing_mm": (5.0, 1.5, 1.5), "shape": (23, 32, 32)}, "coverage"),
    ],
)
def test_a_series_outside_the_limits_is_refused(runner: Runner, options: dict[str, object], reason: str, tmp_path: Path) -> None:
    with pytest.raises(GeometryError) as refusal:
        runner.run(write_series(make_chest_ct(**options).datasets, tmp_path))
    assert refusal.value.reason == reason


@pytest.mark.parametrize("spacing_mm", [(5.0, 1.6, 1.6), (0.3, 0.3, 0.3)])
def test_the_limits_themselves_are_within_the_limits(runner: Runner, spacing_mm: tuple[float, float, float], tmp_path: Path) -> None:
    slices = round(120.0 / spacing_mm[0])
    files = write_series(make_chest_ct(spacing_mm=spacing_mm, shape=(slices, 8, 8), orientation=oblique(17.3)).datasets, tmp_path)
    with pytest.raises((ImplausibleResult, QualityError)):  # eight voxels are no chest, but that is another matter
        runner.run(files)


def test_too_many_voxels_are_refused_before_they_take_memory(entry: Entry, tmp_path: Path) -> None:
    limits = entry.pipeline.limits.model_copy(update={"max_voxels": 1000})
    small = Entry(pipeline=entry.pipeline.model_copy(update={"limits": limits}), model=entry.model, bundle=entry.bundle)
    with pytest.raises(GeometryError) as refusal:
        Runner(small, "cpu").run(write_series(make_chest_ct().datasets, tmp_path))
    assert refusal.value.reason == "too_large"


def test_a_bundle_changed_after_the_start_is_not_loaded(entry: Entry, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "models", tmp_path / "models", ignore=shutil.ignore_patterns("__pycache__"))
    changed = tmp_path / "models" / "ct_lungs"
    (changed / "scripts" / "lungs.py").write_text("raise SystemExit\n")
    runner = Runner(Entry(pipeline=entry.pipeline, model=entry.model, bundle=changed), "cpu")
    with pytest.raises(DigestMismatch):
        runner.load()


MONAI_ALONE = """
import sys
from monai.bundle import run
sys.path.insert(0, ".")
run(config_file="configs/inference.json", bundle_root=".", dataset_dir=sys.argv[1], output_dir=sys.argv[2])
"""


def test_monai_runs_the_bundle_without_us(tmp_path: Path) -> None:
    phantom = make_chest_ct(orientation=oblique())
    volume = read_volume(write_series(phantom.datasets, tmp_path / "series"))
    shutil.copytree(REPOSITORY / "models" / "ct_lungs", tmp_path / "bundle", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "in").mkdir()
    nibabel.save(nibabel.Nifti1Image(volume.array.transpose(2, 1, 0), volume.grid.ras_affine), tmp_path / "in" / "chest.nii.gz")
    command = [sys.executable, "-c", MONAI_ALONE, str(tmp_path / "in"), str(tmp_path / "out")]
    subprocess.run(command, cwd=tmp_path / "bundle", check=True, capture_output=True)
    (result,) = (tmp_path / "out").rglob("*.nii.gz")
    found = np.asarray(nibabel.load(result).dataobj).squeeze().transpose(2, 1, 0)
    assert dice(found, phantom.labels, RIGHT_LUNG) > 0.98
    assert dice(found, phantom.labels, LEFT_LUNG) > 0.98


@pytest.mark.gpu
def test_the_graphics_card_gives_the_same_lungs(entry: Entry, tmp_path: Path) -> None:
    phantom = make_chest_ct()
    inference = Runner(entry, "cuda:0").run(write_series(phantom.datasets, tmp_path))
    assert inference.device.startswith("cuda:0 (")
    assert dice(inference.output.array, phantom.labels, RIGHT_LUNG) > 0.98
    assert dice(inference.output.array, phantom.labels, LEFT_LUNG) > 0.98
