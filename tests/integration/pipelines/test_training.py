"""The programs that trained what is shipped: a short training, and folds that share nothing."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import run
from torch.utils.data import default_collate

from pipelines.isolation import OwnModules

MODELS = Path(__file__).parents[3] / "models"
FOLDS = 3


@pytest.mark.parametrize("bundle", ["ct_lung_nodules", "cxr_findings", "mr_brain_lesion"])
def test_every_case_is_tested_in_one_fold_and_trained_on_in_the_others(bundle: str) -> None:
    with OwnModules(MODELS / bundle).importable():
        split = import_module("scripts.training").split
        cases: Any = 10 if bundle == "ct_lung_nodules" else list(range(10))
        parts = [split(cases, FOLDS, fold) for fold in range(FOLDS)]
        assert list(split(cases, FOLDS, -1)[0]) == list(range(10))
    assert sorted(case for _, test in parts for case in test) == list(range(10))
    for train, test in parts:
        assert set(train).isdisjoint(test)
        assert len(train) + len(test) == 10


@pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")
def test_the_nodule_detector_can_be_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = MODELS / "ct_lung_nodules"
    monkeypatch.chdir(bundle)
    weights = tmp_path / "weights.pt"
    with OwnModules(bundle).importable():
        run(
            config_file=["configs/inference.json", "configs/train.json"],
            bundle_root=".",
            weights=str(weights),
            iterations=2,
            chests=2,
            folds=2,
            fold=0,
            device="$torch.device('cpu')",
        )
    shipped = torch.load(bundle / "models" / "model.pt", weights_only=True)
    trained = torch.load(weights, weights_only=True)
    assert {name: value.shape for name, value in trained.items()} == {name: value.shape for name, value in shipped.items()}
    assert json.loads((bundle / "configs" / "train.json").read_text())["iterations"] > 1000, "what is shipped was trained for longer"


def test_heads_with_more_and_fewer_lesions_form_a_batch(tmp_path: Path) -> None:
    entries = [{"image": [f"{seed}_t1.nii"], "label": f"{seed}.nii", "seed": seed, "kinds": ["ring"] * seed} for seed in range(3)]
    (tmp_path / "datalist.json").write_text(json.dumps(entries))
    with OwnModules(MODELS / "mr_brain_lesion").importable():
        batch = default_collate(import_module("scripts.training").read_cases(str(tmp_path)))
    assert batch["label"] == [str(tmp_path / f"{seed}.nii") for seed in range(3)]
