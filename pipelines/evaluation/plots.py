"""The figures of an outcome, as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.evaluation.detection import RATES
from pipelines.evaluation.outcome import Matrix, Outcome

_DPI = 110


def write_figures(outcome: Outcome, folder: Path) -> list[Path]:
    """Draw what belongs to the task: Dice and volumes of each case, the FROC, or ROC curves and confusion matrices."""
    folder.mkdir(parents=True, exist_ok=True)
    if outcome.task == "segmentation":
        return [_save(_cases(outcome), folder / "dice.png")]
    if outcome.task == "detection":
        return [_save(_froc(outcome), folder / "froc.png")]
    return [_save(_roc(outcome), folder / "roc.png"), _save(_confusion(outcome), folder / "confusion.png")]


def _save(figure: Figure, path: Path) -> Path:
    # Without the version of matplotlib, so that the same numbers give the same file.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    return path


def _cases(outcome: Outcome) -> Figure:
    """Dice of every case, and its volume beside that of the reference."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    dice, volume = figure.subplots(1, 2)
    names = sorted({str(line["label"]) for line in outcome.cases})
    most = 0.0
    for place, name in enumerate(names):
        mine = [line for line in outcome.cases if line["label"] == name]
        values = [line["dice"] for line in mine if isinstance(line["dice"], float)]
        # Spread sideways, so that equal values do not hide each other.
        dice.plot(place + np.linspace(-0.2, 0.2, len(values)), values, "o", markersize=4)
        if values:
            dice.hlines(np.median(values), place - 0.3, place + 0.3, color="black")
        pairs = np.array([[line["reference_ml"], line["output_ml"]] for line in mine], dtype=np.float64)
        volume.plot(pairs[:, 0], pairs[:, 1], "o", markersize=4, label=name)
        most = max(most, float(pairs.max()))
    volume.plot([0, most], [0, most], color="gray", linewidth=1)
    dice.set_xticks(range(len(names)), names, rotation=20 if len(names) > 3 else 0)
    dice.set(ylabel="Dice", ylim=(-0.02, 1.02), title="each case; the bar is the median")
    volume.set(xlabel="reference, ml", ylabel="output, ml", title="volume")
    volume.legend(fontsize="small")
    figure.suptitle(outcome.title)
    return figure


def _froc(outcome: Outcome) -> Figure:
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    for curve in outcome.curves:
        # The axis is logarithmic and has no zero; what was found without any false positive stands at its left end.
        x = np.clip(curve.x, RATES[0], None)
        (line,) = axes.plot(x, curve.y, drawstyle="steps-pre", label=curve.name)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(x, curve.low, curve.high, alpha=0.15, color=line.get_color(), step="pre")
    axes.set_xscale("log", base=2)
    axes.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    axes.set(xlim=(RATES[0], RATES[-1]), ylim=(0, 1.02), xlabel="false positives per scan", ylabel="sensitivity", title=outcome.title)
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    return figure


def _roc(outcome: Outcome) -> Figure:
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    for curve in outcome.curves:
        axes.plot(curve.x, curve.y, label=curve.name)
    axes.plot([0, 1], [0, 1], color="gray", linewidth=1)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title=outcome.title, aspect="equal")
    axes.legend(fontsize="small", loc="lower right")
    axes.grid(alpha=0.3)
    return figure


def _confusion(outcome: Outcome) -> Figure:
    count = len(outcome.matrices)
    wide = min(count, 4)
    figure = Figure(figsize=(max(3.2 * wide, 4.5), 3.6 * -(-count // wide)), layout="constrained")
    for place, matrix in enumerate(outcome.matrices):
        _draw_matrix(figure.add_subplot(-(-count // wide), wide, place + 1), matrix)
    figure.suptitle(outcome.title)
    return figure


def _draw_matrix(axes: Axes, matrix: Matrix) -> None:
    rows = matrix.counts.sum(axis=1, keepdims=True)
    shares = matrix.counts / np.maximum(rows, 1)
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for (row, column), number in np.ndenumerate(matrix.counts):
        axes.text(column, row, str(number), ha="center", va="center", color="white" if shares[row, column] > 0.5 else "black")
    axes.set_xticks(range(len(matrix.classes)), matrix.classes)
    axes.set_yticks(range(len(matrix.classes)), matrix.classes)
    axes.set(xlabel="found", ylabel="true", title=matrix.name)
