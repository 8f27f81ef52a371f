"""A network has the weights that its bundle brings, however it brings them, or it does not run at all."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.bundle import Bundle
from pipelines.ellipsoids import make_known
from pipelines.errors import BundleContract, BundleMissing, CodedError
from pipelines.result import LabelMap
from tests.bundles.parts import STATS, one
from tests.bundles.writing import pipeline_of, write
from tests.bundles.zoo import Published, renal_unest, spleen

CPU = torch.device("cpu")
VOLUME = make_known(0, is_ct=True, degrees=0.0).volume


def changed(published: Published, **changes: Any) -> Published:
    return dataclasses.replace(published, config={**json.loads(json.dumps(published.config)), **changes})


def fault_of(published: Published, root: Path, **declared: Any) -> CodedError:
    with pytest.raises(CodedError) as refusal:
        Bundle(root, pipeline_of(published, **declared), CPU)
    return refusal.value


def labels_of(bundle: Bundle) -> np.ndarray:
    output, _ = bundle.predict([VOLUME])
    assert isinstance(output, LabelMap)
    return output.array


@pytest.mark.parametrize("make", [spleen, renal_unest], ids=["loaded at first", "loaded by a handler"])
def test_the_weights_of_the_bundle_are_in_the_network(make: Any, tmp_path: Path) -> None:
    published = make()
    root = write(published, tmp_path / "bundle")
    stored = {name: torch.randn_like(value.float()) for name, value in torch.load(root / "models" / "model.pt", weights_only=True).items()}
    stored = {name: value.abs() if "var" in name else value for name, value in stored.items() if "num_batches" not in name}
    before = torch.load(root / "models" / "model.pt", weights_only=True)
    torch.save({**before, **stored}, root / "models" / "model.pt")
    torch.testing.assert_close(Bundle(root, pipeline_of(published), CPU).network.state_dict(), {**before, **stored})


def test_a_network_that_nobody_gives_weights_does_not_run(tmp_path: Path) -> None:
    published = changed(renal_unest(), handlers=[STATS])
    fault = fault_of(published, write(published, tmp_path / "bundle"))
    assert fault.full_code == "BUNDLE_CONTRACT.weights"
    assert "would guess" in fault.sentence


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    published = renal_unest()
    root = write(published, tmp_path / "bundle")
    (root / "models" / "model.pt").unlink()
    fault = fault_of(published, root)
    assert isinstance(fault, BundleMissing)
    assert fault.reason == "file"
    assert "model.pt" in fault.sentence


@pytest.mark.parametrize(
    "text",
    ["$torch.load(@bundle_root + '/models/model.pt', weights_only=False)", {"_target_": "torch.load", "f": "x", "weights_only": False}],
)
def test_a_checkpoint_that_runs_code_is_refused(text: Any, tmp_path: Path) -> None:
    published = changed(renal_unest(), checkpoint=text)
    fault = fault_of(published, write(published, tmp_path / "bundle"))
    assert fault.full_code == "BUNDLE_CONTRACT.weights"
    assert "weights_only" in fault.sentence


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    published = renal_unest()
    root = write(published, tmp_path / "bundle")
    torch.save({"model": Path("anything")}, root / "models" / "model.pt")
    assert isinstance(fault_of(published, root), BundleContract)


def test_torchscript_and_exported_programs_give_the_same_labels(tmp_path: Path) -> None:
    published = spleen()
    root = write(published, tmp_path / "bundle")
    eager = Bundle(root, pipeline_of(published), CPU)
    truth = labels_of(eager)
    assert 0 < np.count_nonzero(truth) < truth.size
    example = torch.zeros(4, 1, 48, 48, 48)
    torch.jit.trace(eager.network, example).save(str(root / "models" / "model.ts"))
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.export.save(torch.export.export(eager.network, (example,), dynamic_shapes=({0: batch},)), root / "models" / "model.pt2")
    (root / "models" / "model.pt").unlink()
    for name in ("models/model.ts", "models/model.pt2"):
        found = labels_of(Bundle(root, pipeline_of(published, weights=name), CPU))
        np.testing.assert_array_equal(found, truth, err_msg=name)
    within = changed(published, network_def="$torch.jit.load(@bundle_root + '/models/model.ts')", initialize=[])
    (root / "configs" / "inference.json").write_text(json.dumps(within.config))
    np.testing.assert_array_equal(labels_of(Bundle(root, pipeline_of(within), CPU)), truth)


@pytest.mark.parametrize(("content", "code"), [(None, "BUNDLE_MISSING.file"), (b"no program", "BUNDLE_CONTRACT.weights")])
@pytest.mark.parametrize("name", ["models/other.ts", "models/other.pt2"])
def test_a_program_that_cannot_be_read_is_named(name: str, content: bytes | None, code: str, tmp_path: Path) -> None:
    published = spleen()
    root = write(published, tmp_path / "bundle")
    if content is not None:
        (root / name).write_bytes(content)
    fault = fault_of(published, root, weights=name)
    assert fault.full_code == code
    assert name in fault.sentence


def test_a_package_that_is_missing_is_named_when_the_bundle_is_loaded_or_run(tmp_path: Path) -> None:
    published = changed(spleen(), network_def={"_target_": "scripts.net.Net"})
    root = write(dataclasses.replace(spleen(), scripts={"net": "import no_such_package\n"}), tmp_path / "early")
    (root / "configs" / "inference.json").write_text(json.dumps(published.config))
    fault = fault_of(published, root)
    assert fault.full_code == "BUNDLE_CONTRACT.load"
    assert "no_such_package" in fault.sentence
    late = changed(spleen(), imports=["$import no_such_package"])
    late.config["preprocessing"]["transforms"].insert(1, one("Lambdad", func="$lambda x: no_such_package.f(x)"))
    bundle = Bundle(write(late, tmp_path / "late"), pipeline_of(late), CPU)
    with pytest.raises(BundleContract, match="no_such_package") as refusal:
        bundle.predict([VOLUME])
    assert refusal.value.reason == "load"


def test_a_saver_that_is_referred_to_is_left_out_too(tmp_path: Path) -> None:
    published = spleen()
    saver = published.config["postprocessing"]["transforms"].pop()
    published = changed(published, saver=saver)
    published.config["postprocessing"]["transforms"].append("@saver")
    bundle = Bundle(write(published, tmp_path / "bundle"), pipeline_of(published), CPU)
    before = sorted(bundle.root.rglob("*"))
    labels_of(bundle)
    assert sorted(bundle.root.rglob("*")) == before
