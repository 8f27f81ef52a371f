"""One pipeline, warm: series in, findings out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.bundle import Bundle
from pipelines.catalog import Entry, check_digest
from pipelines.errors import BundleContract, GeometryError
from pipelines.geometry import Grid
from pipelines.ladder import Rung, adapted, climb, memory_named, rungs
from pipelines.measure import check_plausible, measure
from pipelines.result import Inference, LabelMap, SeriesFiles, Volume
from pipelines.series import read_volume
from pipelines.spec import Limits, Span

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
            # The same input must give the same labels tomorrow; choosing kernels by timing them would not.
            torch.backends.cudnn.benchmark = False
            torch.backends.cudnn.deterministic = True
            self._bundle = self._loaded_on(self.device)
        return self._bundle

    def _loaded_on(self, device: torch.device) -> Bundle:
        return Bundle(self.entry.bundle, self.entry.pipeline.overrides, device)

    def run(self, *inputs: SeriesFiles) -> Inference:
        """Run the pipeline on the series that it takes.

        Parameters
        ----------
        inputs : SeriesFiles
            One for each input of the pipeline, in its order; the files of one in any order.

        Returns
        -------
        Inference
            ``seconds`` has read, preprocess, network, postprocess and measure.

        Raises
        ------
        IdentityConflict, GeometryError, UnsupportedPixelData
            The series cannot be used: see `pipelines.series.read_volume` and `check_limits`.
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
        (files,) = inputs
        started = perf_counter()
        with memory_named(self.device):
            volume = read_volume(files, accept=partial(check_limits, pipeline.limits))
        read = perf_counter() - started
        (array, stages), rung = climb(self._rungs(), partial(self._predict, volume))
        started = perf_counter()
        with memory_named(self.device):
            label_map = LabelMap(array=array, grid=volume.grid)
            findings = measure(pipeline, volume, label_map)
            check_plausible(pipeline, label_map, findings)
        return Inference(
            pipeline=pipeline.name,
            model=self.entry.model,
            volume=volume,
            output=label_map,
            findings=findings,
            device="cpu" if rung is Rung.CPU else self.device_text,
            seconds={"read": read, **stages, "measure": perf_counter() - started},
            rung=rung,
        )

    def _rungs(self) -> Iterator[Rung]:
        """The steps of the ladder, found as they are needed: what comes second depends on the bundle, once it is loaded."""
        yield Rung.CONFIGURED
        inferer = self._bundle.inferer if self._bundle is not None else None
        yield from (rung for rung in rungs(inferer, self.device) if rung is not Rung.CONFIGURED)

    def _predict(self, volume: Volume, rung: Rung) -> tuple[NDArray[np.uint8], dict[str, float]]:
        with memory_named(self.device):
            bundle = self.load() if rung is not Rung.CPU else self._loaded_on(torch.device("cpu"))
            labels = frozenset(label.value for label in self.entry.pipeline.labels)
            inferer = adapted(bundle.inferer, rung, bundle.device)
            return bundle.predict(volume, labels, inferer, on_host=rung is Rung.HOST_STITCHING)


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
