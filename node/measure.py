"""The verbs that measure: ``radnode bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from node.logs import configure_logs

bench_app = typer.Typer(
    no_args_is_help=True, help="Measure the node beside its peers, in one run on this machine.\n\nExample: `radnode bench ingest --kind ct`"
)


def _console() -> Console:
    configure_logs("error", "console", "bench")
    console = Console()
    return console if console.is_terminal else Console(width=160)


@bench_app.command("ingest")
def bench_ingest(
    kind: Annotated[list[str], typer.Option(help="ct, mr or multi-frame; may be given several times.")] = ["ct", "mr", "multi-frame"],  # noqa: B006
    associations: Annotated[list[int], typer.Option(help="How many at once; may be given several times.")] = [1, 4, 8],  # noqa: B006
    receiver: Annotated[list[str] | None, typer.Option(help="Whom to compare; all by default.")] = None,
    rounds: Annotated[int, typer.Option(help="How often each is run; they take turns.")] = 5,
    folder: Annotated[Path, typer.Option(help="Scratch space, on the disk that is to be measured.")] = Path("var/bench"),
    out: Annotated[Path | None, typer.Option(help="Where numbers and pictures are left.")] = None,
) -> None:
    """Receive series by RadNode, DCMTK's storescp, Orthanc and pynetdicom in turn, and print rates and ratios.

    Example: `radnode bench ingest --kind ct --rounds 3 --out docs/benchmarks`
    """
    from node.bench.ingest import Plan, run, save
    from node.bench.receivers import RECEIVERS

    plan = Plan(kinds=kind, associations=associations, receivers=receiver or list(RECEIVERS), rounds=rounds, folder=folder.resolve())
    found = run(plan, _console())
    if out is not None:
        save(found, out)


@bench_app.command("work")
def bench_work(
    waiting: Annotated[list[int], typer.Option(help="How many other jobs wait; may be given several times.")] = [0, 10_000, 100_000],  # noqa: B006
    jobs: Annotated[int, typer.Option(help="How many jobs are done in each round.")] = 200,
    database: Annotated[
        str,
        typer.Option(
            help="A PostgreSQL URL, on whose server each round gets a database of its own; SQLite in the folder when none is given."
        ),
    ] = "",
    folder: Annotated[Path, typer.Option(help="Scratch space, on the disk that is to be measured.")] = Path("var/bench-work"),
    out: Annotated[Path | None, typer.Option(help="Where the numbers are left as JSON.")] = None,
) -> None:
    """Measure what the queue costs, with a device that does nothing: jobs a second, delays from stage to stage, STAT behind routine.

    Example: `radnode bench work --waiting 0 --waiting 10000`
    """
    from node.bench.work import Plan, run, save

    found = run(Plan(waiting=waiting, jobs=jobs, database=database, folder=folder.resolve()), _console())
    if out is not None:
        save(found, out)


@bench_app.command("inference")
def bench_inference(
    bundle: Annotated[list[str] | None, typer.Option(help="untrained_spleen or ct_lungs; both by default.")] = None,
    slices: Annotated[int, typer.Option(min=20, help="How many slices the series has.")] = 400,
    size: Annotated[int, typer.Option(min=64, help="Rows and columns of a slice.")] = 512,
    field: Annotated[float, typer.Option(min=50, help="Field of view in millimetres; a smaller one has fewer windows.")] = 400.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is run; they take turns.")] = 3,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:N.")] = "auto",
    folder: Annotated[Path, typer.Option(help="Scratch space; 1 GB for the series as it is.")] = Path("var/bench-inference"),
    pipelines: Annotated[Path, typer.Option(help="Folder of pipeline.toml folders.")] = Path("pipelines"),
    models: Annotated[Path, typer.Option(help="Folder of bundles.")] = Path("models"),
    out: Annotated[Path | None, typer.Option("--save", help="Where numbers and a picture are left.")] = None,
) -> None:
    """Take a CT from its files to its results, stage by stage, beside the same bundle run by stock MONAI in the same session.

    Example: `radnode bench inference --bundle ct_lungs --slices 100 --size 256 --rounds 1`
    """
    from node.bench.inference import BUNDLES, Plan, run, save

    plan = Plan(
        bundles=bundle or list(BUNDLES),
        slices=slices,
        size=size,
        field_mm=field,
        rounds=rounds,
        device=device,
        folder=folder.resolve(),
        pipelines=pipelines.resolve(),
        models=models.resolve(),
    )
    found = run(plan, _console())
    if out is not None:
        save(found, out)
