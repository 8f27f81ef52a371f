"""One pipeline, warm: series in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch

from pipelines.alignment import align
from pipelines.bundle import Bundle
from pipelines.catalog import Entry, check_digest
from pipelines.clock import Clock
from pipelines.errors import BundleContract, GeometryError, NoUsableSeries
from pipelines.geometry import Grid
from pipelines.ladder import Rung, adapted, climb, memory_named, rungs
from pipelines.measure import check_plausible, measure
from pipelines.result import Inference, Output, SeriesFiles, Volume
from pipelines.series import read_volume
from pipelines.spec import Limits, Pipeline, Span
from pipelines.stages import Means

#: Limits are inclusive; a length that is written as 1.6 must not fail by the last bit of its norm.
LENGTH_DECIMALS = 4


class Runner:
    """Runs one pipeline on one device; the bundle is loaded at the first run and kept.

    Parameters
    ----------
    entry : Entry
        An available pipeline of the catalogue.
    device : str
        ``auto`` (CUDA when there is one), ``cpu`` or ``cuda:N``.

    Raises
    ------
    BundleContract
        reason ``device``: torch does not know the device.
    """

    def __init__(self, entry: Entry, device: str = "auto") -> None:
        self.entry = entry
        self.device = place_of(device)
        self._bundle: Bundle | None = None

    @property
    def device_text(self) -> str:
        """The device for people: ``cpu`` or ``cuda:0 (NVIDIA H200)``."""
        if self.device.type != "cuda":
            return str(self.device)
        return f"{self.device} ({torch.cuda.get_device_name(self.device)})"

    def load(self) -> Bundle:
        """Load the bundle, or return the one that is loaded; its files are compared with the pinned digest right before.

        Raises
        ------
        DigestMismatch, BundleMissing, BundleContract
            See `pipelines.catalog.check_digest` and `pipelines.bundle.Bundle`.
        """
        if self._bundle is None:
            check_digest(self.entry.bundle)
            self._bundle = self._loaded_on(self.device)
            # The same input must give the same labels tomorrow; choosing kernels by timing them, as many bundles ask for, would not.
            torch.backends.cudnn.benchmark = False
            torch.backends.cudnn.deterministic = True
        return self._bundle

    def _loaded_on(self, device: torch.device) -> Bundle:
        return Bundle(self.entry.bundle, self.entry.pipeline, device)

    def run(self, *inputs: SeriesFiles) -> Inference:
        """Run the pipeline on the series that it takes.

        Parameters
        ----------
        inputs : SeriesFiles
            One for each input of the pipeline, in its order; the files of one in any order.

        Returns
        -------
        Inference
            ``seconds`` has decode, volume (headers, order and place of the slices), what `pipelines.bundle.Bundle.predict` has, and
            measure.

        Raises
        ------
        IdentityConflict, GeometryError, UnsupportedPixelData
            The series cannot be used: see `pipelines.series.read_volume`, `check_limits` and `pipelines.alignment.align`.
        NoUsableSeries
            reason ``inputs``: another number of series than the pipeline takes.
        DigestMismatch, BundleMissing, BundleContract, WrongOutput
            The model cannot be used.
        ImplausibleResult
            The result cannot be true.
        OutOfMemory
            Memory did not suffice, by no step of `pipelines.ladder`.
        DeviceLost
            The device failed.
        """
        pipeline = self.entry.pipeline
        check_inputs(pipeline, len(inputs))
        clock = Clock()
        with memory_named(self.device):
            aligned = align([read_volume(files, accept=partial(check_limits, pipeline.limits), clock=clock) for files in inputs])
            volumes = aligned.volumes
        (output, stages, network_by), rung = climb(self._rungs(), partial(self._predict, volumes))
        after = Clock()
        with memory_named(self.device), after.timing("measure"):
            findings = measure(pipeline, volumes[0], output)
            check_plausible(pipeline, output, findings)
        return Inference(
            pipeline=pipeline.name,
            model=self.entry.model,
            volume=volumes[0],
            others=tuple(volumes[1:]),
            output=output,
            findings=findings,
            device="cpu" if rung is Rung.CPU else self.device_text,
            seconds={**clock.seconds, **stages, **after.seconds},
            rung=rung,
            registration=aligned.registration,
            network_by=network_by,
        )

    def _rungs(self) -> Iterator[Rung]:
        """The steps of the ladder, found as they are needed: what comes second depends on the bundle, once it is loaded."""
        yield Rung.CONFIGURED
        inferer = self._bundle.inferer if self._bundle is not None else None
        yield from (rung for rung in rungs(inferer, self.device) if rung is not Rung.CONFIGURED)

    def _predict(self, volumes: Sequence[Volume], rung: Rung) -> tuple[Output, dict[str, float], str]:
        with memory_named(self.device):
            bundle = self.load() if rung is not Rung.CPU else self._loaded_on(torch.device("cpu"))
            inferer = adapted(bundle.inferer, rung, bundle.device)
            output, seconds = bundle.predict(volumes, Means(inferer=inferer, on_host=rung is Rung.HOST_STITCHING))
            return output, seconds, bundle.network_by


def place_of(device: str) -> torch.device:
    """Which device ``auto``, ``cpu`` or ``cuda:N`` is, on this machine.

    Raises
    ------
    BundleContract
        reason ``device``: torch does not know it.
    """
    chosen = ("cuda:0" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        return torch.device("cuda:0" if chosen == "cuda" else chosen)
    except RuntimeError as error:
        raise BundleContract(f"{device!r} is no device; use auto, cpu or cuda:N.", reason="device") from error


def check_inputs(pipeline: Pipeline, given: int) -> None:
    """Refuse to run on another number of series than the pipeline takes.

    Raises
    ------
    NoUsableSeries
        reason ``inputs``.
    """
    if given != len(pipeline.inputs):
        raise NoUsableSeries(f"{pipeline.name} takes {len(pipeline.inputs)} series, {given} were given.", reason="inputs")


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
