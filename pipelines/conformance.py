"""Does a bundle bring what its network sees back to where it was? Tested before any patient's image, without a trained network.

The network is replaced by one that shows what it is shown, and a volume with a known object goes through the bundle's own preprocessing,
inferer and postprocessing: axial and oblique, with anisotropic voxels, each input with an object of its own. A flip, a lost inversion,
exchanged channels, fractional labels: each shows itself here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch

from pipelines.boxes import KEYS
from pipelines.bundle import Bundle
from pipelines.catalog import Entry
from pipelines.checks import Check, Report, dice_of
from pipelines.configuration import BUILD_ERRORS
from pipelines.ellipsoids import Known, Scene, make_known
from pipelines.errors import CodedError
from pipelines.identity import IdentityDetector, IdentityNetwork
from pipelines.result import Boxes, Channels, LabelMap, Scores
from pipelines.spec import Pipeline
from pipelines.stages import Means

#: Resampling to a bundle's own spacing and back costs a few per cent of the overlap; a mistake costs most of it.
LEAST_DICE = 0.9
#: A box that was resampled may be off by this much.
BOX_TOLERANCE_MM = 3.0
OBLIQUE_DEGREES = 12.0
#: Modalities of images that are no slices.
PROJECTIONS = {"CR", "DX", "MG", "RF", "XA", "PX", "IO"}
#: Of a bundle with several inputs, so many labels are shown at most.
MOST_LABELS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One run: the slices' angle, and which label shows the object of which input."""

    degrees: float
    wiring: dict[int, int]

    @property
    def name(self) -> str:
        """For people."""
        return f"oblique by {self.degrees:g} degrees" if self.degrees else "axial"


def conform(entry: Entry, device: str = "cpu", scene: Scene = "body") -> Report:
    """Test one pipeline.

    Parameters
    ----------
    entry : Entry
        Of the catalogue; its bundle is loaded, weights and all.
    device : str
        ``cpu`` or ``cuda:N``.
    scene : str
        What the object lies in; see `pipelines.ellipsoids.make_known`. Radiographs are known by their modality.

    Returns
    -------
    Report
        A fault of the bundle is a check that did not pass, never an exception.
    """
    pipeline = entry.pipeline
    try:
        bundle = Bundle(entry.bundle, pipeline, torch.device(device))
    except CodedError as error:
        return Report(pipeline=pipeline.name, checks=(Check(name="load", passed=False, number=None, sentence=str(error)),))
    if not bundle.is_learned:
        sentence = "The network has no weights that could be wrong or replaced: only the known case can show that its geometry is right."
        return Report(pipeline=pipeline.name, checks=(Check(name="identity", passed=True, number=None, sentence=sentence),))
    if set(pipeline.inputs[0].modality) <= PROJECTIONS:
        scene = "radiograph"
    checks = tuple(check for one in passes_of(pipeline) for check in _run(bundle, one, scene))
    return Report(pipeline=pipeline.name, checks=checks)


def passes_of(pipeline: Pipeline) -> Iterator[Pass]:
    """Which runs show every input, and of one input the first, middle and last label; axial and oblique in turn."""
    labels = sorted(label.value for label in pipeline.labels)
    inputs = range(len(pipeline.inputs))
    angles = cycle((0.0, OBLIQUE_DEGREES))
    if len(inputs) == 1:
        chosen = sorted({labels[0], labels[len(labels) // 2], labels[-1]})
        for label in islice(cycle(chosen), max(2, len(chosen))):
            yield Pass(degrees=next(angles), wiring={label: 0})
        return
    at_once = min(len(labels), len(inputs))
    count = max(2, -(-max(len(inputs), min(len(labels), MOST_LABELS)) // at_once))
    for first in range(0, count * at_once, at_once):
        shown, sources = (islice(cycle(values), first, first + at_once) for values in (labels, inputs))
        yield Pass(degrees=next(angles), wiring=dict(zip(shown, sources, strict=True)))


def _run(bundle: Bundle, one: Pass, scene: Scene) -> Iterator[Check]:
    pipeline = bundle.pipeline
    is_ct = [given.modality == ("CT",) for given in pipeline.inputs]
    known = [make_known(number, is_ct=each, degrees=one.degrees, scene=scene) for number, each in enumerate(is_ct)]
    try:
        output, _ = bundle.predict([each.volume for each in known], Means(stand_in=partial(_stand_in, bundle, one, known[0].share)))
    except (CodedError, *BUILD_ERRORS) as error:
        yield Check(name=f"{one.name}: output", passed=False, number=None, sentence=_words(error))
        return
    if isinstance(output, Boxes):
        yield from _judge_boxes(output, one, known[0])
    elif isinstance(output, Scores):
        yield from _judge_scores(pipeline, output, one)
    else:
        yield from _judge_masks(pipeline, output, one, known)


def _stand_in(bundle: Bundle, one: Pass, share: float, image: torch.Tensor) -> tuple[torch.nn.Module, Any]:
    pipeline = bundle.pipeline
    labels = sorted(label.value for label in pipeline.labels)
    if pipeline.outputs.kind == "boxes" and pipeline.mode == "engine":
        detector = getattr(bundle.own_inferer, "detector", None)
        names = [str(getattr(detector, name, "")) for name in ("target_box_key", "target_label_key", "pred_score_key")]
        return bundle.network, IdentityDetector(names if all(names) else KEYS[0], labels[0], share)
    channels = len(labels) if pipeline.outputs.kind in {"channels", "scores"} else labels[-1] + 1
    prompts = {label: label for label in range(channels)}
    pooled = pipeline.outputs.kind == "scores"
    return IdentityNetwork(image, one.wiring, channels, prompts, bundle.network, share=share, pooled=pooled), None


def _judge_masks(pipeline: Pipeline, output: LabelMap | Channels, one: Pass, known: Sequence[Known]) -> Iterator[Check]:
    names = {label.value: label.name for label in pipeline.labels}
    for label, source in one.wiring.items():
        dice = dice_of(output.mask(label), known[source].mask)
        where = pipeline.inputs[source].name
        yield Check(
            name=f"{one.name}: {names[label]} from {where}",
            passed=dice >= LEAST_DICE,
            number=dice,
            sentence=f"The object of {where} comes back as {names[label]}, where it was, with a Dice coefficient of {dice:.3f}.",
        )
    others = sorted(output.present() - set(one.wiring))
    yield Check(
        name=f"{one.name}: labels",
        passed=not others,
        number=float(len(others)),
        sentence=f"Labels {others} came out although the network did not give them." if others else "No other label came out.",
    )


def _judge_scores(pipeline: Pipeline, output: Scores, one: Pass) -> Iterator[Check]:
    """Numbers have no geometry, but they have an order."""
    names = {label.value: label.name for label in pipeline.labels}
    for label in one.wiring:
        others = [value for other, value in output.values.items() if other not in one.wiring]
        ahead = output.values[label] - max(others, default=float("-inf"))
        yield Check(
            name=f"{one.name}: {names[label]}",
            passed=ahead > 0,
            number=output.values[label],
            sentence=f"The number of {names[label]} is {output.values[label]:g}, that of the others {max(others, default=0.0):g} at most.",
        )


def _judge_boxes(output: Boxes, one: Pass, known: Known) -> Iterator[Check]:
    """The box in the patient that holds the object, against the one that came out."""
    corners = np.argwhere(known.mask)
    low, high = corners.min(axis=0), corners.max(axis=0) + 1
    ends = np.array([(i, j, k, 1.0) for i in (low[0], high[0]) for j in (low[1], high[1]) for k in (low[2], high[2])])
    points = (known.volume.grid.affine @ ends.T)[:3]
    wanted = np.concatenate([(points.min(axis=1) + points.max(axis=1)) / 2, points.max(axis=1) - points.min(axis=1)])
    found = [np.array([*box.center_mm, *box.size_mm]) for box in output.boxes]
    off = float(np.abs(found[0] - wanted).max()) if len(found) == 1 else float("inf")
    yield Check(
        name=f"{one.name}: box",
        passed=off <= BOX_TOLERANCE_MM,
        number=off,
        sentence=f"{len(found)} boxes came out for one object; centre and size of the first are off by {off:.1f} mm at most.",
    )


def _words(error: BaseException) -> str:
    """What went wrong: one of our sentences, or what a transform of the bundle met at last."""
    if isinstance(error, CodedError):
        return str(error)
    while error.__cause__ is not None:
        error = error.__cause__
    return f"The bundle cannot process the known object: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
