"""Write what a pipeline gave into a folder, for a look at it without DICOM: arrays as .npz, findings, boxes and scores as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.result import Boxes, Channels, Inference, LabelMap, Scores


def save(inference: Inference, folder: Path) -> tuple[Path, ...]:
    """Write one result, named by the series that it lies on, and return the files.

    ``SERIES.json`` has the model, the inputs in order, and the findings with boxes (LPS, mm) or scores. For a segmentation there is
    ``SERIES.npz`` too: ``labels``, uint8, (slice, row, column), or for channels that may overlap (channel, slice, row, column) with their
    labels in ``channels``; and ``affine_lps``, index to LPS mm.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^\w.=-]+", "_", "-".join(filter(None, (inference.volume.series_instance_uid, inference.volume.stack))))
    files = [folder / f"{stem}.json"]
    files[0].write_text(json.dumps(_described(inference), indent=2), encoding="utf-8")
    arrays = _arrays(inference)
    if arrays:
        files.append(folder / f"{stem}.npz")
        np.savez_compressed(files[1], affine_lps=inference.volume.grid.affine, **arrays)
    return tuple(files)


def _arrays(inference: Inference) -> dict[str, Any]:
    output = inference.output
    if isinstance(output, LabelMap):
        return {"labels": output.array}
    return {"labels": output.array.astype(np.uint8), "channels": np.array(output.labels)} if isinstance(output, Channels) else {}


def _described(inference: Inference) -> dict[str, Any]:
    output = inference.output
    return {
        "pipeline": inference.pipeline,
        "model": asdict(inference.model),
        "inputs": [{"series_instance_uid": one.series_instance_uid, "stack": one.stack} for one in (inference.volume, *inference.others)],
        "device": inference.device,
        "findings": [asdict(finding) for finding in inference.findings],
        **({"boxes": [asdict(box) for box in output.boxes]} if isinstance(output, Boxes) else {}),
        **({"scores": output.values} if isinstance(output, Scores) else {}),
    }
