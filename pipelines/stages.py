"""Mode "stages": preprocessing, inferer and network, postprocessing, each as the bundle has it, one after the other.

What MONAI's own ``SupervisedEvaluator`` does with a sample, taken apart: each stage has its time, the inferer may be adapted to the memory
that there is, and nothing runs that is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from monai.data import MetaTensor

from pipelines.errors import BundleContract

IMAGE, PRED = "image", "pred"
#: Given the preprocessed image, (channel, X, Y, Z): what stands for the bundle's network, and for its inferer where that must go too.
StandIn = Callable[[torch.Tensor], tuple[torch.nn.Module, Any]]


class Clock:
    """Notes the wall time of each stage; a GPU works on after a call returns, so it is waited for.

    Parameters
    ----------
    device : torch.device
        Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = {}

    def time(self, stage: str, work: Callable[[], Any]) -> Any:
        """Run a stage."""
        started = perf_counter()
        result = work()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.seconds[stage] = perf_counter() - started
        return result


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
    """Runs a bundle stage by stage."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
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
        made = clock.time("preprocess", lambda: self._parts.preprocessing(sample))
        image = image_of(made)
        network, inferer = self._network, means.inferer or self.inferer
        if means.stand_in is not None:
            network, other = means.stand_in(image)
            inferer = other or inferer
        output = clock.time("network", lambda: self._infer(image, network, inferer, on_host=means.on_host))
        meta = {"meta": image.meta, "applied_operations": image.applied_operations} if isinstance(image, MetaTensor) else {}
        made[PRED] = MetaTensor((output.as_tensor() if isinstance(output, MetaTensor) else output)[0], **meta)
        done: dict[str, Any] = made
        if self._parts.postprocessing is not None:
            done = clock.time("postprocess", lambda: self._parts.postprocessing(made))
        return done

    def _infer(self, image: Any, network: Any, inferer: Any, *, on_host: bool) -> Any:
        """An inferer on one sample, under autocast where the bundle asks for it."""
        autocast = nullcontext() if self._amp is None else torch.autocast(self._parts.device.type, **self._amp)
        batch = (image if isinstance(image, torch.Tensor) else torch.as_tensor(image))[None]
        with autocast:
            output = inferer(batch.to(torch.device("cpu") if on_host else self._parts.device), network)
        return output[0] if isinstance(output, list | tuple) else output


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
