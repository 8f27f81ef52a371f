"""Mode "engine": the bundle's own evaluator, for what is more than an image, a network and a mask (detectors, prompts)."""

from __future__ import annotations

from typing import Any

from ignite.engine import Events

from pipelines.clock import Clock
from pipelines.errors import BundleContract
from pipelines.stages import PRED, Means, Parts, image_of
from pipelines.stopwatch import time_network


class Engine:
    """Runs a bundle by ``evaluator.run()``, on one batch of one sample.

    Parameters
    ----------
    parts : Parts
        Of the bundle.
    postprocesses : bool
        The evaluator does; otherwise the bundle's own postprocessing is applied to what it gives, as a detection bundle's saver would.
    """

    #: Nothing of it can be adapted to the memory that there is.
    inferer: Any = None
    network_by = "torch"

    def __init__(self, parts: Parts, *, postprocesses: bool) -> None:
        self._parts, self._postprocesses = parts, postprocesses
        self._evaluator = parts.evaluator
        self._evaluator.network = self._evaluator.network.to(parts.device).eval()
        if parts.device.type != "cuda":
            # MONAI's autocast is CUDA's, and would only complain.
            self._evaluator.amp = False
        self._given: list[tuple[Any, Any]] = []
        self._evaluator.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: self._given.append((engine.state.batch, engine.state.output))
        )

    def run(self, sample: dict[str, Any], clock: Clock, means: Means) -> dict[str, Any]:
        """Take one sample through the evaluator, and return what it gave.

        Raises
        ------
        BundleContract
            reason ``image`` or ``engine`` (it gave nothing for the sample).
        """
        made = clock.time("preprocess", lambda: self._parts.preprocessing(sample))
        network, inferer = self._evaluator.network, self._evaluator.inferer
        if means.stand_in is not None:
            self._evaluator.network, other = means.stand_in(image_of(made))
            self._evaluator.inferer = other or inferer
        self._evaluator.data_loader = [self._parts.collate([made])]
        self._given.clear()
        try:
            time_network(clock, self._evaluator.network, "evaluator", self._evaluator.run, self._parts.device)
            output = self._item()
        finally:
            self._evaluator.network, self._evaluator.inferer = network, inferer
            self._evaluator.data_loader = []
            self._evaluator.state.batch = self._evaluator.state.output = None
            self._given.clear()
        if self._postprocesses or self._parts.postprocessing is None:
            return output
        done: dict[str, Any] = clock.time("postprocess", lambda: self._parts.postprocessing(_flat(output)))
        return done

    def _item(self) -> dict[str, Any]:
        """The one item of the one batch."""
        outputs = [output for _, output in self._given]
        if len(outputs) == 1:
            item = outputs[0][0] if isinstance(outputs[0], list) and len(outputs[0]) == 1 else outputs[0]
            if isinstance(item, dict) and PRED in item:
                return {key: value for key, value in item.items() if value is not None}
        raise BundleContract("The bundle's evaluator gave no prediction for the sample.", reason="engine")


def _flat(output: dict[str, Any]) -> dict[str, Any]:
    """What a detector predicts is a dictionary of its own; its postprocessing wants it beside the image."""
    pred = output[PRED]
    if isinstance(pred, dict):
        return {**{key: value for key, value in output.items() if key != PRED}, **pred}
    return dict(output)
