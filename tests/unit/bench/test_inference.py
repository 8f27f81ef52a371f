"""The table of ``radnode bench inference``, of numbers that were made up."""

import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from node.bench.contenders import Case, Measured, _overlay
from node.bench.inference import Plan, _table, middles, run, save, share, stages_of
from node.core.errors import ConfigError


def measured(contender: str, times: dict[str, float], bundle: str = "ct_lungs") -> Measured:
    return Measured(
        contender=contender, bundle=bundle, cold_s=9.0, seconds=times, cpu_s=sum(times.values()) / 2, host_mb=100.0, device_mb=math.nan
    )


FOUND = [
    measured("stock", {"load,preprocess,network": 6.0, "invert": 2.0, "save": 2.0}),
    *(measured("radnode", {"encode": 1.0, "decode": 1.0, "network": network}) for network in (3.0, 9.0, 2.0)),
]


def test_the_median_round_counts() -> None:
    middle = middles(FOUND, "ct_lungs")
    assert middle["radnode"].seconds["network"] == 3.0
    assert share(middle["radnode"]) == pytest.approx(60.0)
    assert math.isnan(share(middle["stock"]))


def test_stages_stand_in_the_order_in_which_they_happen() -> None:
    assert stages_of(FOUND) == ["decode", "network", "load,preprocess,network", "invert", "encode", "save"]


def test_the_table_has_the_ratios() -> None:
    text = io.StringIO()
    Console(file=text, width=160).print(_table("ct_lungs", middles(FOUND, "ct_lungs")))
    lines = {
        line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:4]] for line in text.getvalue().splitlines() if "│" in line
    }
    assert lines["whole"] == ["10.00", "5.00"]
    assert lines["stock takes, times this"] == ["1.00", "2.00"]
    assert lines["to its labels alone"] == ["1.00", "2.00"]
    assert lines["peak device MB"] == ["none", "none"]


def test_what_is_saved(tmp_path: Path) -> None:
    save(FOUND, tmp_path)
    assert [one["contender"] for one in json.loads((tmp_path / "inference.json").read_text())] == ["stock", *["radnode"] * 3]
    assert (tmp_path / "inference.png").stat().st_size > 5_000


def test_a_bundle_that_it_does_not_know_is_refused(tmp_path: Path) -> None:
    plan = Plan(
        bundles=["other"], slices=20, size=64, field_mm=400, rounds=1, device="cpu", folder=tmp_path, pipelines=tmp_path, models=tmp_path
    )
    with pytest.raises(ConfigError, match="other"):
        run(plan, Console(file=io.StringIO()))


def test_stock_runs_the_bundle_as_it_is_with_marks_between_its_steps(tmp_path: Path) -> None:
    bundle = Path(__file__).parents[3] / "models" / "ct_lungs"
    case = Case(series_instance_uid="1", dicom=(), nifti=tmp_path / "chest.nii", labels=tmp_path, device="cpu")
    overlay = _overlay(bundle, case, tmp_path)
    own = json.loads((bundle / "configs" / "inference.json").read_text())["postprocessing"]["transforms"]
    steps = overlay["postprocessing#transforms"]
    marks = [step for step in steps if "radnode-bench" in str(step.get("func"))]
    assert [step for step in steps if step not in marks] == own
    assert [str(step["func"]).split("'")[3] for step in marks] == ["load,preprocess,network", "invert", "postprocess"]
    assert steps[-1]["_target_"] == "SaveImaged", "what it saves is timed by the end of the run"
    assert overlay["run"].count("$@evaluator.run()") == 2
