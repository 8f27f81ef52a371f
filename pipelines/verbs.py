"""The verbs on pipelines, one implementation for ``radnode pipelines`` and ``python -m pipelines``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from pydicom.dataset import Dataset
from rich.console import Console
from rich.progress import track

from pipelines import catalog, tables
from pipelines.draft import draft, write_draft
from pipelines.errors import BundleMissing, NoUsableSeries, UnsupportedPixelData
from pipelines.facts import SeriesFacts, survey
from pipelines.mounting import Verb
from pipelines.place import Place, files_in
from pipelines.result import SeriesFiles
from pipelines.rules import Input
from pipelines.selection import choose
from pipelines.series import read_headers

#: Exit status when something was refused, as for a faulty configuration.
REFUSED = 2


def open_console() -> Console:
    """A terminal as wide as it is; a file or a pipe wide enough for a table."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def list_pipelines(place: Place) -> None:
    """List the pipelines, and why some cannot run. Ends 2 when one has a fault, or one that the node runs is not available.

    Example: `radnode pipelines list`
    """
    console = open_console()
    known = catalog.load_catalog(place.pipelines, place.models)
    console.print(tables.of_catalog(known, place))
    wanted = frozenset(place.enabled or ())
    if any(name in wanted or error.full_code != "BUNDLE_MISSING.absent" for name, error in known.unavailable.items()):
        raise typer.Exit(REFUSED)


def add(
    place: Place,
    bundle: Annotated[str, typer.Argument(help="A bundle's folder under models/, as it was published.")],
    name: Annotated[str, typer.Option(help="What the pipeline is to be called; as the bundle, in small letters, unless given.")] = "",
) -> None:
    """Read what a bundle says of itself, and write a pipeline.toml to finish. Nothing is executed, overwritten or pinned.

    Example: `radnode pipelines add spleen_ct_segmentation`
    """
    console = open_console()
    made = draft(_folder_of(place, bundle), name)
    path = write_draft(made, place.pipelines)
    console.print(tables.of_labels(made.labels))
    console.print(tables.of_openings(made.openings, path))
    console.print(
        tables.next_steps(
            f"fill in what is open in {path}; docs/pipelines.md explains every key",
            f"read the bundle, for it will be executed; then {place.program} pin {made.name}",
            f"{place.program} test {made.name}",
        )
    )


def pin(place: Place, name: Annotated[str, typer.Argument(help="A pipeline, or the folder of a bundle.")]) -> None:
    """Write the present digest of a bundle into models/manifest.toml: "I have looked at these files".

    Example: `radnode pipelines pin spleen_ct_segmentation`
    """
    console = open_console()
    bundle = _bundle_of(place, name)
    console.print(f"{bundle}: sha256 {catalog.pin(bundle, place.models)}", soft_wrap=True)
    console.print(
        tables.next_steps(
            f"state source and licence of {bundle} in {place.models / catalog.MANIFEST}",
            f"{place.program} test {name}",
        )
    )


def run(
    place: Place,
    name: Annotated[str, typer.Argument(help="The pipeline, ct_lungs for example.")],
    folder: Annotated[Path, typer.Argument(help="Folder with the DICOM files of one study.", exists=True, file_okay=False)],
    save: Annotated[Path | None, typer.Option(help="Write labels (slice, row, column) and affine to this .npz file.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:N.")] = "auto",
) -> None:
    """Run one pipeline on the series of a folder that it takes, without a node, and print what it found.

    Example: `radnode pipelines run ct_lungs path/to/study --device cpu`
    """
    console = open_console()
    entry = catalog.load_entry(place.pipelines / name / "pipeline.toml", place.models)
    chosen = _choose(entry.pipeline.inputs, folder, console)
    with console.status("loading torch and the model"):
        # Imported only now: listing, pinning and refusing need no torch.
        from pipelines.runner import Runner

        runner = Runner(entry, device)
        runner.load()
    for inputs in chosen:
        instances = sum(len(files.paths) for files in inputs)
        with console.status(f"{entry.pipeline.title}: {instances} instances on {runner.device_text}"):
            inference = runner.run(*inputs)
        console.print(tables.of_findings(inference))
        if save is not None:
            target = save if len(chosen) == 1 else save.with_stem(f"{save.stem}-{inputs[0].series_instance_uid}")
            np.savez_compressed(target, labels=inference.masks.array, affine_lps=inference.volume.grid.affine)
            console.print(f"labels written to {target}")


def _choose(inputs: Sequence[Input], folder: Path, console: Console) -> tuple[tuple[SeriesFiles, ...], ...]:
    """Group the folder's files by series, print what happens to each, and return for each run the inputs that it takes."""
    series, skipped = read_folder(files_in(str(folder)), console)
    if skipped:
        console.print(f"{skipped} files are not DICOM and were left out")
    found = [facts for members in series.values() for facts in survey([header for _, header in members])]
    choice = choose(inputs, found)
    console.print(tables.of_choice(inputs, choice, found))
    if not choice.sets:
        raise NoUsableSeries(" ".join(choice.missing) or f"None of the {len(series)} series in the folder is what the pipeline takes.")
    return tuple(tuple(_files_of(facts, series) for facts in inputs) for inputs in choice.sets)


def _files_of(facts: SeriesFacts, series: Mapping[str, Sequence[tuple[Path, Dataset]]]) -> SeriesFiles:
    uid = facts.series_instance_uid
    return SeriesFiles(series_instance_uid=uid, paths=tuple(path for path, _ in series[uid]), stack=facts.stack)


def read_folder(paths: Iterable[Path], console: Console) -> tuple[dict[str, list[tuple[Path, Dataset]]], int]:
    """Read the headers of files, by series, and count the files that are not DICOM."""
    series: dict[str, list[tuple[Path, Dataset]]] = {}
    skipped = 0
    for path in track(list(paths), "reading headers", console=console, transient=True):
        try:
            header = read_headers([path])[0]
        except UnsupportedPixelData:
            skipped += 1
            continue
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    return series, skipped


def _folder_of(place: Place, bundle: str) -> Path:
    """The folder of a bundle that was named, or whose path was given as a shell completes it.

    Raises
    ------
    BundleMissing
        reason ``absent``: it lies elsewhere.
    """
    given = Path(bundle)
    if given.name != bundle and given.resolve().parent != place.models.resolve():
        raise BundleMissing(f"{bundle} does not lie in {place.models}: put it there, as it was published.", reason="absent")
    return place.models / given.name


def _bundle_of(place: Place, name: str) -> str:
    """The bundle of a pipeline, finished or not; what is no pipeline is a bundle."""
    path = place.pipelines / name / "pipeline.toml"
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8")).get("bundle", name))
    except (OSError, tomllib.TOMLDecodeError):
        return name


VERBS: dict[str, Verb] = {"list": list_pipelines, "add": add, "pin": pin, "run": run}
