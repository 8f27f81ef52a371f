"""Who is compared by ``radnode bench inference``: stock MONAI and the node, each in a process of its own, whose memory can be told."""

from __future__ import annotations

import json
import multiprocessing
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from node.core.errors import BundleContract
from node.core.job import Job
from node.core.result import Equipment
from node.encode.gate import inspect
from node.encode.objects import encode
from pipelines.catalog import Entry, load_entry
from pipelines.result import Inference, SeriesFiles
from pipelines.series import read_volume

_EQUIPMENT = Equipment(manufacturer="RadNode", model_name="bench", software_version="0", serial_number="0")
_MARK = "radnode-bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One contender, once.

    Attributes
    ----------
    cold_s : float
        The first run of a process, in which models are loaded and libraries set up.
    seconds : mapping of str to float
        The second run, stage by stage; of stock MONAI only the steps of its postprocessing are known one by one.
    cpu_s : float
        Processor time of the second run, on which other work on the machine has less influence.
    host_mb, device_mb : float
        The most that the process held of host memory, and of the device's.
    by : str
        By what the network was computed.
    """

    contender: str
    bundle: str
    cold_s: float
    seconds: Mapping[str, float]
    cpu_s: float
    host_mb: float
    device_mb: float
    by: str = "torch"

    @property
    def whole_s(self) -> float:
        """The second run, from files to results."""
        return sum(self.seconds.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What everybody is given.

    Attributes
    ----------
    nifti : Path
        The same voxels, uncompressed, since stock MONAI users convert series before they run a bundle; that is not timed.
    labels : Path
        Where each leaves its labels, for comparison.
    """

    series_instance_uid: str
    dicom: tuple[Path, ...]
    nifti: Path
    labels: Path
    device: str


def write_nifti(series: SeriesFiles, path: Path) -> None:
    """Write a series as NIfTI, 16 bits and uncompressed: what is fastest to read."""
    volume = read_volume(series)
    image = nibabel.Nifti1Image(volume.array.transpose(2, 1, 0).astype(np.int16), volume.grid.ras_affine)
    nibabel.save(image, path)


def run_stock(bundle: Path, case: Case) -> Measured:
    """Run a bundle twice in one process by ``monai.bundle.run``, cold and warm."""
    return _alone(_stock, bundle, case)


def run_node(contender: str, declaration: Path, models: Path, case: Case) -> Measured:
    """Run a pipeline twice in a process of its own, as a worker's child would, from DICOM files to encoded and inspected objects."""
    return _alone(_node, contender, declaration, models, case)


def _alone(work: Callable[..., Measured], *given: object) -> Measured:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, given)


def _stock(bundle: Path, case: Case) -> Measured:
    folder = case.labels / "stock"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "overlay.json").write_text(json.dumps(_overlay(bundle, case, folder)), encoding="utf-8")
    configs = [str(bundle / "configs" / "inference.json"), str(folder / "overlay.json")]
    # What ``python -m monai.bundle run`` calls; the command itself wants one package more.
    command = [sys.executable, "-W", "ignore", "-c", f"from monai.bundle import run; run(config_file={configs!r})"]
    began = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=bundle)
    marks = [line.split() for line in done.stdout.splitlines() if line.startswith(_MARK)]
    ends, spent = ([float(mark[place]) for mark in marks if mark[1] == "end"] for place in (2, 3))
    if done.returncode or len(ends) != 2:
        raise BundleContract(f"monai.bundle run ended with {done.returncode}: {done.stderr[-400:]}", reason="load")
    # Of the warm run only; what came before the first mark of it (load, preprocessing, network) is not taken apart.
    warm = [(name, float(at)) for _, name, at, *_ in marks if float(at) > ends[0]]
    seconds = {name: at - before for (_, before), (name, at) in pairwise([("", ends[0]), *warm])}
    return Measured(
        contender="stock",
        bundle=bundle.name,
        cold_s=ends[0] - began,
        seconds={"save" if name == "end" else name: each for name, each in seconds.items()},
        cpu_s=spent[1] - spent[0],
        host_mb=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        device_mb=float(marks[-1][4]) / 1e6,
    )


def _overlay(bundle: Path, case: Case, folder: Path) -> dict[str, Any]:
    """What is laid over the bundle's own configuration: our file, two runs, and marks between the steps of its postprocessing."""
    base = json.loads((bundle / "configs" / "inference.json").read_text(encoding="utf-8"))
    memory = "torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 'nan'"
    mark = f"print('{_MARK}', '%s', time.time(), time.process_time(), {memory}, flush=True)"
    names = {"Invertd": "invert", "AsDiscreted": "argmax"}

    def marking(name: str) -> dict[str, Any]:
        return {"_target_": "Lambdad", "keys": "pred", "func": f"$lambda pred: ({mark % name}, pred)[1]"}

    steps = [marking("load,preprocess,network")]
    for step in base["postprocessing"]["transforms"]:
        kind = str(step["_target_"])
        steps += [step] if kind.startswith("Save") else [step, marking(names.get(kind, "postprocess"))]
    return {
        "imports": [*base["imports"], "$import time", "$import torch"],
        "bundle_root": str(bundle),
        "output_dir": str(folder),
        "datalist": f"$['{case.nifti}']",
        "dataloader#num_workers": 0,
        "postprocessing#transforms": steps,
        "run": ["$@evaluator.run()", f"${mark % 'end'}", "$@evaluator.run()", f"${mark % 'end'}"],
        **({} if case.device == "auto" else {"device": f"$torch.device('{case.device}')"}),
    }


def _node(contender: str, declaration: Path, models: Path, case: Case) -> Measured:
    from pipelines.memory import gauge
    from pipelines.runner import Runner

    began = time.perf_counter()
    entry = load_entry(declaration, models)
    runner = Runner(entry, case.device)
    series = SeriesFiles(series_instance_uid=case.series_instance_uid, paths=case.dicom)
    _finish(runner.run(series), entry)
    cold = time.perf_counter() - began
    spent = time.process_time()
    inference = runner.run(series)
    seconds = {**inference.seconds, **_finish(inference, entry)}
    spent = time.process_time() - spent
    case.labels.mkdir(parents=True, exist_ok=True)
    np.save(case.labels / f"{contender}.npy", inference.masks.array)
    return Measured(
        contender=contender,
        bundle=entry.bundle.name,
        cold_s=cold,
        seconds=seconds,
        cpu_s=spent,
        host_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        device_mb=gauge()[1] / 1e6 if runner.device.type == "cuda" else float("nan"),
        by=inference.network_by,
    )


def _finish(inference: Inference, entry: Entry) -> dict[str, float]:
    """Encode the results and look at their bytes, as a job does."""
    header = inference.volume.headers[0]
    job = Job(
        node_ae="BENCH",
        study_instance_uid=str(header.StudyInstanceUID),
        revision=1,
        series_instance_uids=(inference.volume.series_instance_uid,),
        pipeline=entry.pipeline.name,
        model_digest=entry.model.digest,
        input_sha256="0" * 64,
        queued_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    began = time.perf_counter()
    objects = encode(inference, job, _EQUIPMENT, entry.pipeline)
    encoded = time.perf_counter()
    inspect(objects, inference, job, entry.pipeline)
    return {"encode": encoded - began, "inspect": time.perf_counter() - encoded}
