"""Any MONAI bundle, unmodified: volumes with their DICOM geometry in, a result on the same geometry out.

The bundle's own preprocessing, inferer, network and postprocessing run as they are configured, stage by stage or in its own evaluator. Only
the two ends change: an in-memory reader answers its ``LoadImaged``, and its savers are left out. What comes back is checked, never trusted.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose

from pipelines.clock import Clock
from pipelines.configuration import build, extras, is_saver, own_ways, parse, postprocesses_itself, what_lacks
from pipelines.engine import Engine
from pipelines.errors import BundleContract
from pipelines.isolation import OwnModules
from pipelines.outputs import to_output
from pipelines.reader import VolumeReader, attach
from pipelines.result import Output, Volume
from pipelines.spec import Pipeline
from pipelines.stages import Means, Parts, Stages
from pipelines.weights import has_weights, load_network, watchable

#: Loggers that report the absence of things that are not needed, or each run of an evaluator.
CHATTY = ("monai.bundle.workflows", "monai.data.nvimgcodec_pydicom_plugin", "ignite")


class Bundle:
    """One loaded bundle, ready to be used many times.

    Parameters
    ----------
    root : Path
        The bundle's folder.
    pipeline : Pipeline
        How it is to be used: mode, inputs, labels, kind of output, weights and overrides.
    device : torch.device
        Where the network runs, and whatever of the transforms the bundle puts there.

    Attributes
    ----------
    inferer
        The bundle's own, or None where an evaluator decides.
    own_inferer, network
        The bundle's own in any case.
    own_modules : OwnModules
        What it imported from its folder.
    is_learned : bool
        The network has weights.

    Raises
    ------
    BundleMissing
        reason ``inference`` or ``file``.
    BundleContract
        reason ``load`` (MONAI cannot build it), ``engine`` (it needs its own evaluator), ``loader`` (its images are not the pipeline's
        inputs), ``weights`` (none are loaded, or by running code), ``interpolation`` (labels like grey values) or ``boxes`` (no place in
        the patient).
    """

    def __init__(self, root: Path, pipeline: Pipeline, device: torch.device) -> None:
        self.root = root.resolve()
        self.pipeline = pipeline
        self.device = device
        self.own_modules = OwnModules(self.root)
        self._reader = VolumeReader()
        with self.own_modules.importable(), quiet():
            self._build()

    def predict(self, volumes: Sequence[Volume], means: Means | None = None) -> tuple[Output, dict[str, float]]:
        """Run the bundle.

        Parameters
        ----------
        volumes : sequence of Volume
            One for each input of the pipeline, in its order, on one grid; arrays (slice, row, column).
        means : Means, optional
            With what, where it is not what the bundle configured.

        Returns
        -------
        output : LabelMap, Channels, Boxes or Scores
            On the first volume's own grid.
        seconds : dict of str to float
            Wall time of ``preprocess``, ``upload``, ``network``, ``stitch`` (what an inferer does around it), ``invert``, ``postprocess``
            and ``download`` (to host memory, where labels are looked at). In mode ``engine`` the ``evaluator`` is not taken apart.

        Raises
        ------
        WrongOutput
            See `pipelines.outputs.to_output`.
        BundleContract
            reason ``image`` or ``engine``: see `pipelines.stages.Stages.run` and `pipelines.engine.Engine.run`; ``load``: a Python package
            is missing that a transform asked for.
        """
        clock = Clock(partial(torch.cuda.synchronize, self.device) if self.device.type == "cuda" else None)
        self._reader.volumes = tuple(volumes)
        try:
            with self.own_modules.importable(), quiet(), torch.inference_mode():
                made = self._run.run(dict(self._sample), clock, means or Means())
                output = clock.time("download", lambda: to_output(self.pipeline, made, volumes[0].grid))
        except (ImportError, RuntimeError) as error:
            # Some packages are only asked for when a transform runs.
            lack = what_lacks(error, self.root.name)
            if lack is None:
                raise
            raise lack from error
        finally:
            self._reader.volumes = ()
        return output, clock.seconds

    @property
    def network_by(self) -> str:
        """By what the network is computed: ``torch``, or what agrees with it; see `pipelines.backend`."""
        return self._run.network_by

    def _build(self) -> None:
        """Build the parts that are run, and attach the reader."""
        pipeline = self.pipeline
        network = load_network(self.root, pipeline.weights, self.device) if pipeline.weights else None
        workflow = parse(self.root, pipeline, self.device, network)
        evaluator = build(workflow, self.root)
        evaluator.network = watchable(evaluator.network)
        parser = workflow.parser
        if has_weights(evaluator.network) and not parser["radnode_has_weights"]:
            raise BundleContract(
                f"Nothing in the configuration of bundle {self.root.name} loads weights, so its network would guess.", reason="weights"
            )
        parts = Parts(
            evaluator=evaluator,
            preprocessing=parser.get_parsed_content("preprocessing"),
            postprocessing=_quiet_end(parser),
            collate=parser.get_parsed_content("dataloader").collate_fn,
            device=self.device,
        )
        self._run: Stages | Engine
        if pipeline.mode == "engine":
            self._run = Engine(parts, postprocesses=postprocesses_itself(parser))
        else:
            self._check_stages(evaluator, parser)
            self._run = Stages(parts, pipeline.speed)
        self.inferer = self._run.inferer
        self.own_inferer, self.network = evaluator.inferer, evaluator.network
        self.is_learned = has_weights(evaluator.network)
        names = [given.name for given in pipeline.inputs]
        self._sample = {**extras(parser), **attach(self._reader, parts.preprocessing, names)}

    def _check_stages(self, evaluator: Any, parser: ConfigParser) -> None:
        """An evaluator of its own (detection, prompts) does more than the stages show."""
        own_inferer = not type(evaluator.inferer).__module__.startswith("monai.inferers")
        if type(evaluator) is not SupervisedEvaluator or own_inferer or own_ways(parser):
            raise BundleContract(
                f'Bundle {self.root.name} has an evaluation loop of its own: set mode = "engine" in pipeline.toml.', reason="engine"
            )


def _quiet_end(parser: ConfigParser) -> Any:
    """The bundle's own postprocessing, without savers that the configuration only refers to."""
    if "postprocessing" not in parser:
        return None
    postprocessing = parser.get_parsed_content("postprocessing")
    if isinstance(postprocessing, Compose):
        postprocessing.transforms = [one for one in postprocessing.transforms if not is_saver(type(one).__name__)]
    return postprocessing


@contextmanager
def quiet() -> Iterator[None]:
    """Keep MONAI's remarks on what it chose by default out of the log; nothing of ours is silenced."""
    loggers = [logging.getLogger(name) for name in CHATTY]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(monai|ignite)\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
