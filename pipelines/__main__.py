"""``python -m pipelines``: list, run and pin pipelines without a node around them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from pydicom.dataset import Dataset
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Column, Table

from pipelines import catalog
from pipelines.errors import CodedError, NoUsableSeries, UnsupportedPixelData
from pipelines.result import Inference, SeriesFiles
from pipelines.selection import facts_of, select
from pipelines.series import read_headers
from pipelines.spec import SeriesRule

PIPELINES = Path(__file__).resolve().parent
MODELS = PIPELINES.parent / "models"
#: Exit status when something was refused, as for a faulty configuration.
REFUSED = 2

console = Console()
app = typer.Typer(no_args_is_help=True, add_completion=False, help="Run RadNode's pipelines on folders of DICOM files.")

PipelinesFolder = Annotated[Path, typer.Option("--pipelines", help="Folder of pipeline.toml folders.")]
ModelsFolder = Annotated[Path, typer.Option("--models", help="Folder of MONAI bundles, with manifest.toml.")]


@app.command("list")
def list_pipelines(pipelines: PipelinesFolder = PIPELINES, models: ModelsFolder = MODELS) -> None:
    """List the pipelines, and why some cannot run."""
    known = catalog.load_catalog(pipelines, models)
    table = Table("pipeline", "title", "model", "digest", "state")
    for name, entry in known.available.items():
        table.add_row(name, entry.pipeline.title, f"{entry.model.name} {entry.model.version}", entry.model.digest[:12], "available")
    for name, error in known.unavailable.items():
        table.add_row(name, "", "", "", escape(str(error)))
    console.print(table)
    if known.unavailable:
        raise typer.Exit(REFUSED)


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="The pipeline, ct_lungs for example.")],
    folder: Annotated[Path, typer.Argument(help="Folder with the DICOM files of one study.", exists=True, file_okay=False)],
    save: Annotated[Path | None, typer.Option(help="Write labels (slice, row, column) and affine to this .npz file.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:N.")] = "auto",
    pipelines: PipelinesFolder = PIPELINES,
    models: ModelsFolder = MODELS,
) -> None:
    """Run one pipeline on the series of a folder that it takes, and print what it found."""
    entry = catalog.load_entry(pipelines / name / "pipeline.toml", models)
    chosen = _choose(entry.pipeline.inputs[0], folder)
    with console.status("loading torch and the model"):
        # Imported only now: listing, pinning and refusing need no torch.
        from pipelines.runner import Runner

        runner = Runner(entry, device)
        runner.load()
    for files in chosen:
        with console.status(f"{entry.pipeline.title}: {len(files.paths)} instances on {runner.device_text}"):
            inference = runner.run(files)
        _print_findings(inference)
        if save is not None:
            target = save if len(chosen) == 1 else save.with_stem(f"{save.stem}-{files.series_instance_uid}")
            np.savez_compressed(target, labels=inference.masks.array, affine_lps=inference.volume.grid.affine)
            console.print(f"labels written to {target}")


@app.command()
def pin(name: Annotated[str, typer.Argument(help="The bundle.")], models: ModelsFolder = MODELS) -> None:
    """Write the present digest of a bundle into models/manifest.toml: "I have looked at these files"."""
    console.print(f"{name}: sha256 {catalog.pin(name, models)}")


def _choose(rule: SeriesRule, folder: Path) -> tuple[SeriesFiles, ...]:
    """Group the folder's files by series, print what happens to each, and return those that are taken."""
    series: dict[str, list[tuple[Path, Dataset]]] = {}
    skipped = 0
    for path in track(sorted(path for path in folder.rglob("*") if path.is_file()), "reading headers", console=console, transient=True):
        try:
            header = read_headers([path])[0]
        except UnsupportedPixelData:
            skipped += 1
            continue
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    if skipped:
        console.print(f"{skipped} files are not DICOM and were left out")
    selection = select(rule, (facts_of([header for _, header in members]) for members in series.values()))
    table = Table(Column("series", overflow="fold"), "instances", "taken")
    for uid, members in series.items():
        table.add_row(uid, str(len(members)), "yes" if uid in selection.chosen else escape(selection.reasons[uid].sentence))
    console.print(table)
    if not selection.chosen:
        raise NoUsableSeries(f"None of the {len(series)} series in the folder is what the pipeline takes.")
    return tuple(SeriesFiles(series_instance_uid=uid, paths=tuple(path for path, _ in series[uid])) for uid in selection.chosen)


def _print_findings(inference: Inference) -> None:
    table = Table("finding", "measurement", "value", "unit", title=f"{inference.model.name} {inference.model.version}")
    for finding in inference.findings:
        for measurement in finding.measurements:
            name = f"{measurement.derivation.meaning} {measurement.name.meaning}" if measurement.derivation else measurement.name.meaning
            table.add_row(finding.name, name, f"{measurement.value:.1f}", escape(measurement.unit.value))
    console.print(table)
    stages = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in inference.seconds.items())
    console.print(f"{inference.device}: {stages}")


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
