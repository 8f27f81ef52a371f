"""What the children of a device are asked to do with bundles: each runs one, while the other runs another."""

import os
import time
from pathlib import Path
from typing import Any

import torch

from pipelines.bundle import Bundle
from pipelines.ellipsoids import make_known
from tests.bundles.writing import pipeline_of
from tests.bundles.zoo import ZOO


def run(asked: dict[str, str]) -> dict[str, Any]:
    """Load a bundle, wait until the other child has loaded its own, then run it."""
    root = Path(asked["root"])
    bundle = Bundle(root, pipeline_of(ZOO[asked["bundle"]]()), torch.device("cpu"))
    Path(asked["loaded"]).touch()
    deadline = time.monotonic() + 100
    while not Path(asked["other"]).exists():
        assert time.monotonic() < deadline, "the other bundle was not loaded at the same time"
        time.sleep(0.02)
    volumes = [make_known(number, is_ct=True, degrees=0.0).volume for number in range(len(bundle.pipeline.inputs))]
    output, _ = bundle.predict(volumes)
    with bundle.own_modules.importable():
        import scripts

        origin = str(scripts.__file__)
    return {"pid": os.getpid(), "scripts": origin, "output": type(output).__name__, "network": type(bundle.network).__module__}
