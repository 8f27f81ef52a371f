"""What a bundle gave, proved step by step before it becomes a result: where it lies, what values it has, and that all are declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from pipelines.axes import reverse_axes
from pipelines.boxes import to_boxes
from pipelines.errors import WrongOutput
from pipelines.geometry import Grid
from pipelines.result import Channels, LabelMap, Output, Scores
from pipelines.spec import Pipeline
from pipelines.stages import PRED

#: The affine must come back to within this many millimetres.
AFFINE_TOLERANCE_MM = 1e-3
#: A label is one byte.
_MOST_LABEL = 255


def to_output(pipeline: Pipeline, made: Mapping[str, Any], grid: Grid) -> Output:
    """Turn a sample that a bundle has processed into a result.

    Parameters
    ----------
    pipeline : Pipeline
        Says of which kind the result is, and which labels it may have.
    made : mapping
        The sample, as the bundle's postprocessing left it.
    grid : Grid
        The first input's.

    Raises
    ------
    WrongOutput
        See `to_label_map`, `to_channels`, `to_scores` and `pipelines.boxes.to_boxes`; reason ``no_pred`` without a prediction.
    """
    labels = tuple(sorted(label.value for label in pipeline.labels))
    if pipeline.outputs.kind == "boxes":
        return to_boxes(made, labels, grid)
    if PRED not in made:
        raise WrongOutput("The bundle gave no prediction.", reason="no_pred")
    makers: dict[str, Callable[[Any, Sequence[int], Grid], Output]] = {
        "labelmap": to_label_map,
        "channels": to_channels,
        "scores": to_scores,
    }
    return makers[pipeline.outputs.kind](made[PRED], labels, grid)


def to_label_map(pred: Any, labels: Sequence[int], grid: Grid) -> LabelMap:
    """Make a label map.

    Parameters
    ----------
    pred : MetaTensor, shape (1, column, row, slice)
        After the bundle's own post-processing.
    labels : sequence of int
        Labels that may occur, without background.
    grid : Grid
        The source volume's grid.

    Raises
    ------
    WrongOutput
        reason ``no_geometry``, ``shape``, ``affine``, ``not_discrete`` or ``labels``.
    """
    values = _placed(pred, 1, grid)[0]
    strange: list[float] = []
    if min(values.shape) and not 0 <= values.min() <= values.max() <= _MOST_LABEL:
        strange = [value for value in torch.unique(values).tolist() if value not in (0, *labels)]
    else:
        # As bytes first: to look for what occurs in a whole volume of 32 bit numbers takes longer than many a network.
        array = reverse_axes(values.to(torch.uint8).cpu().numpy())
        label_map = LabelMap(array=array, grid=grid)
        strange = sorted(label_map.present() - set(labels))
    if strange:
        raise WrongOutput(f"The bundle gave labels {strange} that pipeline.toml does not declare.", reason="labels")
    return label_map


def to_channels(pred: Any, labels: Sequence[int], grid: Grid) -> Channels:
    """Make masks that may overlap; the channel's index is the label.

    Parameters
    ----------
    pred : MetaTensor, shape (channel, column, row, slice)
        0 and 1, after the bundle's own post-processing.
    labels : sequence of int
        One for each channel.
    grid : Grid
        The source volume's grid.

    Raises
    ------
    WrongOutput
        reason ``no_geometry``, ``shape``, ``affine``, ``not_discrete`` or ``labels``.
    """
    if tuple(labels) != tuple(range(len(labels))):
        raise WrongOutput(f"The channels of the output are numbered from 0; pipeline.toml declares {list(labels)}.", reason="labels")
    values = _placed(pred, len(labels), grid)
    strange = [value for value in torch.unique(values).tolist() if value not in (0, 1)]
    if strange:
        raise WrongOutput(f"The bundle's channels hold {strange}, which are no masks of 0 and 1.", reason="labels")
    return Channels(array=np.ascontiguousarray(values.to(torch.bool).cpu().numpy().transpose(0, 3, 2, 1)), labels=tuple(labels), grid=grid)


def to_scores(pred: Any, labels: Sequence[int], grid: Grid) -> Scores:
    """Make one number for each label, in the order of their values.

    Raises
    ------
    WrongOutput
        reason ``shape`` (another number of them) or ``not_finite``.
    """
    values = torch.as_tensor(pred).detach().double().cpu().reshape(-1).tolist()
    if len(values) != len(labels):
        raise WrongOutput(f"The bundle gave {len(values)} numbers, pipeline.toml declares {len(labels)}.", reason="shape")
    if not all(np.isfinite(values)):
        raise WrongOutput("The bundle gave something that is not a number.", reason="not_finite")
    return Scores(values=dict(zip(labels, values, strict=True)), grid=grid)


def _placed(pred: Any, channels: int, grid: Grid) -> torch.Tensor:
    """Whole numbers that lie exactly where the source lies; shape (channel, column, row, slice)."""
    if not isinstance(pred, MetaTensor):
        raise WrongOutput("The bundle's output carries no geometry.", reason="no_geometry")
    wanted = (channels, *grid.shape[::-1])
    if tuple(pred.shape) != wanted:
        raise WrongOutput(f"The bundle's output has shape {tuple(pred.shape)}, the source {wanted}.", reason="shape")
    if not np.allclose(pred.affine.cpu().numpy(), grid.ras_affine, rtol=0.0, atol=AFFINE_TOLERANCE_MM):
        raise WrongOutput("The bundle's output does not lie where its input lay.", reason="affine")
    values: torch.Tensor = pred.as_tensor()
    if values.is_floating_point() and not torch.equal(values, values.round()):
        raise WrongOutput("The bundle's output holds fractions, so it is not a label map.", reason="not_discrete")
    return values
