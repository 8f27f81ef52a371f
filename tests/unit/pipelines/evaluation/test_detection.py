"""Three lesions in two scans: a FROC that can be drawn by hand."""

from typing import Any

import numpy as np
import pytest

from pipelines.evaluation.cases import BoxStudy
from pipelines.evaluation.detection import evaluate_boxes, matched


def thing(x: float, score: float | None = None, size: float = 10.0) -> dict[str, Any]:
    return {"center_mm": [x, 0, 0], "size_mm": [size] * 3, **({} if score is None else {"score": score})}


def study(**changes: Any) -> BoxStudy:
    cases = [
        # 0.9 hits the first lesion, 0.85 the same again; 0.8 hits nothing; 0.3 hits the second lesion.
        {"case": "a", "reference": [thing(0), thing(100)], "output": [thing(1, 0.9), thing(2, 0.85), thing(50, 0.8), thing(98, 0.3)]},
        # The third lesion is missed; 0.5 is another false positive.
        {"case": "b", "reference": [thing(0)], "output": [thing(60, 0.5)]},
    ]
    return BoxStudy.model_validate({"task": "detection", "title": "by hand", "cases": cases, **changes})


def test_the_curve_is_that_of_the_drawing() -> None:
    outcome = evaluate_boxes(study(), 50)
    curve = outcome.curves[0]
    # From all alarms to none: at 0.3 two false positives in two scans and two of three found; at 0.5, 0.8, 0.9 one of three.
    assert curve.x.tolist() == [1.0, 1.0, 0.5, 0.0, 0.0]
    assert curve.y.tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 3, 1 / 3, 0.0])
    values = {one.measure: one.value for one in outcome.estimates}
    assert values["Sensitivity at 0.5 false positives per scan"] == pytest.approx(1 / 3)
    assert values["Sensitivity at 1 false positives per scan"] == pytest.approx(2 / 3)
    assert values["Sensitivity at 8 false positives per scan"] == pytest.approx(2 / 3)
    assert values["Mean sensitivity over these rates"] == pytest.approx((3 * 1 / 3 + 4 * 2 / 3) / 7)


def test_a_lesion_counts_once() -> None:
    hits, alarms = matched(study(), study().cases[0], "finding")
    assert hits.tolist() == [0.9, 0.3]
    assert alarms.tolist() == [0.8]


def test_the_lowest_score_counts_when_nothing_is_missed() -> None:
    case = {"case": "a", "reference": [thing(0), thing(100)], "output": [thing(0, 0.9), thing(100, 0.2)]}
    outcome = evaluate_boxes(study(cases=[case]), 50)
    assert outcome.curves[0].y.max() == 1.0
    assert outcome.estimates[0].value == 1.0
    assert np.isnan(outcome.estimates[0].low), "one scan tells nothing of the spread"


def test_boxes_that_must_overlap() -> None:
    # Centres 6 mm apart: outside half the side by the rule of the centre; boxes share 4/10, 400 of 1600.
    case = {"case": "a", "reference": [thing(0)], "output": [thing(6, 0.9)]}
    assert matched(study(cases=[case]), study(cases=[case]).cases[0], "finding")[0].tolist() == [-1.0]
    for least, hit in ((0.24, 0.9), (0.26, -1.0)):
        given = study(cases=[case], hit="iou", iou=least)
        assert matched(given, given.cases[0], "finding")[0].tolist() == [hit]


def test_labels_are_kept_apart() -> None:
    case = {"case": "a", "reference": [thing(0) | {"label": "Nodule"}], "output": [thing(0, 0.9) | {"label": "Cyst"}]}
    outcome = evaluate_boxes(study(cases=[case]), 50)
    values = {(one.subject, one.measure): one.value for one in outcome.estimates}
    assert values["Nodule", "Sensitivity at 8 false positives per scan"] == 0.0
    assert np.isnan(values["Cyst", "Sensitivity at 8 false positives per scan"]), "nothing of it was there to be found"


def test_many_alarms_change_nothing_to_the_left_of_them() -> None:
    many = [thing(200 + 20 * number, 0.1) for number in range(100)]
    given = study().model_dump()
    given["cases"][1]["output"] = [*given["cases"][1]["output"], *many]
    with_many = evaluate_boxes(BoxStudy.model_validate(given), 50)
    few = evaluate_boxes(study(), 50)
    assert [one.value for one in with_many.estimates] == pytest.approx([one.value for one in few.estimates])
