"""What operators look after: the verbs for what is of another patient, and for what may go."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from node.config import Config, read_config
from node.core.retention import Ripe
from node.ledger import quarantine as kept
from node.ledger.engine import Ledger
from node.logs import configure_logs


def quarantine(
    study: Annotated[str, typer.Argument(help="A Study Instance UID; without it, everything that is kept apart is listed.")] = "",
    set_aside: Annotated[bool, typer.Option("--set-aside", help="Leave it out for good, and have the study judged anew.")] = False,
    who: Annotated[str, typer.Option(help="Who has decided; you unless somebody is named.")] = "",
    config: Annotated[Path, typer.Option("--config", "-c", help="Where the configuration is.", envvar="RADNODE_CONFIG")] = Path(
        "config.toml"
    ),
) -> None:
    """List instances that are of another patient than their study, or decide that they stay out of it.

    Example: `radnode quarantine 1.2.826.0.1.3680043.8.498.1 --set-aside --who "Dr. Example"`
    """
    settings = read_config(config)
    configure_logs(settings.log.level, settings.log.format, "cli")
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    if set_aside:
        if not study:
            raise typer.BadParameter("say which study", param_hint="STUDY")
        console.print(f"Left out of {study}: {_set_aside(settings, study, who or getpass.getuser())}. It is judged anew.")
    else:
        _print(settings, study, console)


def _set_aside(config: Config, study_instance_uid: str, who: str) -> int:
    with closing(Ledger(config.database_url, actor=f"quarantine@{who}")) as ledger, ledger.writing() as tx:
        return kept.set_aside(tx, study_instance_uid, who)


def _print(config: Config, study_instance_uid: str, console: Console) -> None:
    with closing(Ledger(config.database_url, actor="quarantine")) as ledger, ledger.reading() as tx:
        found = [one for one in kept.listed(tx) if study_instance_uid in ("", one.study_instance_uid)]
    table = Table("study", "instances", "from", "since (UTC)", "state", caption="--set-aside leaves them out and has the study judged anew")
    for one in found:
        state = "waits for a decision" if one.code == kept.MIXED else "set aside"
        cells = (one.study_instance_uid, str(one.instances), one.calling_ae, f"{one.first_at:%Y-%m-%d %H:%M:%S}", state)
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table if found else "Nothing is in quarantine.")


def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    config: Annotated[Path, typer.Option("--config", "-c", help="Where the configuration is.", envvar="RADNODE_CONFIG")] = Path(
        "config.toml"
    ),
) -> None:
    """Let go of what may go by [retention], now; the couriers do the same every `sweep_s`.

    Example: `radnode purge --dry-run`
    """
    from node.app.retention import sweeper_of
    from node.app.role import Role

    settings = read_config(config)
    configure_logs(settings.log.level, settings.log.format, "cli")
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    with ExitStack() as stack:
        role = Role(settings, "purge", stack)
        sweeper = sweeper_of(settings, role.ledger, role.spool)
        _print_plan(sweeper.plan(), console)
        if not dry_run:
            console.print(f"{sweeper.sweep()} objects are gone.")


def _print_plan(plan: Sequence[Ripe], console: Console) -> None:
    table = Table("study", "what", "objects", "MB", "rule", "days since", caption="what is owed, open or younger than an hour never goes")
    for one in plan:
        cells = (one.study_instance_uid, one.what, str(one.objects), f"{one.size / 1e6:.1f}", one.rule, f"{one.age_s / 86400:.1f}")
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table if plan else "Nothing may go by [retention].")
