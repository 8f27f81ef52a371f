"""Label map -> findings with coded measurements, and the guards that keep an impossible result from being reported."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ImplausibleResult
from pipelines.result import Code, Finding, LabelMap, Measurement, Volume
from pipelines.spec import Concept, Label, MeasurementRule, Pipeline, Span

VOLUME = Code(value="118565006", scheme="SCT", meaning="Volume")
ATTENUATION = Code(value="112031", scheme="DCM", meaning="Attenuation Coefficient")
MEAN = Code(value="373098007", scheme="SCT", meaning="Mean")
MILLILITRE = Code(value="ml", scheme="UCUM", meaning="milliliter")
HOUNSFIELD_UNIT = Code(value="[hnsf'U]", scheme="UCUM", meaning="Hounsfield unit")
PERCENT = Code(value="%", scheme="UCUM", meaning="percent")
#: Scheme of concepts that no standard has a code for (PS3.16 section 8: private designators begin with 99).
PRIVATE_SCHEME = "99RADNODE"


def measure(pipeline: Pipeline, volume: Volume, label_map: LabelMap) -> tuple[Finding, ...]:
    """Measure every declared label that is present.

    Parameters
    ----------
    pipeline : Pipeline
        Declares the labels and what is measured on each.
    volume : Volume
        Source voxels, in Hounsfield units (the catalogue lets no other modality measure attenuation).
    label_map : LabelMap
        On the volume's own grid.

    Returns
    -------
    tuple of Finding
        In the order of declaration; a label without a voxel has none.
    """
    findings = []
    for label in pipeline.labels:
        values = volume.array[label_map.array == label.value]
        if not values.size:
            continue
        measurements = tuple(_measured(rule, values, label_map.grid.voxel_ml) for rule in pipeline.measurements)
        findings.append(_finding(label, measurements))
    return tuple(findings)


def check_plausible(pipeline: Pipeline, label_map: LabelMap, findings: tuple[Finding, ...]) -> None:
    """Refuse a result that cannot be true; nothing of it is reported.

    Raises
    ------
    ImplausibleResult
        reason ``label_missing``, ``total_volume``, ``label_volume`` or ``extent``.
    """
    guard, grid = pipeline.plausible, label_map.grid
    found = {finding.label for finding in findings}
    for label in pipeline.labels:
        if label.required and label.value not in found:
            raise ImplausibleResult(f"{label.name} was not found.", reason="label_missing")
    names = {label.value: label.name for label in pipeline.labels if label.value in found}
    voxels = {value: np.count_nonzero(label_map.array == value, axis=(1, 2)) for value in names}
    volumes = {value: float(counts.sum()) * grid.voxel_ml for value, counts in voxels.items()}
    _require(guard.total_volume_ml, sum(volumes.values()), "The volume of all labels", "ml", "total_volume")
    for value, name in names.items():
        _require(guard.label_volume_ml, volumes[value], f"The volume of {name}", "ml", "label_volume")
        slices = np.flatnonzero(voxels[value])
        extent_mm = float(slices[-1] - slices[0] + 1) * grid.spacing_mm[0]
        _require(guard.label_extent_mm, extent_mm, f"The extent of {name} across slices", "mm", "extent")


def _require(span: Span | None, value: float, what: str, unit: str, reason: str) -> None:
    if span is not None and value not in span:
        raise ImplausibleResult(f"{what} is {value:.0f} {unit}, outside of {span} {unit}.", reason=reason)


def _measured(rule: MeasurementRule, values: NDArray[np.float32], voxel_ml: float) -> Measurement:
    """One measurement on the voxels of one label; ``values`` has shape (voxel,) and is not empty."""
    if rule.kind == "volume_ml":
        return Measurement(name=VOLUME, value=values.size * voxel_ml, unit=MILLILITRE)
    if rule.kind == "mean":
        return Measurement(name=ATTENUATION, value=float(values.mean(dtype=np.float64)), unit=HOUNSFIELD_UNIT, derivation=MEAN)
    threshold = float(rule.threshold or 0.0)
    below = 100.0 * float(np.count_nonzero(values < threshold)) / values.size
    return Measurement(name=below_name(threshold), value=below, unit=PERCENT)


def below_name(threshold: float) -> Code:
    """The coded name of the percentage of voxels below a threshold, (PCT_BELOW_-950, 99RADNODE, ...) for the emphysema index.

    Neither DCM nor the subset of SNOMED CT in PS3.16 has a code for it, and an almost fitting code would say something else.
    """
    return Code(value=f"PCT_BELOW_{threshold:g}", scheme=PRIVATE_SCHEME, meaning=f"Percentage of voxels below {threshold:g} HU")


def _finding(label: Label, measurements: tuple[Measurement, ...]) -> Finding:
    return Finding(
        label=label.value,
        name=label.name,
        category=_code(label.category),
        type=_code(label.type),
        laterality=None if label.laterality is None else _code(label.laterality),
        rgb=label.rgb,
        measurements=measurements,
    )


def _code(concept: Concept) -> Code:
    return Code(value=concept.value, scheme=concept.scheme, meaning=concept.meaning)
