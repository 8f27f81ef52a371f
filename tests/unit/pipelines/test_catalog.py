"""What may run is exactly what was declared and pinned."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.catalog import load_catalog, load_entry, pin, tree_digest
from pipelines.errors import BundleContract, BundleMissing, CodedError, DigestMismatch

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Copies of the shipped pipeline and bundle, to be spoiled."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "pipelines" / "ct_lungs", tmp_path / "pipelines" / "ct_lungs", ignore=ignore)
    shutil.copytree(REPOSITORY / "models", tmp_path / "models", ignore=ignore)
    return tmp_path / "pipelines", tmp_path / "models"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def fault_of(folders: tuple[Path, Path]) -> CodedError:
    catalog = load_catalog(*folders)
    assert dict(catalog.available) == {}
    return catalog.unavailable["ct_lungs"]


def test_the_shipped_pipeline_is_available() -> None:
    catalog = load_catalog(REPOSITORY / "pipelines", REPOSITORY / "models")
    assert {error.full_code for error in catalog.unavailable.values()} <= {"BUNDLE_MISSING.absent"}, (
        "only what somebody has to bring is missing"
    )
    entry = catalog.available["ct_lungs"]
    assert (entry.model.version, entry.model.manufacturer) == ("1.0.0", "The RadNode authors")
    assert len(entry.model.digest) == 64


def test_a_missing_bundle_makes_its_pipeline_unavailable(folders: tuple[Path, Path]) -> None:
    shutil.rmtree(folders[1] / "ct_lungs")
    assert fault_of(folders).full_code == "BUNDLE_MISSING.absent"


def test_a_bundle_that_somebody_has_to_bring_says_where_it_is(folders: tuple[Path, Path]) -> None:
    shutil.rmtree(folders[1] / "ct_lungs")
    edit(folders[0] / "ct_lungs" / "pipeline.toml", "[outputs]", '[origin]\nget = "wget it"\nlicence = "free"\n\n[outputs]')
    assert fault_of(folders).sentence.endswith(" To bring it: wget it; read it; then radnode pipelines pin ct_lungs.")


@pytest.mark.parametrize("name", ["metadata.json", "inference.json"])
def test_a_missing_configuration_makes_its_pipeline_unavailable(folders: tuple[Path, Path], name: str) -> None:
    (folders[1] / "ct_lungs" / "configs" / name).unlink()
    assert isinstance(fault_of(folders), BundleMissing)


CHANGES: list[tuple[str, Callable[[Path], object]]] = [
    ("an edited file", lambda bundle: (bundle / "scripts" / "lungs.py").write_text("pass")),
    ("an added file", lambda bundle: (bundle / "scripts" / "more.py").write_text("pass")),
    ("a removed file", lambda bundle: (bundle / "LICENSE").unlink()),
    ("a renamed file", lambda bundle: (bundle / "LICENSE").rename(bundle / "LICENCE")),
    ("a compiled module in the place of a source", lambda bundle: (bundle / "scripts" / "lungs.pyc").write_bytes(b"")),
]


@pytest.mark.parametrize("change", [change for _, change in CHANGES], ids=[name for name, _ in CHANGES])
def test_any_change_of_the_files_is_noticed(folders: tuple[Path, Path], change: Callable[[Path], object]) -> None:
    change(folders[1] / "ct_lungs")
    fault = fault_of(folders)
    assert isinstance(fault, DigestMismatch)
    assert fault.reason == "changed"


def test_what_python_compiles_on_the_side_does_not_count(folders: tuple[Path, Path]) -> None:
    cache = folders[1] / "ct_lungs" / "scripts" / "__pycache__"
    cache.mkdir()
    (cache / "lungs.cpython-311.pyc").write_bytes(b"anything")
    assert load_catalog(*folders).available


def test_a_bundle_that_nobody_pinned_does_not_run(folders: tuple[Path, Path]) -> None:
    (folders[1] / "manifest.toml").unlink()
    fault = fault_of(folders)
    assert isinstance(fault, DigestMismatch)
    assert fault.reason == "unpinned"


def test_a_symbolic_link_is_refused(folders: tuple[Path, Path]) -> None:
    (folders[1] / "ct_lungs" / "scripts" / "elsewhere.py").symlink_to("/etc/hostname")
    fault = fault_of(folders)
    assert isinstance(fault, BundleContract)
    assert fault.reason == "symlink"


@pytest.mark.parametrize(
    ("where", "old", "new", "reason"),
    [
        ("pipelines/ct_lungs/pipeline.toml", "value = 2\n", "value = 3\n", "labels"),
        ("pipelines/ct_lungs/pipeline.toml", 'modality = ["CT"]', 'modality = ["CT", "MR"]', "measurement"),
        ("pipelines/ct_lungs/pipeline.toml", "[series]", 'prerequisites = ["skull_stripping"]\n[series]', "prerequisites"),
        ("pipelines/ct_lungs/pipeline.toml", "[outputs]", '[outputs]\nkind = "channels"', "labels"),
        ("pipelines/ct_lungs/pipeline.toml", "[outputs]", '[outputs]\nkind = "scores"', "declaration"),
        ("models/manifest.toml", "sha256 = ", "sha = ", "manifest"),
        ("models/manifest.toml", "[ct_lungs]", "[ct_lungs", "manifest"),
        ("models/ct_lungs/configs/metadata.json", '"channel_def"', '"channels"', "labels"),
        ("models/ct_lungs/configs/metadata.json", '"2": "left lung"', '"two": "left lung"', "metadata"),
        ("models/ct_lungs/configs/metadata.json", "{", "", "metadata"),
    ],
)
def test_what_does_not_fit_together_is_named(folders: tuple[Path, Path], where: str, old: str, new: str, reason: str) -> None:
    edit(folders[0].parent / where, old, new)
    fault = fault_of(folders)
    assert isinstance(fault, BundleContract)
    assert fault.reason == reason


def test_one_bad_pipeline_leaves_the_others_alone(folders: tuple[Path, Path]) -> None:
    (folders[0] / "broken").mkdir()
    (folders[0] / "broken" / "pipeline.toml").write_text("nonsense")
    catalog = load_catalog(*folders)
    assert set(catalog.available) == {"ct_lungs"}
    assert set(catalog.unavailable) == {"broken"}


def test_overrides_make_another_model(folders: tuple[Path, Path]) -> None:
    path = folders[0] / "ct_lungs" / "pipeline.toml"
    before = load_entry(path, folders[1]).model.digest
    path.write_text(path.read_text() + "\n[overrides]\nspacing_mm = 2.0\n")
    assert load_entry(path, folders[1]).model.digest != before


USES = [
    'mode = "engine"',
    'weights = "models/model.ts"',
    'prerequisites = ["skull_stripping"]\nprerequisites_met_by_site = true',
]


@pytest.mark.parametrize("use", USES)
def test_another_use_of_the_bundle_makes_another_model(folders: tuple[Path, Path], use: str) -> None:
    path = folders[0] / "ct_lungs" / "pipeline.toml"
    before = load_entry(path, folders[1]).model.digest
    edit(path, "[series]", f"{use}\n[series]")
    assert load_entry(path, folders[1]).model.digest != before


def test_what_the_node_cannot_do_to_images_is_said_in_words(folders: tuple[Path, Path]) -> None:
    edit(folders[0] / "ct_lungs" / "pipeline.toml", "[series]", 'prerequisites = ["atlas_registration"]\n[series]')
    assert (
        "needs images after atlas registration, which the node does not do and must not pretend to have done" in fault_of(folders).sentence
    )


@pytest.mark.parametrize("name", ["channel_def", "label_def"])
def test_labels_are_held_against_what_the_bundle_says_by_either_name(folders: tuple[Path, Path], name: str) -> None:
    edit(folders[1] / "ct_lungs" / "configs" / "metadata.json", '"channel_def"', f'"{name}"')
    pin("ct_lungs", folders[1])
    assert load_catalog(*folders).available
    edit(folders[0] / "ct_lungs" / "pipeline.toml", "value = 2\n", "value = 3\n")
    assert fault_of(folders).reason == "labels"


def test_a_bundle_that_does_not_say_what_its_labels_mean_needs_somebody_who_does(folders: tuple[Path, Path]) -> None:
    edit(folders[1] / "ct_lungs" / "configs" / "metadata.json", '"channel_def"', '"nothing"')
    pin("ct_lungs", folders[1])
    assert "labels_source" in fault_of(folders).sentence
    edit(folders[0] / "ct_lungs" / "pipeline.toml", "[series]", 'labels_source = "README of the bundle, section Output"\n[series]')
    assert load_catalog(*folders).available


def test_an_evaluator_of_its_own_may_be_asked_for_less_than_it_can(folders: tuple[Path, Path]) -> None:
    edit(folders[1] / "ct_lungs" / "configs" / "metadata.json", '"2": "left lung"', '"2": "left lung", "3": "heart"')
    pin("ct_lungs", folders[1])
    assert fault_of(folders).reason == "labels"
    edit(folders[0] / "ct_lungs" / "pipeline.toml", "[series]", 'mode = "engine"\n[series]')
    assert load_catalog(*folders).available


def test_pinning_rewrites_the_digest_and_nothing_else(folders: tuple[Path, Path]) -> None:
    models = folders[1]
    before = (models / "manifest.toml").read_text()
    old = tree_digest(models / "ct_lungs")
    (models / "ct_lungs" / "docs" / "note.md").write_text("looked at")
    new = pin("ct_lungs", models)
    assert new != old
    assert (models / "manifest.toml").read_text() == before.replace(old, new)
    assert load_catalog(*folders).available


def test_pinning_a_new_bundle_adds_it(folders: tuple[Path, Path]) -> None:
    models = folders[1]
    shutil.copytree(models / "ct_lungs", models / "other")
    digest = pin("other", models)
    assert f'[other]\nsource = "not stated"\nlicence = "not stated"\nsha256 = "{digest}"' in (models / "manifest.toml").read_text()
    assert load_catalog(*folders).available


def test_pinning_what_is_not_there_is_refused(folders: tuple[Path, Path]) -> None:
    with pytest.raises(BundleMissing):
        pin("nothing", folders[1])


def test_metadata_of_the_shipped_bundle_repeat_the_intended_use() -> None:
    metadata = json.loads((REPOSITORY / "models" / "ct_lungs" / "configs" / "metadata.json").read_text())
    entry = load_entry(REPOSITORY / "pipelines" / "ct_lungs" / "pipeline.toml", REPOSITORY / "models")
    assert metadata["intended_use"] == entry.pipeline.intended_use
