"""ROC curves and confusion matrices of classifiers, by MONAI's metrics."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from monai.metrics import ROCAUCMetric, compute_confusion_matrix_metric, get_confusion_matrix
from numpy.typing import NDArray

from pipelines.evaluation.cases import ScoreStudy
from pipelines.evaluation.outcome import RESAMPLES, Case, Curve, Estimate, Matrix, Outcome, bootstrapped

_AT_THRESHOLD = ("sensitivity", "specificity", "precision")

Table = NDArray[np.float64]


def evaluate_scores(study: ScoreStudy, resamples: int = RESAMPLES) -> Outcome:
    """Work out ROC, area under it, and what the threshold makes of the scores, class by class."""
    classes = study.classes
    truth = np.array([[case.reference[name] for name in classes] for case in study.cases], dtype=np.float64)
    score = np.array([[case.output[name] for name in classes] for case in study.cases], dtype=np.float64)
    found = _decided(score, study)
    estimates: list[Estimate] = []
    curves: list[Curve] = []
    for column, name in enumerate(classes):
        numbers = _numbers(truth[:, column], score[:, column], found[:, column])
        bounds = bootstrapped(len(truth), _resampled(truth[:, column], score[:, column], found[:, column]), resamples)
        for place, measure in enumerate(("Area under the ROC curve", *(measure.capitalize() for measure in _AT_THRESHOLD))):
            low, high = (float(bound) for bound in bounds[:, place])
            estimates.append(Estimate(subject=name, measure=measure, value=numbers[place], low=low, high=high, cases=len(truth)))
        false, right = roc(truth[:, column], score[:, column])
        curves.append(Curve(name=f"{name}, {int(truth[:, column].sum())} of {len(truth)}, AUC {numbers[0]:.3f}", x=false, y=right))
    decided = "the class with the highest score" if study.exclusive else f"a score of at least {study.threshold:g}"
    terms = f"A yes is {decided}, which was chosen before these cases were seen. 95 % intervals by the percentile bootstrap over cases."
    return Outcome(
        task="classification",
        title=study.title,
        terms=terms,
        estimates=tuple(estimates),
        cases=_lines(study),
        curves=tuple(curves),
        matrices=_matrices(study, truth, found),
    )


def roc(truth: Table, score: Table) -> tuple[Table, Table]:
    """False and true positive rate at every threshold, from none to all; shape (threshold,)."""
    thresholds = np.unique(score)[::-1]
    yes = score[None] >= thresholds[:, None]
    with np.errstate(invalid="ignore"):
        right = (yes & (truth == 1)).sum(axis=1) / (truth == 1).sum()
        false = (yes & (truth == 0)).sum(axis=1) / (truth == 0).sum()
    return np.append(0.0, false), np.append(0.0, right)


def _decided(score: Table, study: ScoreStudy) -> Table:
    if study.exclusive:
        return np.asarray(np.eye(score.shape[1])[score.argmax(axis=1)], dtype=np.float64)
    return (score >= study.threshold).astype(np.float64)


def _resampled(truth: Table, score: Table, found: Table) -> Callable[[NDArray[np.intp]], list[float]]:
    return lambda drawn: _numbers(truth[drawn], score[drawn], found[drawn])


def _numbers(truth: Table, score: Table, found: Table) -> list[float]:
    """Area under the curve, then what holds at the threshold; not a number where a class is missing."""
    area = ROCAUCMetric()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="y values can not be all")
        area(torch.from_numpy(score), torch.from_numpy(truth))
        value = float(np.asarray(area.aggregate()))
    counts = get_confusion_matrix(torch.from_numpy(found)[:, None], torch.from_numpy(truth)[:, None]).sum(dim=0)
    return [value, *(float(compute_confusion_matrix_metric(measure, counts)) for measure in _AT_THRESHOLD)]


def _matrices(study: ScoreStudy, truth: Table, found: Table) -> tuple[Matrix, ...]:
    if study.exclusive:
        counts = np.rint(truth.T @ found).astype(np.int64)
        return (Matrix(name="all classes", classes=study.classes, counts=counts),)
    matrices = []
    for column, name in enumerate(study.classes):
        pairs = np.stack([1 - truth[:, column], truth[:, column]]) @ np.stack([1 - found[:, column], found[:, column]]).T
        matrices.append(Matrix(name=name, classes=("no", "yes"), counts=np.rint(pairs).astype(np.int64)))
    return tuple(matrices)


def _lines(study: ScoreStudy) -> tuple[Case, ...]:
    return tuple(
        {"case": case.case, "label": name, "reference": float(case.reference[name]), "output": case.output[name]}
        for case in study.cases
        for name in study.classes
    )
