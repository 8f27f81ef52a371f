"""The files of a pipeline's inputs -> volumes on one grid that are what the pipeline accepts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pipelines.alignment import Aligned, align
from pipelines.clock import Clock
from pipelines.declaration import Span
from pipelines.errors import GeometryError, NoUsableSeries
from pipelines.geometry import Grid
from pipelines.picture import read_picture
from pipelines.quality import check_quality
from pipelines.result import SeriesFiles
from pipelines.series import read_volume
from pipelines.spec import Limits, Pipeline

#: Limits are inclusive; a length that is written as 1.6 must not fail by the last bit of its norm.
LENGTH_DECIMALS = 4


def read_inputs(pipeline: Pipeline, inputs: Sequence[SeriesFiles], clock: Clock) -> Aligned:
    """Read every input of a pipeline, judge it, and lay it upon the first.

    Parameters
    ----------
    inputs : sequence of SeriesFiles
        One for each input of the pipeline, in its order.
    clock : Clock
        Notes the time of ``volume``, in which the judging and laying upon each other counts, and of ``decode``.

    Raises
    ------
    NoUsableSeries
        reason ``inputs``: another number of series than the pipeline takes.
    IdentityConflict, GeometryError, UnsupportedPixelData
        See `pipelines.series.read_volume`, `pipelines.picture.read_picture`, `check_limits` and `pipelines.alignment.align`.
    QualityError
        See `pipelines.quality.check_quality`.
    """
    if len(inputs) != len(pipeline.inputs):
        raise NoUsableSeries(f"{pipeline.name} takes {len(pipeline.inputs)} series, {len(inputs)} were given.", reason="inputs")
    accept = partial(check_limits, pipeline.limits)
    volumes = [
        (read_picture if given.kind == "image" else read_volume)(files, accept=accept, clock=clock)
        for given, files in zip(pipeline.inputs, inputs, strict=True)
    ]
    with clock.timing("volume"):
        for volume in volumes:
            check_quality(pipeline.quality, volume)
        return align(volumes)


def check_limits(limits: Limits, grid: Grid) -> None:
    """Compare a grid with what the pipeline accepts.

    Raises
    ------
    GeometryError
        reason ``spacing`` (between slices), ``pixel_spacing``, ``coverage`` or ``too_large``.
    """
    slices, rows, columns = (round(step, LENGTH_DECIMALS) for step in grid.spacing_mm)
    _require(limits.slice_spacing_mm, slices, "Slices are {} mm apart", "spacing")
    _require(limits.pixel_spacing_mm, rows, "Rows are {} mm apart", "pixel_spacing")
    _require(limits.pixel_spacing_mm, columns, "Columns are {} mm apart", "pixel_spacing")
    _require(limits.coverage_mm, round(slices * grid.shape[0], LENGTH_DECIMALS), "The slices cover {} mm", "coverage")
    voxels = grid.shape[0] * grid.shape[1] * grid.shape[2]
    if voxels > limits.max_voxels:
        raise GeometryError(f"The series has {voxels} voxels, the limit is {limits.max_voxels}.", reason="too_large")


def _require(span: Span, value: float, what: str, reason: str) -> None:
    if value not in span:
        raise GeometryError(f"{what.format(format(value, 'g'))}; accepted is {span} mm.", reason=reason)
