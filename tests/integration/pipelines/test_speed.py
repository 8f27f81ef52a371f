"""What a pipeline may ask for to be faster changes nothing of what it finds, and is part of what the model is called."""

import importlib.util

import numpy as np
import pytest

from pipelines.catalog import load_entry
from pipelines.phantom import make_chest_ct, write_datasets
from pipelines.result import SeriesFiles
from pipelines.runner import Runner
from pipelines.untrained import NAME, declaration_of, write_untrained

FASTER = {
    "slices": "[speed]\nargmax_in_slices = true\n",
    "openvino": '[speed]\nargmax_in_slices = true\nbackend = "openvino"\n',
    "float32": '[overrides]\n"preprocessing#transforms#3#dtype" = "$torch.float32"\n',
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The untrained bundle and a small, oblique series, which is one window of it."""
    folder = tmp_path_factory.mktemp("speed")
    write_untrained(folder / "models")
    turned = (0.96, 0.28, 0.0, -0.28, 0.96, 0.0)
    phantom = make_chest_ct(shape=(40, 48, 56), spacing_mm=(3.0, 2.0, 2.0), orientation=turned)
    paths = tuple(write_datasets(phantom.datasets, folder / "dicom"))
    return folder, SeriesFiles(series_instance_uid=phantom.series_instance_uid, paths=paths)


def entry_of(folder, name, tables=""):
    path = folder / name / "pipeline.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(declaration_of(name, tables))
    return load_entry(path, folder / "models")


@pytest.fixture(scope="module")
def plain(place):
    folder, series = place
    return Runner(entry_of(folder, "plain"), "cpu").run(series)


@pytest.mark.parametrize("way", FASTER)
def test_the_labels_are_the_same(place, plain, way) -> None:
    folder, series = place
    found = Runner(entry_of(folder, way, FASTER[way]), "cpu").run(series)
    assert set(np.unique(plain.masks.array)) == {0, 1}
    # 32 bit numbers move grey values by 0.03 HU, which may move a voxel at the border of a label; the rest moves none.
    differ = np.count_nonzero(found.masks.array != plain.masks.array)
    assert differ <= (plain.masks.array.size // 1000 if way == "float32" else 0)
    assert found.findings[0].name == plain.findings[0].name == "Spleen"
    if way == "openvino" and importlib.util.find_spec("openvino"):
        assert found.network_by.startswith("openvino ")
    else:
        assert found.network_by.startswith("torch")


def test_another_way_to_compute_it_is_another_model(place) -> None:
    folder, _ = place
    digests = {entry_of(folder, name, tables).model.digest for name, tables in {"plain": "", **FASTER}.items()}
    assert len(digests) == 4
    assert entry_of(folder, "plain", "[speed]\nargmax_in_slices = false\n").model.digest in digests, "what is written and off is nothing"


def test_every_stage_is_timed(plain) -> None:
    stages = ["decode", "volume", "preprocess", "upload", "network", "stitch", "postprocess", "invert", "download", "measure"]
    assert set(plain.seconds) == set(stages)
    assert all(seconds >= 0.0 for seconds in plain.seconds.values())


def test_the_bundle_is_the_same_every_time(place, tmp_path) -> None:
    folder, _ = place
    write_untrained(tmp_path)
    names = ("models/model.pt", "configs/inference.json", "configs/metadata.json")
    for name in names[1:]:
        assert (tmp_path / NAME / name).read_bytes() == (folder / "models" / NAME / name).read_bytes()
