"""The declarations that ship for the Model Zoo, on bundles as the zoo publishes them: they fit, and what comes back lies where it was."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser

from pipelines.catalog import Entry, load_entry, pin
from pipelines.conformance import conform
from pipelines.spec import read_pipeline
from tests.bundles.writing import write
from tests.bundles.zoo import ZOO

REPOSITORY = Path(__file__).parents[3]
BUNDLES = (
    "brats_mri_segmentation",
    "lung_nodule_ct_detection",
    "prostate_mri_anatomy",
    "renalStructures_UNEST_segmentation",
    "spleen_ct_segmentation",
    "swin_unetr_btcv_segmentation",
    "ventricular_short_axis_3label",
    "wholeBody_ct_segmentation",
)
#: What the site says, and that the network of the written bundle is a small one.
CHANGES = (("prerequisites_met_by_site = false", "prerequisites_met_by_site = true"), ("feature_size = 48", "feature_size = 12"))


@pytest.fixture
def entry_of(tmp_path: Path) -> Callable[[str], Entry]:
    """Write and pin a bundle, and have it checked against the pipeline.toml that ships, at a site that keeps its prerequisites."""

    def brought(bundle: str) -> Entry:
        write(ZOO[bundle](), tmp_path / "models" / bundle)
        pin(bundle, tmp_path / "models")
        name = bundle.lower()
        path = tmp_path / "pipelines" / name / "pipeline.toml"
        path.parent.mkdir(parents=True)
        shipped = (REPOSITORY / "pipelines" / name / "pipeline.toml").read_text()
        for old, new in CHANGES:
            shipped = shipped.replace(old, new)
        path.write_text(shipped)
        return load_entry(path, tmp_path / "models")

    return brought


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_declaration_fits_its_bundle_and_its_overrides_cure_it(bundle: str, entry_of: Callable[[str], Entry]) -> None:
    entry = entry_of(bundle)
    assert entry.model.name == bundle
    report = conform(entry)
    assert [check.sentence for check in report.checks if not check.passed] == []
    assert report.passed


def test_an_architecture_that_was_saved_as_code_loads_after_the_command_in_the_head_of_the_file(tmp_path: Path) -> None:
    bundle = "pancreas_ct_dints_segmentation"
    path, root = REPOSITORY / "pipelines" / bundle / "pipeline.toml", tmp_path / "models" / bundle
    published = ZOO[bundle]()
    (root / "configs").mkdir(parents=True)
    (root / "models").mkdir()
    (root / "configs" / "inference.yaml").write_text(yaml.safe_dump(published.config))
    metadata = {"version": "0.0.1", "network_data_format": {"outputs": {"pred": published.channels}}}
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata))
    # one path through the search space, so that the network is small
    one_path = np.zeros((12, 10))
    one_path[:, 0] = 1
    code = {"arch_code_a": one_path, "arch_code_c": np.zeros((12, 10), int), "node_a": np.ones((13, 4))}
    torch.save(code, root / "models" / "search_code_18590.pt")
    head = " ".join(line.removeprefix("#").strip() for line in path.read_text().splitlines() if line.startswith("#"))
    command = re.search(r'python -c "(.*?)" \(all on one line', head)
    assert command is not None
    subprocess.run([sys.executable, "-c", command[1]], cwd=tmp_path, check=True)

    config = ConfigParser(json.loads(json.dumps(published.config)))
    config.update({**read_pipeline(path).overrides, "bundle_root": str(root), "device": "cpu"})
    torch.save(config.get_parsed_content("network_def").state_dict(), root / "models" / "model.pt")
    pin(bundle, tmp_path / "models")
    report = conform(load_entry(path, tmp_path / "models"))
    assert [check.sentence for check in report.checks if not check.passed] == []
    assert report.passed
