"""The command line: ``radnode VERB``. Reads the configuration once, and hands it down."""

from __future__ import annotations

import getpass
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

from node import __version__
from node.care import purge, quarantine
from node.config import Config, read_config
from node.control import cancel, drain, pause, prioritise, resume, who_orders
from node.core.errors import CodedError
from node.evaluate import evaluate
from node.logs import configure_logs
from node.measure import bench_app
from pipelines.mounting import mount
from pipelines.place import Place
from pipelines.verbs import VERBS

app = typer.Typer(
    name="radnode",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="A DICOM node that puts AI results where radiologists already look.\n\n"
    "Start with `radnode demo`; then edit config.toml, `radnode check`, and `radnode serve`.",
)

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="Where the configuration is.", envvar="RADNODE_CONFIG")]
ParentOption = Annotated[int, typer.Option("--parent", hidden=True)]
PortOption = Annotated[int, typer.Option("--port-fd", hidden=True)]
DEFAULT_CONFIG = Path("config.toml")


def main() -> None:
    """Run a verb; an error that was foreseen is a sentence and exit code 2, not a traceback."""
    try:
        app()
    except CodedError as error:
        _end(error)


def _end(error: CodedError) -> NoReturn:
    Console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(2)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False) -> None:
    if version:
        typer.echo(f"radnode {__version__}")
        raise typer.Exit


def _start(path: Path, role: str) -> Config:
    config = read_config(path)
    configure_logs(config.log.level, config.log.format, role)
    return config


def _console() -> Console:
    """A terminal as wide as it is; a file or a pipe wide enough for a table."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


@contextmanager
def _console_of(path: Path) -> Iterator[tuple[Config, Console]]:
    yield _start(path, "cli"), _console()


@app.command()
def serve(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the whole node: listener, worker, courier and, where it is asked for, the HTTP port; drains on SIGTERM.

    Example: `radnode serve --config /etc/radnode/config.toml`
    """
    from node.app.role import migrate, read_catalog, stop_on_signals
    from node.supervisor import Supervisor, listeners_of, open_port

    settings = _start(config, "serve")
    read_catalog(settings)
    migrate(settings)
    with open_port(settings.listen.host, settings.listen.port) as port:
        Supervisor(config, port, listeners_of(settings), web=settings.web.enabled).run(stop_on_signals())


def _run_role(path: Path, parent: int, role: Literal["listen", "work", "deliver", "web"], **given: object) -> None:
    from node.app.role import stop_on_signals, stop_without

    settings, stop = _start(path, role), stop_on_signals()
    if parent:
        stop_without(parent, stop)
    # Each role loads only what it needs: the listener neither torch nor the encoders.
    import_module(f"node.app.{role}").run(settings, stop, **given)


@app.command()
def listen(config: ConfigOption = DEFAULT_CONFIG, parent: ParentOption = 0, port_fd: PortOption = -1) -> None:
    """Run only the listener: receive, assemble, route.

    Example: `radnode listen`
    """
    _run_role(config, parent, "listen", port=socket.socket(fileno=port_fd) if port_fd >= 0 else None)


@app.command()
def work(config: ConfigOption = DEFAULT_CONFIG, parent: ParentOption = 0) -> None:
    """Run only a worker: infer, measure, encode.

    Example: `radnode work`
    """
    _run_role(config, parent, "work")


@app.command()
def deliver(config: ConfigOption = DEFAULT_CONFIG, parent: ParentOption = 0) -> None:
    """Run only a courier: bring results to their destinations.

    Example: `radnode deliver`
    """
    _run_role(config, parent, "deliver")


@app.command()
def web(config: ConfigOption = DEFAULT_CONFIG, parent: ParentOption = 0) -> None:
    """Run only the HTTP port: receive by the Store transaction of DICOMweb (STOW-RS).

    Example: `radnode web`
    """
    _run_role(config, parent, "web")


@app.command()
def check(
    config: ConfigOption = DEFAULT_CONFIG, peers: Annotated[bool, typer.Option(help="Send a C-ECHO to every destination as well.")] = False
) -> None:
    """Say what is wrong with the configuration, and print what is in force. Ends 0 when nothing is wrong, 2 otherwise.

    Example: `radnode check --peers`
    """
    from node.show import print_check

    with _console_of(config) as (settings, console):
        if not print_check(settings, console, peers=peers):
            raise typer.Exit(2)


@app.command()
def status(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Count studies, jobs and deliveries by state, and list what needs a person.

    Example: `radnode status`
    """
    from node.show import print_status

    with _console_of(config) as (settings, console):
        print_status(settings, console)


@app.command()
def history(
    uid: Annotated[str, typer.Argument(help="Of a study, series, instance, association, or a job's id.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Print what happened to one study, out of the audit log. Ends 1 when nothing is known of it.

    Example: `radnode history 1.2.826.0.1.3680043.8.498.1`
    """
    from node.show import print_history

    with _console_of(config) as (settings, console):
        if not print_history(settings, console, uid):
            raise typer.Exit(1)


@app.command()
def replay(
    target: Annotated[str, typer.Argument(help="A job's or a parcel's id, as `radnode status` prints it, or a Study Instance UID.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Bring a refused or failed job or parcel back, or all of a study's latest revision, with all its attempts.

    Example: `radnode replay 3f0c1c1e-5f0e-5d6e-9a55-0c52ad0de001:pacs`
    """
    from node.app.replay import replay as bring_back

    with _console_of(config) as (settings, console):
        for work_id in bring_back(settings, target, who_orders()):
            console.print(f"{work_id} is queued again; radnode history shows how it goes.")


@app.command()
def ingest(
    source: Annotated[Path, typer.Argument(help="A folder or a ZIP archive of DICOM files.")], config: ConfigOption = DEFAULT_CONFIG
) -> None:
    """Take files in as if they had been sent. Ends 1 when one that is DICOM was refused.

    Example: `radnode ingest path/to/study.zip`
    """
    from node.app.ingest import ingest as take_in

    with _console_of(config) as (settings, console):
        if not take_in(settings, source, console):
            raise typer.Exit(1)


@app.command()
def complete(
    study_instance_uid: Annotated[str, typer.Argument(help="Of a study that is still open.")], config: ConfigOption = DEFAULT_CONFIG
) -> None:
    """Judge a study complete now, without waiting for quiet time. Ends 1 when it is not open.

    Example: `radnode complete 1.2.826.0.1.3680043.8.498.1`
    """
    from node.app.complete import complete as judge

    with _console_of(config) as (settings, console):
        if not judge(settings, study_instance_uid, getpass.getuser()):
            console.print(f"{study_instance_uid} is not open; radnode history tells what became of it.")
            raise typer.Exit(1)
        console.print(f"{study_instance_uid} is complete.")


for verb in (quarantine, purge, pause, resume, drain, cancel, prioritise):
    app.command()(verb)


@app.command("verify-audit")
def verify_audit(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Walk the audit log's hash chain. Ends 0 when it is whole, 1 when a row was changed, removed or put in.

    Example: `radnode verify-audit`
    """
    from node.show import print_chain

    with _console_of(config) as (settings, console):
        if not print_chain(settings, console):
            raise typer.Exit(1)


app.add_typer(bench_app, name="bench")
app.command()(evaluate)


def _place(config: ConfigOption = DEFAULT_CONFIG) -> Place:
    from node.app.pipelines import place_of

    return place_of(_start(config, "cli"))


pipelines_app = typer.Typer(
    no_args_is_help=True, help="List, add, test and run pipelines: from a MONAI bundle to a route.\n\nExample: `radnode pipelines list`"
)
app.add_typer(mount(pipelines_app, VERBS, _place), name="pipelines")


@app.command()
def conformance() -> None:
    """Print the DICOM conformance statement, made from the tables that the node runs by.

    Example: `radnode conformance > docs/conformance.md`
    """
    from node.conformance import statement

    typer.echo(statement(), nl=False)


@app.command()
def demo(
    folder: Annotated[Path | None, typer.Argument(help="A folder of DICOM files; a chest phantom made by code when none is named.")] = None,
    out: Annotated[Path, typer.Option(help="Where the results are left.")] = Path("var/demo"),
) -> None:
    """Start a node and a receiving archive here, send one study through, and show what became of it.

    Example: `radnode demo` or `radnode demo path/to/study`
    """
    from node.demo import Demo

    configure_logs("error", "console", "demo")
    if not Demo(out, _console()).run(folder):
        raise typer.Exit(1)
