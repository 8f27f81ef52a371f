"""Pipelines for bundles of tests."""

from collections.abc import Sequence
from typing import Any

from pipelines.spec import Pipeline

ORGAN = {
    "category": {"value": "123037004", "scheme": "SCT", "meaning": "Anatomical Structure"},
    "type": {"value": "113343008", "scheme": "SCT", "meaning": "Organ"},
    "rgb": [200, 120, 80],
}
WIDE = {"min": 0.1, "max": 1000.0}


def declare(
    *,
    kind: str = "labelmap",
    labels: Sequence[int] = (1,),
    inputs: Sequence[str] = ("image",),
    modality: str = "CT",
    **more: Any,
) -> Pipeline:
    """Declare a pipeline that takes whatever there is; labels are named by their value."""
    return Pipeline.model_validate(
        {
            "name": "tested",
            "title": "Tested",
            "bundle": "tested",
            "intended_use": "Test.",
            "inputs": [{"name": name, "modality": [modality]} for name in inputs],
            "limits": {"slice_spacing_mm": WIDE, "pixel_spacing_mm": WIDE, "coverage_mm": WIDE, "max_voxels": 10**8, "seconds": 60},
            "labels": [{"value": value, "name": f"Label {value}", **ORGAN} for value in labels],
            "measurements": [],
            "outputs": {"kind": kind},
            **more,
        }
    )
