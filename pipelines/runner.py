"""One pipeline, warm: series in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch

from pipelines.bundle import Bundle
from pipelines.catalog import Entry, check_digest
from pipelines.clock import Clock
from pipelines.errors import BundleContract
from pipelines.inputs import read_inputs
from pipelines.ladder import Rung, adapted, climb, memory_named, rungs
from pipelines.measure import check_plausible, measure
from pipelines.result import Inference, Output, SeriesFiles, Volume
from pipelines.stages import Means


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
        IdentityConflict, GeometryError, UnsupportedPixelData, QualityError, NoUsableSeries
            The series cannot be used: see `pipelines.inputs.read_inputs`.
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
        clock = Clock()
        with memory_named(self.device):
            aligned = read_inputs(pipeline, inputs, clock)
        (output, stages, network_by), rung = climb(self._rungs(), partial(self._predict, aligned.volumes))
        after = Clock()
        with memory_named(self.device), after.timing("measure"):
            findings = measure(pipeline, aligned.volumes[0], output)
            check_plausible(pipeline, output, findings)
        return Inference(
            pipeline=pipeline.name,
            model=self.entry.model,
            volume=aligned.volumes[0],
            others=aligned.volumes[1:],
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
