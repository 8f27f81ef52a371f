"""Five cases whose ROC can be counted on one hand."""

from typing import Any

import numpy as np
import pytest

from pipelines.evaluation.cases import ScoreStudy
from pipelines.evaluation.classification import evaluate_scores

TRUTH, SCORES = (1, 0, 1, 0, 0), (0.9, 0.8, 0.7, 0.3, 0.1)


def study(**changes: Any) -> ScoreStudy:
    cases = [
        {"case": str(number), "reference": {"Nodule": truth}, "output": {"Nodule": score}}
        for number, (truth, score) in enumerate(zip(TRUTH, SCORES, strict=True))
    ]
    return ScoreStudy.model_validate({"task": "classification", "title": "by hand", "cases": cases, **changes})


def test_five_cases() -> None:
    outcome = evaluate_scores(study(), 50)
    values = {one.measure: one.value for one in outcome.estimates}
    # Of the six pairs of one with and one without, five are in order: (0.7, 0.8) is not.
    assert values["Area under the ROC curve"] == pytest.approx(5 / 6)
    assert values["Sensitivity"] == 1.0
    assert values["Specificity"] == pytest.approx(2 / 3)
    assert values["Precision"] == pytest.approx(2 / 3)
    assert outcome.curves[0].x.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 2 / 3, 1])
    assert outcome.curves[0].y.tolist() == pytest.approx([0, 0.5, 0.5, 1, 1, 1])
    assert outcome.matrices[0].counts.tolist() == [[2, 1], [0, 2]]


def test_the_threshold_is_that_of_the_file() -> None:
    outcome = evaluate_scores(study(threshold=0.85), 50)
    assert outcome.matrices[0].counts.tolist() == [[3, 0], [1, 1]]


def test_the_area_is_that_below_the_curve() -> None:
    draw = np.random.default_rng(3)
    truth = draw.integers(0, 2, 60)
    scores = np.round(np.clip(truth * 0.2 + draw.random(60) * 0.8, 0, 1), 1)  # with ties
    cases = [
        {"case": str(number), "reference": {"A": int(one)}, "output": {"A": float(score)}}
        for number, (one, score) in enumerate(zip(truth, scores, strict=True))
    ]
    outcome = evaluate_scores(study(cases=cases), 50)
    area = np.trapezoid(outcome.curves[0].y, outcome.curves[0].x)
    assert outcome.estimates[0].value == pytest.approx(area, abs=1e-6)
    assert outcome.estimates[0].low < outcome.estimates[0].value < outcome.estimates[0].high


def test_one_of_several_classes() -> None:
    rows = [({"A": 1, "B": 0, "C": 0}, (0.5, 0.3, 0.2)), ({"A": 0, "B": 1, "C": 0}, (0.6, 0.3, 0.1)), ({"A": 0, "B": 0, "C": 1}, (0, 0, 1))]
    cases = [
        {"case": str(number), "reference": truth, "output": dict(zip("ABC", scores, strict=True))}
        for number, (truth, scores) in enumerate(rows)
    ]
    outcome = evaluate_scores(study(cases=cases, exclusive=True), 50)
    assert outcome.matrices[0].classes == ("A", "B", "C")
    assert outcome.matrices[0].counts.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]


def test_a_class_that_never_occurs_has_no_area() -> None:
    cases = [{"case": "a", "reference": {"A": 0}, "output": {"A": 0.2}}, {"case": "b", "reference": {"A": 0}, "output": {"A": 0.1}}]
    outcome = evaluate_scores(study(cases=cases), 50)
    assert np.isnan(outcome.estimates[0].value)
