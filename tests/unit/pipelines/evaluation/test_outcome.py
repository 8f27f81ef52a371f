"""Intervals, and the files that an outcome becomes."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import EvaluationError
from pipelines.evaluation.cases import read_study
from pipelines.evaluation.outcome import Estimate, Outcome, bootstrapped, mean_of
from pipelines.evaluation.report import write_report


def test_the_interval_of_a_mean_is_what_statistics_says() -> None:
    values = np.random.default_rng(1).normal(10.0, 2.0, 400)
    estimate = mean_of("x", "mean", list(values))
    assert (estimate.low, estimate.high) == pytest.approx((values.mean() - 1.96 * 0.1, values.mean() + 1.96 * 0.1), abs=0.03)


def test_cases_are_drawn_together() -> None:
    # Two statistics of the same draw: their difference is the same in every resample.
    bounds = bootstrapped(30, lambda drawn: [float(drawn.mean()), float(drawn.mean()) + 1.0], 200)
    assert bounds[:, 1] - bounds[:, 0] == pytest.approx([1.0, 1.0])


def test_nothing_is_no_number() -> None:
    nothing = mean_of("x", "mean", [None, None])
    assert (nothing.cases, np.isnan(nothing.value)) == (0, True)


def test_what_is_written(tmp_path: Path) -> None:
    one = Estimate(subject="Right lung", measure="Dice", value=0.9512, low=0.94, high=float("nan"), cases=3)
    none = Estimate(subject="Left lung", measure="Dice", value=float("nan"), low=float("nan"), high=float("nan"), cases=0)
    outcome = Outcome(
        task="segmentation", title="lungs", terms="By rule.", estimates=(one, none), cases=({"case": "a", "label": "x", "dice": None},)
    )
    write_report(outcome, tmp_path)
    with (tmp_path / "cases.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"case": "a", "label": "x", "dice": ""}]
    estimates = json.loads((tmp_path / "summary.json").read_text())["estimates"]
    assert estimates[0]["value"] == 0.9512
    assert estimates[1]["value"] is None
    text = (tmp_path / "summary.md").read_text()
    assert "| Right lung | Dice | 0.951 |" in text
    assert "| Left lung | Dice | not defined |" in text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "has faults"),
        ('{"task": "detection", "title": "x", "cases": []}', "cases"),
        ('{"task": "detection", "title": "x", "cases": [{"case": "a", "reference": [], "output": [], "extra": 1}]}', "extra"),
        ('{"task": "guessing", "title": "x", "cases": []}', "task"),
        (
            '{"task": "classification", "title": "x", "cases": [{"case": "a", "reference": {"A": 1}, "output": {"B": 0.5}}]}',
            "other classes",
        ),
        (
            '{"task": "segmentation", "title": "x", "cases": [{"case": "a", "reference": "r", "output": "o"},'
            ' {"case": "a", "reference": "r", "output": "o"}]}',
            "same name",
        ),
    ],
)
def test_a_file_with_faults_is_refused_with_each_of_them(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "cases.json"
    path.write_text(content)
    with pytest.raises(EvaluationError, match=says):
        read_study(path)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_text('{"task": "segmentation", "title": "x", "cases": [{"case": "a", "reference": "truth/a.npz", "output": "b.npz"}]}')
    study = read_study(path)
    assert study.cases[0].reference == tmp_path / "truth" / "a.npz"
