"""Whole nodes for the tests: the real command, its real roles, a configuration of its own."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

from node.config import Config, read_config
from node.ledger import views
from node.ledger.engine import Ledger
from tests.peers import HOST, Peer, echo_scu, free_port, wait_until

REPOSITORY = Path(__file__).parents[1]

TEMPLATE = """\
[node]
ae_title = "RADNODE"
data = "{folder}/data"
database = "{database}"
[log]
format = "json"
[listen]
host = "127.0.0.1"
port = {port}
min_free_bytes = {min_free_bytes}
{listen}
[assemble]
quiet_s = {quiet_s}
sweep_s = {sweep_s}
[pipelines]
folder = "{repository}/pipelines"
models = "{repository}/models"
enabled = ["ct_lungs"]
[work]
device = "cpu"
lease_s = {lease_s}
retry_first_s = 0.2
retry_most_s = 1.0
crashes = 20
{work}
[deliver]
lease_s = {lease_s}
retry_first_s = 0.2
retry_most_s = 1.0
connect_s = 5.0
answer_s = 10.0
crashes = 20
{deliver}
"""

DESTINATION = """\
[[destination]]
name = "{name}"
ae_title = "{ae_title}"
host = "127.0.0.1"
port = {port}
confirm = "{confirm}"
"""


class RoleProcess(Peer):
    """One role of a node, or all of them under ``serve``."""

    name: ClassVar[str] = "radnode"

    def __init__(self, node: "Node", role: str, number: int = 1) -> None:
        super().__init__(node.folder / f"{role}-{number}", port=node.port)
        self.node, self.role = node, role
        self._lives = 0

    def command(self) -> list[str]:
        return [sys.executable, "-m", "node", self.role, "--config", str(self.node.config_path)]

    def is_ready(self) -> bool:
        if self.role == "web":
            return self.log.count('"event": "web.opened"') > self._lives
        if self.role in ("listen", "serve"):
            return echo_scu(HOST, self.port, called="RADNODE")
        return self.log.count('"event": "queue.opened"') > self._lives

    def start(self) -> "RoleProcess":
        self._lives = sum(self.log.count(f'"event": "{opened}"') for opened in ("queue.opened", "web.opened"))
        super().start()
        return self

    def kill_parent(self) -> None:
        """SIGKILL to the process itself and to nothing that it started."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        self.running.discard(self)


class Node:
    """A node in a folder: its configuration, its roles and its ledger.

    Parameters
    ----------
    destinations : sequence of (name, AE title, port)
        Who is owed the results.
    database : str, optional
        A URL; SQLite in the folder when empty.
    listen, work, deliver, more : str, optional
        Further lines of [listen], [work] and [deliver], and further tables.
    confirm : str, optional
        How destinations are asked behind their Success.
    web : str, optional
        Lines of ``[web]``; with any, instances are taken by HTTP on ``web_port`` as well.
    """

    def __init__(
        self,
        folder: Path,
        destinations: Sequence[tuple[str, str, int]],
        *,
        database: str = "",
        quiet_s: float = 0.8,
        sweep_s: float = 0.2,
        lease_s: float = 2.0,
        listen: str = "",
        more: str = "",
        web: str = "",
        min_free_bytes: int = 0,
        confirm: str = "none",
        work: str = "",
        deliver: str = "",
    ) -> None:
        self.folder, self.port, self.web_port = folder, free_port(), free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.config_path = folder / "config.toml"
        values = {
            "folder": folder,
            "database": database,
            "port": self.port,
            "repository": REPOSITORY,
            "quiet_s": quiet_s,
            "sweep_s": sweep_s,
            "lease_s": lease_s,
            "listen": listen,
            "min_free_bytes": min_free_bytes,
            "work": work,
            "deliver": deliver,
        }
        text = TEMPLATE.format(**values)
        text += f"[web]\nport = {self.web_port}\n{web}\n" if web else ""
        text += "".join(DESTINATION.format(name=name, ae_title=title, port=port, confirm=confirm) for name, title, port in destinations)
        text += more
        self.config_path.write_text(text)
        self.config: Config = read_config(self.config_path)
        self.processes: list[RoleProcess] = []

    def role(self, role: str, number: int = 1) -> RoleProcess:
        """A role that is not started yet."""
        process = RoleProcess(self, role, number)
        self.processes.append(process)
        return process

    @contextmanager
    def running(self, *roles: str) -> Iterator[list[RoleProcess]]:
        """Run roles, ``serve`` when none is named; all are killed at the end."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.role(role)) for role in roles or ("serve",)]

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The node's ledger, opened from outside."""
        with closing(Ledger(self.config.database_url, actor="test")) as ledger:
            yield ledger

    def events(self, uid: str = "") -> list[views.AuditRow]:
        """The audit log, of one UID or whole."""
        with self.ledger() as ledger, ledger.reading() as tx:
            return views.history(tx, uid) if uid else views.since(tx, 0)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Every row of a table."""
        with self.ledger() as ledger, ledger.reading() as tx:
            return views.all_rows(tx, table)

    def wait_for(self, event: str, *, count: int = 1, seconds: float = 60) -> views.AuditRow:
        """Wait until the audit log has ``count`` rows of ``event``; return the last of them."""

        def found() -> views.AuditRow | None:
            rows = [row for row in self.events() if row.event == event]
            return rows[-1] if len(rows) >= count else None

        row: views.AuditRow = wait_until(found, seconds=seconds, sentence=f"no {event} came", pause=0.05)
        return row

    def wait_at_rest(self, *, studies: int = 1, seconds: float = 90) -> None:
        """Wait until at least ``studies`` studies were processed and nothing is left to do."""

        def resting() -> bool:
            with self.ledger() as ledger, ledger.reading() as tx:
                return sum(views.counts(tx)["study"].values()) >= studies and views.is_at_rest(tx)

        try:
            wait_until(resting, seconds=seconds, sentence="the node did not come to rest", pause=0.1)
        except TimeoutError as error:
            error.add_note("\n".join(f"{row.n} {row.event} {row.code or ''} {row.detail}" for row in self.events()[-40:]))
            error.add_note(self.logs()[-3000:])
            raise

    def logs(self) -> str:
        """Everything that the roles have written."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*/radnode.log")))
