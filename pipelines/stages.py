"""Mode "stages": preprocessing, inferer and network, postprocessing, each as the bundle has it, one after the other.

What MONAI's own ``SupervisedEvaluator`` does with a sample, taken apart: each stage has its time, the inferer may be adapted to the memory
that there is, and nothing runs that is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, Invertd

from pipelines.backend import Choice, choose
from pipelines.clock import Clock
from pipelines.errors import BundleContract
from pipelines.inversion import InvertArgmaxd, fuse
from pipelines.spec import Speed
from pipelines.stopwatch import time_network
from pipelines.upload import with_upload

IMAGE, PRED = "image", "pred"
#: Given the preprocessed image, (channel, X, Y, Z): what stands for the bundle's network, and for its inferer where that must go too.
StandIn = Callable[[torch.Tensor], tuple[torch.nn.Module, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """With what a sample is run, where it is not what the bundle configured.

    Attributes
    ----------
    inferer : optional
        Instead of the bundle's own.
    on_host : bool
        Leave the image in host memory; the inferer brings its windows to the device.
    stand_in : callable, optional
        See `StandIn`.
    """

    inferer: Any = None
    on_host: bool = False
    stand_in: StandIn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What was built of a bundle.

    Attributes
    ----------
    evaluator
        With the network that the checkpoint was loaded into; building ``network_def`` again would give random weights.
    preprocessing, postprocessing
        Callables on a sample; the postprocessing without savers, or None.
    collate
        Makes a batch of a list of samples, as the bundle's data loader does.
    device : torch.device
        Where the network is.
    """

    evaluator: Any
    preprocessing: Any
    postprocessing: Any
    collate: Callable[[list[Any]], Any]
    device: torch.device


class Stages:
    """Runs a bundle stage by stage.

    Parameters
    ----------
    parts : Parts
        Of the bundle.
    speed : Speed
        What the pipeline asks for, so that the same is computed in less time.
    """

    def __init__(self, parts: Parts, speed: Speed) -> None:
        self._parts = parts
        self._post = fuse(parts.postprocessing) if speed.argmax_in_slices else parts.postprocessing
        on_device = speed.transforms_on_device and parts.device.type != "cpu"
        self._pre = with_upload(parts.preprocessing, parts.device) if on_device else parts.preprocessing
        self._backend = speed.backend
        self._choice = Choice(network=None, said="torch")
        self.inferer: Any = parts.evaluator.inferer
        self._network = parts.evaluator.network.to(parts.device).eval()
        # As MONAI does: its autocast is CUDA's, and does nothing on a CPU.
        is_reduced = parts.evaluator.amp and parts.device.type == "cuda"
        self._amp: dict[str, Any] | None = dict(parts.evaluator.amp_kwargs or {}) if is_reduced else None

    def run(self, sample: dict[str, Any], clock: Clock, means: Means) -> dict[str, Any]:
        """Take one sample through the stages, and return it with ``pred``.

        Raises
        ------
        BundleContract
            reason ``image``: the preprocessing gives no ``image``.
        """
        made = clock.time("preprocess", lambda: self._pre(sample))
        image = image_of(made)
        inferer = means.inferer or self.inferer
        if means.stand_in is not None:
            network, other = means.stand_in(image)
            inferer = other or inferer
        else:
            network = self._chosen(image)
        device = torch.device("cpu") if means.on_host else self._parts.device
        batch = clock.time("upload", lambda: (image if isinstance(image, torch.Tensor) else torch.as_tensor(image))[None].to(device))
        output = time_network(clock, network, "stitch", lambda: self._infer(batch, network, inferer), self._parts.device)
        meta = {"meta": image.meta, "applied_operations": image.applied_operations} if isinstance(image, MetaTensor) else {}
        made[PRED] = MetaTensor((output.as_tensor() if isinstance(output, MetaTensor) else output)[0], **meta)
        return made if self._post is None else self._finish(made, clock)

    @property
    def network_by(self) -> str:
        """By what the network is computed, and how well that agrees with torch; known after the first run."""
        return self._choice.said

    def _chosen(self, image: Any) -> Any:
        """The network, or what was found to give the same in less time on a CPU."""
        window = getattr(self.inferer, "roi_size", ()) if isinstance(self.inferer, SlidingWindowInferer) else ()
        sizes = tuple(window) if isinstance(window, list | tuple) else ()
        if self._backend == "openvino" and self._parts.device.type == "cpu":
            self._backend = "torch"  # asked once
            if sizes and all(isinstance(size, int) and size > 0 for size in sizes):
                self._choice = choose(self._network, image.shape[0], sizes)
            else:
                self._choice = Choice(network=None, said="torch (openvino needs windows of one size)")
        return self._network if self._choice.network is None else self._choice.network

    def _infer(self, batch: torch.Tensor, network: Any, inferer: Any) -> Any:
        """An inferer on one sample, under autocast where the bundle asks for it."""
        autocast = nullcontext() if self._amp is None else torch.autocast(self._parts.device.type, **self._amp)
        with autocast:
            output = inferer(batch, network)
        return output[0] if isinstance(output, list | tuple) else output

    def _finish(self, made: dict[str, Any], clock: Clock) -> dict[str, Any]:
        """The postprocessing; what takes the result back to the source grid is a stage of its own."""
        if not isinstance(self._post, Compose):
            done: dict[str, Any] = clock.time("postprocess", lambda: self._post(made))
            return done
        for place, step in enumerate(self._post.transforms):
            with clock.timing("invert" if isinstance(step, Invertd | InvertArgmaxd) else "postprocess"):
                made = self._post(made, start=place, end=place + 1)
        return made


def image_of(sample: dict[str, Any]) -> Any:
    """Return what goes into the network.

    Raises
    ------
    BundleContract
        reason ``image``.
    """
    if IMAGE not in sample:
        raise BundleContract(
            "The bundle's preprocessing gives no image, which is what MONAI's evaluators give to the network.", reason="image"
        )
    return sample[IMAGE]
