"""The verbs by which operators steer the queue: pause, resume, drain, cancel, prioritise. Each is in the audit log with who gave it."""

from __future__ import annotations

import getpass
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from node.config import Config, read_config
from node.config.schedule import Level
from node.ledger.holds import HoldKind
from node.logs import configure_logs

if TYPE_CHECKING:
    from node.app.schedule import Operator

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="Where the configuration is.", envvar="RADNODE_CONFIG")]
KindArgument = Annotated[HoldKind, typer.Argument(help="What it is about.")]
NameArgument = Annotated[str, typer.Argument(help="Which pipeline or destination; nothing for everything.")]
WhyOption = Annotated[str, typer.Option(help="The reason, for the audit log.")]
TargetArgument = Annotated[str, typer.Argument(help="A job's or parcel's id as `radnode status` prints it, or a Study Instance UID.")]
DEFAULT_CONFIG = Path("config.toml")


def who_orders() -> str:
    """The operator, as the audit log names them: the user of the operating system, and the host."""
    return f"{getpass.getuser()}@{platform.node()}"


def read_settings(path: Path) -> Config:
    """Read the configuration, for a verb that prints."""
    settings = read_config(path)
    configure_logs(settings.log.level, settings.log.format, "cli")
    return settings


@contextmanager
def _order(path: Path, verb: str) -> Iterator[tuple[Operator, Console]]:
    from node.app.schedule import open_operator

    console = Console()
    with open_operator(read_settings(path), verb, who_orders()) as operator:
        yield operator, console if console.is_terminal else Console(width=160)


def pause(what: KindArgument, name: NameArgument = "", why: WhyOption = "", config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Begin nothing more of a pipeline, for a destination, or at all. What runs comes to its end, and instances are received on.

    Example: `radnode pause destination pacs --why "PACS update"`
    """
    with _order(config, "pause") as (operator, console):
        done = operator.pause(what, name, why)
        console.print(f"{_name(what, name)} is paused{'' if done else ' already'}; radnode resume {_name(what, name)} lets it go on.")


def resume(what: KindArgument, name: NameArgument = "", config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Let go on what was paused or drained. Ends 1 when it was not.

    Example: `radnode resume destination pacs`
    """
    with _order(config, "resume") as (operator, console):
        if not operator.resume(what, name):
            console.print(f"{_name(what, name)} was not paused; radnode status lists what is.")
            raise typer.Exit(1)
        console.print(f"{_name(what, name)} goes on.")


def drain(
    what: KindArgument = "everything",
    name: NameArgument = "",
    why: WhyOption = "",
    wait_s: Annotated[float, typer.Option(help="How long to wait for what runs.")] = 600.0,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Pause, and wait until nothing runs: afterwards a machine may be stopped. Ends 1 when something still runs.

    Example: `radnode drain everything --wait-s 900`
    """
    with _order(config, "drain") as (operator, console):
        left = operator.drain(what, name, why, wait_s)
        if left:
            console.print(f"After {wait_s:g} s {left} still run; nothing new begins.")
            raise typer.Exit(1)
        console.print(f"{_name(what, name)} is drained: nothing runs, and nothing begins before radnode resume {_name(what, name)}.")


def cancel(target: TargetArgument, why: WhyOption = "", config: ConfigOption = DEFAULT_CONFIG) -> None:
    """End jobs and parcels that wait, and jobs that run, without a result. A parcel that is being sent cannot be called back.

    Example: `radnode cancel 1.2.826.0.1.3680043.8.498.1 --why "wrong patient"`
    """
    with _order(config, "cancel") as (operator, console):
        for work_id in operator.cancel(target, why):
            console.print(f"{work_id} is cancelled; radnode replay brings it back.")


def prioritise(
    target: TargetArgument, level: Annotated[Level, typer.Argument(help="The new priority.")], config: ConfigOption = DEFAULT_CONFIG
) -> None:
    """Give jobs and parcels that wait another priority. The time that they have waited counts on.

    Example: `radnode prioritise 1.2.826.0.1.3680043.8.498.1 stat`
    """
    from node.app.schedule import level_of

    with _order(config, "prioritise") as (operator, console):
        for work_id in operator.prioritise(target, level_of(level)):
            console.print(f"{work_id} is {level} now.")


def _name(what: HoldKind, name: str) -> str:
    return f"{what} {name}".rstrip()
