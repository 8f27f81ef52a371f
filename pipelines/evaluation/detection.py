"""FROC of detectors: how many of the things that are there are found, for how many false alarms in a scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from monai.metrics import compute_froc_curve_data, compute_froc_score
from numpy.typing import NDArray

from pipelines.evaluation.cases import BoxCase, BoxStudy, Candidate, Target
from pipelines.evaluation.outcome import RESAMPLES, Case, Curve, Estimate, Outcome, bootstrapped

#: False positives per scan at which the sensitivity is read, and whose mean is the competition performance metric of LUNA16.
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
#: The score of a target that nothing hit: below every score.
_MISSED = -1.0

Scores = NDArray[np.float64]


def evaluate_boxes(study: BoxStudy, resamples: int = RESAMPLES) -> Outcome:
    """Work out the FROC of each label.

    A target counts with the highest score that hits it. Further candidates that hit it are neither right nor wrong; one that hits
    nothing is a false positive.
    """
    estimates: list[Estimate] = []
    curves: list[Curve] = []
    labels = sorted({one.label for case in study.cases for one in (*case.reference, *case.output)})
    for label in labels:
        scans = [matched(study, case, label) for case in study.cases]
        mine, curve = _froc(label, scans, resamples)
        estimates += mine
        curves.append(curve)
    lines: list[Case] = []
    for case in study.cases:
        for label in labels:
            hits, alarms = matched(study, case, label)
            found = int((hits > _MISSED).sum())
            lines.append({"case": case.case, "label": label, "targets": hits.size, "found_at_any_score": found, "false": alarms.size})
    rule = "its centre lies within half the target's longest side of the target's centre"
    if study.hit == "iou":
        rule = f"their boxes overlap by {study.iou:g} (intersection over union)"
    terms = (
        f"A candidate hits a target when {rule}; a target counts with its best hit, further hits of it do not count. Sensitivity between "
        "two thresholds is interpolated, as for LUNA16; the metric of the mean is over 1/8 to 8 false positives per scan. 95 % intervals "
        "by the percentile bootstrap over scans."
    )
    return Outcome(task="detection", title=study.title, terms=terms, estimates=tuple(estimates), cases=tuple(lines), curves=tuple(curves))


def matched(study: BoxStudy, case: BoxCase, label: str) -> tuple[Scores, Scores]:
    """The score of each target of a label (-1 where it was missed), and those of the false positives."""
    targets = [one for one in case.reference if one.label == label]
    hits = np.full(len(targets), _MISSED)
    alarms = []
    for candidate in (one for one in case.output if one.label == label):
        near = [number for number, target in enumerate(targets) if _is_hit(study, candidate, target)]
        hits[near] = np.maximum(hits[near], candidate.score)
        if not near:
            alarms.append(candidate.score)
    return hits, np.array(alarms, dtype=np.float64)


def _is_hit(study: BoxStudy, candidate: Candidate, target: Target) -> bool:
    center, size = (np.array([getattr(one, key) for one in (candidate, target)]) for key in ("center_mm", "size_mm"))
    if study.hit == "center":
        return bool(np.linalg.norm(center[0] - center[1]) <= size[1].max() / 2)
    low, high = center - size / 2, center + size / 2
    common = float(np.clip(high.min(axis=0) - low.max(axis=0), 0.0, None).prod())
    return common / (float(size.prod(axis=1).sum()) - common) >= study.iou


def _froc(label: str, scans: Sequence[tuple[Scores, Scores]], resamples: int) -> tuple[list[Estimate], Curve]:
    targets = sum(hits.size for hits, _ in scans)
    if not targets:
        nothing = [_estimate(label, measure, np.nan, (np.nan, np.nan), 0) for measure in _measures()]
        return nothing, Curve(name=label, x=np.array([0.0]), y=np.array([np.nan]))
    sensitivities = _read_at(scans)
    bounds = bootstrapped(len(scans), lambda drawn: _read_at([scans[index] for index in drawn]), resamples)
    false, found = _curve(scans)
    estimates = [
        _estimate(label, measure, value, (bounds[0, place], bounds[1, place]), len(scans))
        for place, (measure, value) in enumerate(zip(_measures(), sensitivities, strict=True))
    ]
    low, high = (np.interp(np.log2(np.clip(false, RATES[0], RATES[-1])), np.log2(RATES), bound[: len(RATES)]) for bound in bounds)
    return estimates, Curve(name=f"{label}, {targets} in {len(scans)} scans", x=false, y=found, low=low, high=high)


def _measures() -> list[str]:
    return [*(f"Sensitivity at {rate:g} false positives per scan" for rate in RATES), "Mean sensitivity over these rates"]


def _estimate(label: str, measure: str, value: float, bounds: tuple[float, float], cases: int) -> Estimate:
    return Estimate(subject=label, measure=measure, value=value, low=float(bounds[0]), high=float(bounds[1]), cases=cases)


def _curve(scans: Sequence[tuple[Scores, Scores]]) -> tuple[Scores, Scores]:
    """False positives per scan and sensitivity, from the most alarms to none."""
    hits = np.concatenate([hit for hit, _ in scans])
    alarms = np.concatenate([alarm for _, alarm in scans])
    # MONAI leaves out the lowest threshold, which must therefore be one that no candidate has.
    false, found = compute_froc_curve_data(alarms, np.append(hits, _MISSED), hits.size, len(scans))
    return np.asarray(false, dtype=np.float64), np.asarray(found, dtype=np.float64)


def _read_at(scans: Sequence[tuple[Scores, Scores]]) -> list[float]:
    """The sensitivity at each rate, and their mean; not a number when nothing is there to be found."""
    if not sum(hits.size for hits, _ in scans):
        return [float("nan")] * (len(RATES) + 1)
    # Alarms beyond the highest rate lie to the right of all that is read, and would cost most of the time.
    most = int(RATES[-1] * len(scans)) + 2
    alarms = np.sort(np.concatenate([alarm for _, alarm in scans]))[::-1][:most]
    false, found = _curve([(np.concatenate([hit for hit, _ in scans]), alarms), *[(np.empty(0), np.empty(0))] * (len(scans) - 1)])
    each = [float(compute_froc_score(false, found, (rate,))) for rate in RATES]
    return [*each, float(compute_froc_score(false, found, RATES))]
