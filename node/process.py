"""The product in one function: read -> infer -> measure -> encode -> verify.

Pure but for reading files: no network, no database, no clock. Whoever calls it stores what it returns.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from node.core.errors import DigestMismatch
from node.core.job import Job
from node.core.result import Equipment, Product
from node.encode.gate import inspect
from node.encode.objects import encode
from pipelines.catalog import load_entry
from pipelines.result import Inference, SeriesFiles

if TYPE_CHECKING:
    from pipelines.runner import Runner


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that one job needs, as it is handed to the process that holds the models."""

    job: Job
    inputs: tuple[SeriesFiles, ...]
    pipelines: Path
    models: Path
    device: str
    equipment: Equipment


def run_job(request: Request) -> Product:
    """Run one job.

    Raises
    ------
    InputError
        If the series is not fit for the pipeline, or the result cannot be true: nothing is reported.
    ModelError, DeviceError, EncodeError
        If we are at fault.
    """
    job = request.job
    runner = _warm_runner(request.pipelines / job.pipeline / "pipeline.toml", request.models, request.device, job.model_digest)
    inference = runner.run(*request.inputs)
    pipeline = runner.entry.pipeline
    objects = encode(inference, job, request.equipment, pipeline)
    inspect(objects, inference, job, pipeline)
    return Product(objects=objects, summary=_summarise(inference))


def warm_up(declaration: Path, models: Path, device: str, digest: str) -> None:
    """Load a pipeline's model before the first job asks for it."""
    _warm_runner(declaration, models, device, digest).load()


@functools.lru_cache(maxsize=4)
def _warm_runner(declaration: Path, models: Path, device: str, digest: str) -> Runner:
    """Load a pipeline's model once and keep it; another digest is another model."""
    # Imported here: the parent that hands this function to its child must never load torch.
    from pipelines.runner import Runner

    entry = load_entry(declaration, models)
    if entry.model.digest != digest:
        raise DigestMismatch(
            "The bundle or its overrides are not those that the job was queued for; restore them, or replay.", reason="job"
        )
    return Runner(entry, device)


def self_test(device: str, most_difference: float) -> dict[str, Any]:
    """Examine the device that ``auto``, ``cpu`` or ``cuda:N`` means; see `pipelines.selftest.examine`."""
    from pipelines.runner import place_of
    from pipelines.selftest import examine

    return examine(str(place_of(device)), most_difference).as_detail()


def gauge() -> tuple[int, int]:
    """What this process holds of the device's memory, now and at most."""
    from pipelines.memory import gauge as measured

    return measured()


def _summarise(inference: Inference) -> dict[str, Any]:
    """The numbers of a result, for the audit log and for people: no identities."""
    return {
        "model": inference.model.name,
        "model_version": inference.model.version,
        "model_digest": inference.model.digest,
        "device": inference.device,
        "rung": inference.rung,
        **({"registration": list(inference.registration)} if inference.others else {}),
        "network_by": inference.network_by,
        "output": type(inference.output).__name__,
        "seconds": {stage: round(seconds, 3) for stage, seconds in inference.seconds.items()},
        "findings": {
            finding.name: {
                f"{measured.name.meaning} [{measured.unit.value}]": round(measured.value, 3) for measured in finding.measurements
            }
            for finding in inference.findings
        },
    }
