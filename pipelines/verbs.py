"""The verbs on pipelines, one implementation for ``radnode pipelines`` and ``python -m pipelines``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from pipelines import catalog, tables
from pipelines.draft import draft, write_draft
from pipelines.errors import BundleMissing, CodedError, NoUsableSeries
from pipelines.mounting import Verb
from pipelines.openings import MARK
from pipelines.place import Place, files_in
from pipelines.saving import save as store
from pipelines.selection import choose
from pipelines.spec import read_pipeline
from pipelines.study import Study, read_study

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
    if any(name in wanted or error.full_code not in tables.WAITS_FOR_THE_SITE for name, error in known.unavailable.items()):
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
    declared = _declared(place, name)
    bundle, stated = str(declared.get("bundle", name)), _stated(declared)
    console.print(f"{bundle}: sha256 {catalog.pin(bundle, place.models, **stated)}", soft_wrap=True)
    manifest = place.models / catalog.MANIFEST
    said = "see that {} hold in {}" if len(stated) == 2 else "state {} in {}"
    console.print(tables.next_steps(said.format(f"source and licence of {bundle}", manifest), f"{place.program} test {name}"))


def run(
    place: Place,
    name: Annotated[str, typer.Argument(help="The pipeline, ct_lungs for example.")],
    folder: Annotated[Path, typer.Argument(help="Folder with the DICOM files of one study.", exists=True, file_okay=False)],
    save: Annotated[
        Path | None, typer.Option(help="A folder for what it gave: arrays as .npz, findings, boxes and scores as JSON.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:N.")] = "auto",
) -> None:
    """Run one pipeline on the series of a folder that it takes, without a node, and print what it found.

    Example: `radnode pipelines run ct_lungs path/to/study --device cpu --save found`
    """
    console = open_console()
    entry = catalog.load_entry(place.pipelines / name / "pipeline.toml", place.models)
    with files_in(str(folder)) as paths:
        study = _read(paths, console)
    choice = choose(entry.pipeline.inputs, study.facts)
    console.print(tables.of_choice(entry.pipeline.inputs, choice, study))
    if not choice.sets:
        raise NoUsableSeries(
            " ".join(choice.missing) or f"None of the {len(study.series)} series in the folder is what the pipeline takes."
        )
    with console.status("loading torch and the model"):
        # Imported only now: listing, pinning and refusing need no torch.
        from pipelines.runner import Runner

        runner = Runner(entry, device)
        runner.load()
    for inputs in choice.sets:
        with console.status(f"{entry.pipeline.title}: {', '.join(facts.name for facts in inputs)} on {runner.device_text}"):
            inference = runner.run(*map(study.files_of, inputs))
        console.print(tables.of_findings(inference))
        for path in store(inference, save) if save is not None else ():
            console.print(f"written: {path}", soft_wrap=True)


def prove(
    place: Place,
    name: Annotated[str, typer.Argument(help="The pipeline; nothing with --all.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Every pipeline whose bundle is there.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda:N.")] = "cpu",
) -> None:
    """Prove that what comes out of a bundle lies where it was in the patient, and left on the left. Ends 2 when a check fails.

    The network is replaced by one that shows what it is shown, and a phantom goes through the rest of the bundle; then the real network
    gets the case of known_case.toml, where there is one.

    Example: `radnode pipelines test ct_lungs` or `radnode pipelines test --all`
    """
    if bool(name) == every:
        raise typer.BadParameter("name a pipeline, or give --all")
    console = open_console()
    if every:
        known = catalog.load_catalog(place.pipelines, place.models)
        entries, refused = list(known.available.values()), dict(known.unavailable)
    else:
        entries, refused = [catalog.load_entry(place.pipelines / name / "pipeline.toml", place.models)], {}
    passed = [_prove(place, entry, device, console) for entry in entries]
    for unavailable, error in refused.items():
        console.print(tables.of_refusal(unavailable, error))
    if not all(passed) or any(error.full_code not in tables.WAITS_FOR_THE_SITE for error in refused.values()):
        raise typer.Exit(REFUSED)


def _prove(place: Place, entry: catalog.Entry, device: str, console: Console) -> bool:
    """Run both tests of one pipeline and print what they found; True when every check passed."""
    name = entry.pipeline.name
    with console.status(f"{name}: conformance"):
        # Imported only now: what needs no model needs no torch.
        from pipelines.conformance import conform
        from pipelines.laterality import KNOWN_CASE, check_sides, read_known_case

        beside = place.pipelines / name / KNOWN_CASE
        case = read_known_case(beside)
        conformance = conform(entry, device, case.scene if case and case.scene else "body")
    console.print(tables.of_report(f"{name}: conformance", conformance))
    with console.status(f"{name}: the known case"):
        sides = check_sides(entry, beside, device)
    if sides is None:
        console.print(f"No case is named in {beside}, so nothing shows that the network itself tells left from right.")
    else:
        console.print(tables.of_report(f"{name}: known case", sides))
    return conformance.passed and (sides is None or sides.passed)


def explain(
    place: Place,
    study: Annotated[str, typer.Argument(help="A folder of DICOM files; for a node a Study Instance UID too.")],
    pipeline: Annotated[list[str] | None, typer.Option(help="Only this one, or these; what the node runs unless named.")] = None,
) -> None:
    """Say why each series of a study is or is not taken by each pipeline, field by field. Ends 2 when a pipeline cannot be asked.

    Example: `radnode pipelines explain 1.2.826.0.1.3680043.8.498.1 --pipeline ct_lungs`
    """
    console = open_console()
    with place.study(study) as paths:
        found = _read(paths, console)
    names = pipeline or place.enabled or sorted(path.parent.name for path in place.pipelines.glob("*/pipeline.toml"))
    refused: dict[str, CodedError] = {}
    for name in names:
        try:
            declared = read_pipeline(place.pipelines / name / "pipeline.toml")
        except CodedError as error:
            refused[name] = error
            continue
        console.print(tables.of_explanation(declared, choose(declared.inputs, found.facts), found))
    for name, refusal in refused.items():
        console.print(tables.of_refusal(name, refusal))
    if refused:
        raise typer.Exit(REFUSED)


def _read(paths: Sequence[Path], console: Console) -> Study:
    study = read_study(track(paths, "reading headers", console=console, transient=True))
    if study.skipped:
        console.print(f"{study.skipped} files are not DICOM and were left out")
    return study


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


def _declared(place: Place, name: str) -> dict[str, Any]:
    """What the pipeline.toml of that name says, finished or not; nothing where there is none, for then it is a bundle."""
    try:
        return tomllib.loads((place.pipelines / name / "pipeline.toml").read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError):
        return {}


def _stated(declared: Mapping[str, Any]) -> dict[str, str]:
    """Source and licence of a bundle, as far as its pipeline.toml knows them."""
    origin = declared.get("origin", {})
    found = {key: origin.get(said, "") for key, said in (("source", "get"), ("licence", "licence"))} if isinstance(origin, dict) else {}
    return {key: text for key, text in found.items() if text and isinstance(text, str) and not text.startswith(MARK)}


VERBS: dict[str, Verb] = {"list": list_pipelines, "add": add, "pin": pin, "test": prove, "explain": explain, "run": run}
