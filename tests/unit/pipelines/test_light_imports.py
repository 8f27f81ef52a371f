"""Whoever only reads declarations, headers and results never pays for torch."""

import subprocess
import sys
from pathlib import Path

import pytest

LIGHT = [
    "spec",
    "result",
    "geometry",
    "errors",
    "series",
    "stacking",
    "pixels",
    "selection",
    "catalog",
    "measure",
    "phantom",
    "openings",
    "outline",
    "draft",
    "place",
    "verbs",
    "tables",
    "codes.table",
    "__main__",
]


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_module_loads_neither_torch_nor_monai(module: str) -> None:
    program = f"import sys, pipelines.{module}; sys.exit(bool({{'torch', 'monai'}} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])
