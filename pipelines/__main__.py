"""``python -m pipelines``: the verbs of ``radnode pipelines`` without a node around them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipelines.errors import CodedError
from pipelines.mounting import mount
from pipelines.place import MODELS, PIPELINES, Place
from pipelines.verbs import REFUSED, VERBS

PipelinesFolder = Annotated[Path, typer.Option("--pipelines", help="Folder of pipeline.toml folders.")]
ModelsFolder = Annotated[Path, typer.Option("--models", help="Folder of MONAI bundles, with manifest.toml.")]


def place_of(pipelines: PipelinesFolder = PIPELINES, models: ModelsFolder = MODELS) -> Place:
    """Where pipelines and bundles lie, by options."""
    return Place(pipelines=pipelines, models=models)


app = mount(
    typer.Typer(
        no_args_is_help=True, add_completion=False, rich_markup_mode="markdown", help="Run RadNode's pipelines on folders of DICOM files."
    ),
    VERBS,
    place_of,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; what RadNode refuses ends as one coded sentence and exit status 2."""
    try:
        status = app(args=None if arguments is None else list(arguments), standalone_mode=True)
    except CodedError as error:
        Console(stderr=True).print(str(error), markup=False, highlight=False, soft_wrap=True)
        return REFUSED
    return int(status or 0)


if __name__ == "__main__":
    sys.exit(main())
