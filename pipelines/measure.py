"""Output -> findings with coded measurements, and the guards that keep an impossible result from being reported."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ImplausibleResult, WrongOutput
from pipelines.result import Box, Boxes, Code, Finding, LabelMap, Masks, Measurement, Output, Scores, Volume
from pipelines.spec import Concept, Label, MeasurementRule, Pipeline, Span

VOLUME = Code(value="118565006", scheme="SCT", meaning="Volume")
ATTENUATION = Code(value="112031", scheme="DCM", meaning="Attenuation Coefficient")
MR_SIGNAL = Code(value="110852", scheme="DCM", meaning="MR signal intensity")
DIAMETER = Code(value="81827009", scheme="SCT", meaning="Diameter")
MEAN = Code(value="373098007", scheme="SCT", meaning="Mean")
MAXIMUM = Code(value="56851009", scheme="SCT", meaning="Maximum")
MILLILITRE = Code(value="ml", scheme="UCUM", meaning="milliliter")
MILLIMETRE = Code(value="mm", scheme="UCUM", meaning="millimeter")
HOUNSFIELD_UNIT = Code(value="[hnsf'U]", scheme="UCUM", meaning="Hounsfield unit")
#: MR scanners scale their signal as they like: PS3.16 CID 7181 offers no unit that two of them would share.
ARBITRARY_UNIT = Code(value="[arb'U]", scheme="UCUM", meaning="arbitrary unit")
PERCENT = Code(value="%", scheme="UCUM", meaning="percent")
#: UCUM's annotations of the unit 1; "0.9 1" is not what a viewer should show.
OF_SCORES = Code(value="{score}", scheme="UCUM", meaning="score")
OF_IMAGES = Code(value="{image}", scheme="UCUM", meaning="image")
#: Scheme of concepts that no standard has a code for (PS3.16 section 8: private designators begin with 99).
PRIVATE_SCHEME = "99RADNODE"
#: (111012, DCM, "Certainty of Finding") and (122157, DCM, "Probability") would promise what a model's score does not hold.
SCORE = Code(value="MODEL_SCORE", scheme=PRIVATE_SCHEME, meaning="Score of the model")
#: The sides of a box along the axes of the patient, for which PS3.16 has no codes: its width and height are those of an image.
BOX_SIDES = tuple(
    Code(value=f"BOX_{axis}", scheme=PRIVATE_SCHEME, meaning=f"Size of the box, {between}")
    for axis, between in (("LR", "left to right"), ("AP", "anterior to posterior"), ("HF", "head to foot"))
)


def measure(pipeline: Pipeline, volume: Volume, output: Output) -> tuple[Finding, ...]:
    """Turn what a bundle gave into findings.

    Parameters
    ----------
    pipeline : Pipeline
        Declares the labels and what is measured on each.
    volume : Volume
        Source voxels of the first input, in modality units.
    output : LabelMap, Channels, Boxes or Scores
        On the volume's own grid.

    Returns
    -------
    tuple of Finding
        Of masks: one for each label that has a voxel, in the order of declaration. Of boxes: one for each box that scores
        ``outputs.min_score`` or more, the highest score of each label first. Of scores: one for each label.

    Raises
    ------
    WrongOutput
        reason ``labels``, ``box`` or ``score``: boxes or scores that are not of the declared labels, or no numbers.
    """
    if isinstance(output, Boxes):
        return _find_boxes(pipeline, output)
    if isinstance(output, Scores):
        return _find_scores(pipeline, output)
    findings = []
    for label in pipeline.labels:
        values = volume.array[output.mask(label.value)]
        if not values.size:
            continue
        measurements = tuple(_measured(rule, values, output.grid.voxel_ml, pipeline) for rule in pipeline.measurements)
        findings.append(describe(label, measurements))
    return tuple(findings)


def check_plausible(pipeline: Pipeline, output: Output, findings: tuple[Finding, ...]) -> None:
    """Refuse a result that cannot be true; nothing of it is reported.

    Raises
    ------
    ImplausibleResult
        reason ``label_missing``, ``total_volume``, ``label_volume``, ``extent`` or ``outside`` (a box whose centre is not in the images).
    """
    found = {finding.label for finding in findings}
    for label in pipeline.labels:
        if label.required and label.value not in found:
            raise ImplausibleResult(f"{label.name} was not found.", reason="label_missing")
    if isinstance(output, Boxes):
        for finding in findings:
            if finding.box is not None and not _is_inside(finding.box, output):
                raise ImplausibleResult(f"The centre of {finding.name} lies outside of the images.", reason="outside")
    elif not isinstance(output, Scores):
        _check_volumes(pipeline, output, {label.value: label.name for label in pipeline.labels if label.value in found})


def _check_volumes(pipeline: Pipeline, masks: Masks, names: dict[int, str]) -> None:
    guard, grid = pipeline.plausible, masks.grid
    voxels = {value: np.count_nonzero(masks.mask(value), axis=(1, 2)) for value in names}
    volumes = {value: float(counts.sum()) * grid.voxel_ml for value, counts in voxels.items()}
    # where channels overlap, a voxel counts once
    total = sum(volumes.values()) if isinstance(masks, LabelMap) else np.count_nonzero(masks.array.any(axis=0)) * grid.voxel_ml
    _require(guard.total_volume_ml, total, "The volume of all labels", "ml", "total_volume")
    for value, name in names.items():
        _require(guard.label_volume_ml, volumes[value], f"The volume of {name}", "ml", "label_volume")
        slices = np.flatnonzero(voxels[value])
        extent_mm = float(slices[-1] - slices[0] + 1) * grid.spacing_mm[0]
        _require(guard.label_extent_mm, extent_mm, f"The extent of {name} across slices", "mm", "extent")


def _require(span: Span | None, value: float, what: str, unit: str, reason: str) -> None:
    if span is not None and value not in span:
        raise ImplausibleResult(f"{what} is {value:.0f} {unit}, outside of {span} {unit}.", reason=reason)


def _measured(rule: MeasurementRule, values: NDArray[np.float32], voxel_ml: float, pipeline: Pipeline) -> Measurement:
    """One measurement on the voxels of one label; ``values`` has shape (voxel,) and is not empty."""
    if rule.kind == "volume_ml":
        return Measurement(name=VOLUME, value=values.size * voxel_ml, unit=MILLILITRE)
    if rule.kind == "mean":
        name, unit = (MR_SIGNAL, ARBITRARY_UNIT) if pipeline.inputs[0].modality == ("MR",) else (ATTENUATION, HOUNSFIELD_UNIT)
        return Measurement(name=name, value=float(values.mean(dtype=np.float64)), unit=unit, derivation=MEAN)
    threshold = float(rule.threshold or 0.0)
    below = 100.0 * float(np.count_nonzero(values < threshold)) / values.size
    return Measurement(name=below_name(threshold), value=below, unit=PERCENT)


def below_name(threshold: float) -> Code:
    """The coded name of the percentage of voxels below a threshold, (PCT_BELOW_-950, 99RADNODE, ...) for the emphysema index.

    Neither DCM nor the subset of SNOMED CT in PS3.16 has a code for it, and an almost fitting code would say something else.
    """
    return Code(value=f"PCT_BELOW_{threshold:g}", scheme=PRIVATE_SCHEME, meaning=f"Percentage of voxels below {threshold:g} HU")


def _find_boxes(pipeline: Pipeline, output: Boxes) -> tuple[Finding, ...]:
    for box in output.boxes:
        _check_box(box, {label.value for label in pipeline.labels})
    findings = []
    for label in pipeline.labels:
        kept = [box for box in output.boxes if box.label == label.value and box.score >= pipeline.outputs.min_score]
        for number, box in enumerate(sorted(kept, key=lambda box: -box.score), start=1):
            measurements = [_measured_on_box(rule, box) for rule in pipeline.measurements]
            score = Measurement(name=SCORE, value=box.score, unit=OF_SCORES)
            findings.append(describe(label, (*sum(measurements, ()), score), number, box))
    return tuple(findings)


def _check_box(box: Box, labels: set[int]) -> None:
    if box.label not in labels:
        raise WrongOutput(f"The model gave a box of label {box.label}, which pipeline.toml does not declare.", reason="labels")
    if not all(map(math.isfinite, (*box.center_mm, *box.size_mm))) or min(box.size_mm) <= 0.0:
        raise WrongOutput("The model gave a box whose place or size is no number, or whose size is not positive.", reason="box")
    if not 0.0 <= box.score <= 1.0:
        raise WrongOutput(f"The model gave a box the score {box.score:g}, which is not between 0 and 1.", reason="score")


def _measured_on_box(rule: MeasurementRule, box: Box) -> tuple[Measurement, ...]:
    """What a rule gives of a box: its largest side as diameter, or its three sides."""
    if rule.kind == "diameter_mm":
        return (Measurement(name=DIAMETER, value=max(box.size_mm), unit=MILLIMETRE, derivation=MAXIMUM),)
    return tuple(Measurement(name=name, value=size, unit=MILLIMETRE) for name, size in zip(BOX_SIDES, box.size_mm, strict=True))


def _is_inside(box: Box, output: Boxes) -> bool:
    """Tell whether the centre of a box lies in a voxel of the grid."""
    index = np.linalg.solve(output.grid.affine, np.asarray([*box.center_mm, 1.0]))[:3]
    return bool(np.all(index >= -0.5) and np.all(index <= np.asarray(output.grid.shape) - 0.5))


def _find_scores(pipeline: Pipeline, output: Scores) -> tuple[Finding, ...]:
    declared = {label.value for label in pipeline.labels}
    if set(output.values) != declared:
        raise WrongOutput(
            f"The model gave scores of {sorted(output.values)}, pipeline.toml declares labels {sorted(declared)}.", reason="labels"
        )
    if not all(map(math.isfinite, output.values.values())):
        raise WrongOutput("The model gave a score that is not a finite number.", reason="score")
    return tuple(
        describe(label, (Measurement(name=score_name(label), value=output.values[label.value], unit=OF_SCORES),))
        for label in pipeline.labels
    )


def score_name(label: Label) -> Code:
    """The coded name of the score of a finding, (SCORE_..., 99RADNODE, "Score of the model: Pleural effusion").

    Viewers show the names of numbers and not what they are about, so each type of finding, and each side of it, has its own.
    """
    return _own_name("SCORE", f"{SCORE.meaning}: ", label)


def images_without(label: Label, images: int) -> Measurement:
    """The number that says that nothing was found, (NONE_..., 99RADNODE, "Images without: Lung nodule") = all of them.

    A count of what was found would be 0, which OHIF shows as no number at all.
    """
    return Measurement(name=_own_name("NONE", "Images without: ", label), value=float(images), unit=OF_IMAGES)


def _own_name(prefix: str, words: str, label: Label) -> Code:
    """A code of our own that depends on what a label stands for, in 16 and 64 characters (PS3.5 Table 6.2-1, SH and LO)."""
    concepts = [label.type] if label.laterality is None else [label.type, label.laterality]
    digest = hashlib.sha256("|".join(f"{concept.scheme}|{concept.value}" for concept in concepts).encode()).hexdigest()
    return Code(value=f"{prefix}_{digest[:10]}", scheme=PRIVATE_SCHEME, meaning=(words + label.name)[:64])


def describe(label: Label, measurements: tuple[Measurement, ...] = (), number: int = 1, box: Box | None = None) -> Finding:
    """Say what a label stands for, with what was measured on it; with nothing, it is what was looked for.

    A box carries its number in its name, "Lung nodule 1": there may be several of one label.
    """
    return Finding(
        label=label.value,
        name=label.name if box is None else f"{label.name} {number}",
        category=_code(label.category),
        type=_code(label.type),
        laterality=None if label.laterality is None else _code(label.laterality),
        rgb=label.rgb,
        measurements=measurements,
        number=number,
        box=box,
    )


def _code(concept: Concept) -> Code:
    return Code(value=concept.value, scheme=concept.scheme, meaning=concept.meaning)
