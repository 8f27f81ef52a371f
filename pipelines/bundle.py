"""Any MONAI bundle, unmodified: DICOM geometry in, a label map on the same geometry out.

The bundle's own ``preprocessing``, ``inferer``, network and ``postprocessing`` run as they are configured. Only the two ends change:
an in-memory reader answers its ``LoadImaged``, and its savers are left out. What comes back is checked, never trusted.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from monai.data import ImageReader, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose, LoadImage, LoadImaged
from monai.utils.enums import MetaKeys, SpaceKeys
from numpy.typing import NDArray

from pipelines.catalog import INFERENCE_CONFIGS
from pipelines.errors import BundleContract, BundleMissing, WrongOutput
from pipelines.geometry import Grid
from pipelines.isolation import OwnModules
from pipelines.result import Volume

#: The "file" that a bundle is told to load; by this name the in-memory reader knows that it is meant.
SOURCE = "volume.radnode"
PRED = "pred"
#: The affine must come back to within this many millimetres.
AFFINE_TOLERANCE_MM = 1e-3
#: Loggers that report the absence of things that are not needed.
CHATTY = ("monai.bundle.workflows", "monai.data.nvimgcodec_pydicom_plugin")
#: What MONAI raises for a configuration that it cannot build.
BUILD_ERRORS = (ImportError, OSError, LookupError, ValueError, TypeError, AttributeError, NameError, RuntimeError)


class VolumeReader(ImageReader):  # type: ignore[misc]  # MONAI is not typed
    """Gives a bundle's ``LoadImaged`` the one volume that is being processed, instead of a file."""

    def __init__(self) -> None:
        super().__init__()
        self.volume: Volume | None = None

    def verify_suffix(self, filename: Any) -> bool:
        """Whether this reader is meant."""
        names = filename if isinstance(filename, list | tuple) else (filename,)
        return all(Path(str(name)).name == SOURCE for name in names)

    def read(self, data: Any, **_: Any) -> Volume:
        """Return the volume itself; there is no file."""
        if self.volume is None:
            raise FileNotFoundError(str(data))
        return self.volume

    def get_data(self, img: Any) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Return the array (column, row, slice) with its RAS affine.

        The affine and ``space`` must agree, or MONAI's ``Orientation`` turns the image by 180 degrees in its plane without a word.
        """
        affine = img.grid.ras_affine
        array = np.ascontiguousarray(img.array.transpose(2, 1, 0))
        meta = {
            MetaKeys.AFFINE: affine.copy(),
            MetaKeys.ORIGINAL_AFFINE: affine.copy(),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.SPATIAL_SHAPE: np.asarray(array.shape),
            # Not a number is MONAI's way to say that there is no channel axis.
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
        }
        return array, meta


class Bundle:
    """One loaded bundle, ready to be used many times.

    Parameters
    ----------
    root : Path
        The bundle's folder.
    overrides : mapping
        From pipeline.toml: configuration id (``network_def#in_channels``) to value.
    device : torch.device
        Where the network runs, and whatever of the transforms the bundle puts there.

    Raises
    ------
    BundleMissing
        There is no inference configuration.
    BundleContract
        reason ``load`` (MONAI cannot build it), ``engine`` (it needs its own evaluation loop) or ``loader`` (no ``LoadImaged``).
    """

    def __init__(self, root: Path, overrides: Mapping[str, Any], device: torch.device) -> None:
        self.root = root.resolve()
        self.device = device
        self._own = OwnModules(self.root)
        self._reader = VolumeReader()
        with self._own.importable(), quiet():
            try:
                self._build(overrides)
            except BUILD_ERRORS as error:
                raise BundleContract(
                    f"MONAI cannot load bundle {self.root.name}: {type(error).__name__}: {error}.", reason="load"
                ) from error

    def predict(
        self, volume: Volume, labels: frozenset[int], inferer: Any = None, *, on_host: bool = False
    ) -> tuple[NDArray[np.uint8], dict[str, float]]:
        """Run the bundle on one volume.

        Parameters
        ----------
        volume : Volume
            Array (slice, row, column).
        labels : frozenset of int
            Labels that may occur, without background.
        inferer : optional
            Instead of the bundle's own.
        on_host : bool
            Leave the image in host memory; the inferer brings its windows to the device.

        Returns
        -------
        array : ndarray, shape (slice, row, column), uint8
            Labels on the volume's own grid.
        seconds : dict of str to float
            Wall time of ``preprocess``, ``network`` and ``postprocess``.

        Raises
        ------
        WrongOutput
            See `to_label_array`.
        """
        seconds: dict[str, float] = {}
        self._reader.volume = volume
        try:
            with self._own.importable(), quiet(), torch.inference_mode():
                sample = self._timed(seconds, "preprocess", lambda: self._preprocessing({self._key: SOURCE}))
                image = sample[self._key]
                output = self._timed(seconds, "network", lambda: self._infer(image, inferer or self.inferer, on_host=on_host))
                meta = {"meta": image.meta, "applied_operations": image.applied_operations} if isinstance(image, MetaTensor) else {}
                sample[PRED] = MetaTensor((output.as_tensor() if isinstance(output, MetaTensor) else output)[0], **meta)
                array = self._timed(seconds, "postprocess", lambda: to_label_array(self._postprocessing(sample)[PRED], volume.grid, labels))
        finally:
            self._reader.volume = None
        return array, seconds

    def _build(self, overrides: Mapping[str, Any]) -> None:
        """Parse the configuration and take out the parts that are run."""
        config = next((path for name in INFERENCE_CONFIGS if (path := self.root / "configs" / name).is_file()), None)
        if config is None:
            raise BundleMissing(f"Bundle {self.root.name} has no inference configuration.", reason="inference")
        ours: dict[str, Any] = {
            "bundle_root": str(self.root),
            "device": self.device,
            "output_dir": str(self.root / "eval"),
            # Never read, but some bundles build a sampler on it, which refuses an empty list.
            "dataset#data": [{"image": SOURCE}],
            "dataloader#num_workers": 0,
        }
        workflow = ConfigWorkflow(config_file=str(config), workflow_type="infer", logging_file=False, **{**ours, **overrides})
        parser = workflow.parser
        # Taken out before they are built: a saver wants a library for its format at once, and we save nothing.
        parser["postprocessing"] = without_savers(parser.get("postprocessing"))
        workflow.initialize()
        evaluator = parser.get_parsed_content("evaluator")
        self.inferer = parser.get_parsed_content("inferer")
        # A bundle with an evaluator of its own (detection, prompts) does more than these three stages show.
        own_inferer = not type(self.inferer).__module__.startswith("monai.inferers")
        if type(evaluator) is not SupervisedEvaluator or own_inferer:
            raise BundleContract(f"Bundle {self.root.name} needs its own evaluation loop; only staged bundles run so far.", reason="engine")
        # The checkpoint was loaded into the evaluator's network; building network_def again would give random weights.
        self._network = evaluator.network.to(self.device).eval()
        self._amp: dict[str, Any] | None = dict(evaluator.amp_kwargs or {}) if evaluator.amp else None
        self._preprocessing = parser.get_parsed_content("preprocessing")
        self._postprocessing = parser.get_parsed_content("postprocessing")
        self._key = self._attach_reader()

    def _attach_reader(self) -> str:
        """Register the in-memory reader with every loader; the last registered one is asked first."""
        loaders = [transform for transform in walk(self._preprocessing) if isinstance(transform, LoadImaged | LoadImage)]
        for loader in loaders:
            loader.register(self._reader)
        keys = [str(key) for loader in loaders if isinstance(loader, LoadImaged) for key in loader.keys]
        if len(keys) != 1:
            raise BundleContract(f"Bundle {self.root.name} loads {len(keys)} images; exactly one is supported.", reason="loader")
        return keys[0]

    def _infer(self, image: Any, inferer: Any, *, on_host: bool) -> Any:
        """An inferer on one sample, under autocast where the bundle asks for it."""
        autocast = nullcontext() if self._amp is None else torch.autocast(self.device.type, **self._amp)
        with autocast:
            output = inferer(image[None].to(torch.device("cpu") if on_host else self.device), self._network)
        return output[0] if isinstance(output, list | tuple) else output

    def _timed(self, seconds: dict[str, float], stage: str, work: Callable[[], Any]) -> Any:
        """Run a stage and note its wall time; a GPU works on after the call returns, so wait for it."""
        started = perf_counter()
        result = work()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        seconds[stage] = perf_counter() - started
        return result


def walk(transform: Any) -> Iterator[Any]:
    """Every transform inside a ``Compose``, which may be nested."""
    if isinstance(transform, Compose):
        for inner in transform.transforms:
            yield from walk(inner)
    else:
        yield transform


def without_savers(config: Any) -> Any:
    """The same configuration without the components that write files (``SaveImaged`` and its kind)."""
    if isinstance(config, list):
        return [without_savers(item) for item in config if not _is_saver(item)]
    if isinstance(config, dict):
        return {key: without_savers(value) for key, value in config.items()}
    return config


def _is_saver(config: Any) -> bool:
    return isinstance(config, dict) and str(config.get("_target_", "")).rpartition(".")[2].startswith("Save")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep MONAI's remarks on what it chose by default out of the log; nothing of ours is silenced."""
    loggers = [logging.getLogger(name) for name in CHATTY]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"monai\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def to_label_array(pred: Any, grid: Grid, labels: frozenset[int]) -> NDArray[np.uint8]:
    """Turn a bundle's output into labels on the source grid, proving each step.

    Parameters
    ----------
    pred : MetaTensor, shape (1, column, row, slice)
        After the bundle's own post-processing.
    grid : Grid
        The source volume's grid.
    labels : frozenset of int
        Labels that may occur, without background.

    Raises
    ------
    WrongOutput
        reason ``no_geometry``, ``shape``, ``affine``, ``not_discrete`` or ``labels``.
    """
    if not isinstance(pred, MetaTensor):
        raise WrongOutput("The bundle's output carries no geometry.", reason="no_geometry")
    wanted = (1, *grid.shape[::-1])
    if tuple(pred.shape) != wanted:
        raise WrongOutput(f"The bundle's output has shape {tuple(pred.shape)}, the source {wanted}.", reason="shape")
    if not np.allclose(pred.affine.cpu().numpy(), grid.ras_affine, rtol=0.0, atol=AFFINE_TOLERANCE_MM):
        raise WrongOutput("The bundle's output does not lie where its input lay.", reason="affine")
    values = pred.as_tensor()[0]
    if values.is_floating_point() and not torch.equal(values, values.round()):
        raise WrongOutput("The bundle's output holds fractions, so it is not a label map.", reason="not_discrete")
    _check_labels(torch.unique(values).tolist(), labels)
    return np.ascontiguousarray(values.to(torch.uint8).cpu().numpy().transpose(2, 1, 0))


def _check_labels(found: Sequence[float], labels: frozenset[int]) -> None:
    strange = [value for value in found if value != 0 and value not in labels]
    if strange:
        raise WrongOutput(f"The bundle gave labels {strange} that pipeline.toml does not declare.", reason="labels")
