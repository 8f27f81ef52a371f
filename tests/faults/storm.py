"""The storm: a node is held to its promises while everything that it stands on is taken away, again and again.

Studies come in while listeners, workers, models and couriers are killed at random; the database loses connections and the answers of
commits and crashes, or is held by somebody else; the PACS refuses, hangs up, and is gone for a while. Then it is quiet, and everything
must be right. A short one is a test; the long one is for a machine that has an hour::

    python -m tests.faults.storm --studies 300 --kills 200 --database postgresql
"""

import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil
import typer
from pydicom.dataset import Dataset
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table
from sqlalchemy.engine.url import make_url

from node.core.errors import StorageError
from node.ledger import views
from pipelines.phantom import make_chest_ct, uid_from, write_datasets
from tests import invariants
from tests.faults.archive import MoodyArchive
from tests.faults.wiretap import Wiretap
from tests.invariants import Archived
from tests.nodes import Node, RoleProcess
from tests.peers import HOST, PostgreSQL, find_tool, store_scu

#: How far killing may be ahead of the studies that are done, and sending of killing, in shares of the whole: the storm is to last as long
#: as the work.
_AHEAD = 0.1
#: Beside what ``serve`` keeps alive.
_EXTRA_ROLES = ("work", "deliver")
_SENDERS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How bad it is to be.

    Attributes
    ----------
    studies, kills : int
    gone_s : float
        How long the PACS is away, once in the middle.
    crashes : int
        Of PostgreSQL.
    mean_s : float
        Between two kills.
    """

    studies: int
    kills: int
    seed: int = 1
    gone_s: float = 60.0
    crashes: int = 3
    mean_s: float = 2.0
    refuses: float = 0.3
    drops: float = 0.004


@dataclass(slots=True)
class Counts:
    """What was done to the node, and what became of it."""

    killed: Counter[str] = field(default_factory=Counter)
    harms: Counter[str] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)
    seconds: float = 0.0


class Database(Protocol):
    """What the storm does to a database."""

    url: str

    def trouble(self) -> None:
        """Something small, which passes by itself."""

    def crash(self) -> None:
        """Something large."""

    def calm(self) -> None:
        """No more of it."""


class Server:
    """PostgreSQL behind a wire that breaks."""

    def __init__(self, server: PostgreSQL, tap: Wiretap, weather: Weather, counts: Counts) -> None:
        self._server, self._tap, self._counts = server, tap, counts
        self.url = server.create_database().replace(f":{server.port}/", f":{tap.port}/")
        tap.dropped_share = weather.drops

    def trouble(self) -> None:
        self._tap.cut_all()
        self._counts.harms["times all connections were cut"] += 1

    def crash(self) -> None:
        self._server.crash()
        time.sleep(2.0)
        self._server.start()
        self._counts.harms["crashes of PostgreSQL"] += 1

    def calm(self) -> None:
        self._tap.dropped_share = 0.0
        self._counts.harms["connections cut"] = self._tap.cut
        self._counts.harms["commits without an answer"] = self._tap.dropped


class File:
    """SQLite, which somebody else writes to."""

    url = ""

    def __init__(self, path: Callable[[], Path], chance: random.Random, counts: Counts) -> None:
        self._path, self._chance, self._counts = path, chance, counts

    def trouble(self) -> None:
        self._hold(self._chance.uniform(0.2, 1.5))

    def crash(self) -> None:
        self._hold(8.0)

    def calm(self) -> None:
        """Nothing is held any more."""

    def _hold(self, seconds: float) -> None:
        with suppress(sqlite3.OperationalError):  # the node is writing all the time: then it is left alone
            connection = sqlite3.connect(self._path(), timeout=2.0, isolation_level=None)
            try:
                connection.execute("BEGIN IMMEDIATE")
                time.sleep(seconds)
                connection.execute("ROLLBACK")
                self._counts.harms["times the database was locked"] += 1
            finally:
                connection.close()


class Storm:
    """One run.

    Parameters
    ----------
    folder : Path
        For the node and the studies.
    told : callable
        Called with the number of studies sent and done, and of kills, for those who watch.
    """

    def __init__(self, folder: Path, weather: Weather, told: Callable[[int, int, int], None] = lambda _sent, _done, _killed: None) -> None:
        self.weather, self.counts = weather, Counts()
        self._folder, self._told = folder, told
        self._chance = random.Random(weather.seed)
        self._progress = threading.Condition()
        self._sent = self._killed = self._done = 0
        self._model = make_chest_ct(study_name="storm").datasets

    def run(self, server: PostgreSQL | None) -> dict[str, int]:
        """Make the storm, wait until the node has come to rest, stop it and hold it against its promises.

        Parameters
        ----------
        server : PostgreSQL, optional
            A durable one; SQLite without.

        Returns
        -------
        dict
            What was counted: see `check`.
        """
        began = time.monotonic()
        with ExitStack() as stack:
            archive = stack.enter_context(MoodyArchive(random.Random(self.weather.seed + 1), self.weather.refuses))
            database = self._database(stack, server)
            self._node = self._make_node(archive, database.url)
            with self._node.role("serve") as serve, _kept_alive(self._node) as extras, ThreadPoolExecutor(_SENDERS) as senders:
                threading.Thread(target=self._watch, daemon=True).start()
                sending = [senders.submit(self._send, number) for number in range(self.weather.studies)]
                try:
                    self._rage(serve, extras, database, archive)
                finally:
                    database.calm()
                for sent in sending:
                    sent.result()
                self._node.wait_at_rest(studies=self.weather.studies, seconds=120 + 6 * self.weather.studies)
            self.counts.seconds = time.monotonic() - began
            return check(self._node, archive, self.counts, self.weather.studies)

    def _make_node(self, archive: MoodyArchive, url: str) -> Node:
        return Node(
            self._folder / "node",
            [("pacs", archive.ae_title, archive.port)],
            database=url,
            lease_s=5.0,
            quiet_s=2.0,
            confirm="query",
            deliver="probe_first_s = 0.5\nprobe_most_s = 4.0\n",
        )

    def _database(self, stack: ExitStack, server: PostgreSQL | None) -> Database:
        if server is None:
            return File(lambda: Path(str(make_url(self._node.config.database_url).database)), self._chance, self.counts)
        tap = stack.enter_context(Wiretap(server.port, random.Random(self.weather.seed + 2)))
        return Server(server, tap, self.weather, self.counts)

    def _send(self, number: int) -> None:
        """Send a study until every instance of it was answered Success, as a modality does."""
        self._in_step(lambda: self._killed / self.weather.kills > number / self.weather.studies - _AHEAD)
        folder = self._folder / f"study-{number}"
        files = {path.stem: path for path in write_datasets(_study_of(self._model, number), folder)}
        left = dict(files)
        while left:
            answered = store_scu(HOST, self._node.port, left.values(), f"CT{number % _SENDERS}").acknowledged
            left = {uid: path for uid, path in left.items() if uid not in answered}
            time.sleep(0.2 if left else 0)
        with self._progress:
            self.counts.acknowledged |= set(files)
            self._sent += 1
            self._progress.notify_all()
        for path in files.values():
            path.unlink()

    def _rage(self, serve: RoleProcess, extras: Callable[[], list[psutil.Process]], database: Database, archive: MoodyArchive) -> None:
        weather = self.weather
        crashes = {round((number + 1) * weather.kills / (weather.crashes + 1)) for number in range(weather.crashes)}
        for number in range(1, weather.kills + 1):
            self._in_step(lambda number=number: self._done / weather.studies > number / weather.kills - _AHEAD)  # type: ignore[misc]
            time.sleep(self._chance.uniform(0.5, 1.5) * weather.mean_s)
            self._kill_one(serve, extras())
            if number in crashes:
                database.crash()
            elif number % 4 == 0:
                database.trouble()
            if number == weather.kills // 2:
                threading.Thread(target=self._take_away, args=(archive,)).start()

    def _take_away(self, archive: MoodyArchive) -> None:
        archive.vanish()
        time.sleep(self.weather.gone_s)
        archive.open()
        self.counts.harms["seconds without a PACS"] += round(self.weather.gone_s)

    def _kill_one(self, serve: RoleProcess, extras: list[psutil.Process]) -> None:
        """SIGKILL to one process, each kind as often as the others."""
        assert serve.process is not None
        kinds: dict[str, list[psutil.Process]] = {}
        for process in (*_below(serve.process.pid), *extras, *(below for extra in extras for below in _below(extra.pid))):
            kinds.setdefault(_kind(process), []).append(process)
        kind = self._chance.choice(sorted(kinds))
        with suppress(psutil.NoSuchProcess):
            self._chance.choice(kinds[kind]).kill()
            self.counts.killed[kind] += 1
        with self._progress:
            self._killed += 1
            self._progress.notify_all()
            self._told(self._sent, self._done, self._killed)

    def _watch(self) -> None:
        """Count the studies that are done, as well as the database answers."""
        while self._done < self.weather.studies:
            with suppress(StorageError), self._node.ledger() as ledger, ledger.reading() as tx:
                done = views.counts(tx)["study"].get("processed", 0)
                with self._progress:
                    self._done = done
                    self._progress.notify_all()
            time.sleep(1.0)

    def _in_step(self, may_go: Callable[[], bool]) -> None:
        with self._progress:
            assert self._progress.wait_for(may_go, 600), "the node does not get on"


def _study_of(model: list[Dataset], number: int) -> Iterator[Dataset]:
    """The instances of the model, as those of another patient."""
    for instance in deepcopy(model):
        instance.PatientID = f"STORM-{number}"
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"):
            setattr(instance, keyword, uid_from("storm", number, instance[keyword].value))
        instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
        yield instance


def _below(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _kind(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        words = process.cmdline()
        if "node" in words:
            return words[words.index("node") + 1]
    return "model"


@contextmanager
def _kept_alive(node: Node) -> Iterator[Callable[[], list[psutil.Process]]]:
    """A further worker and a further courier, each started again when it dies; gives those that live."""
    stop, alive = threading.Event(), {}

    def keep(role: str) -> None:
        # The thread lives as long as the process: the kernel ends a process whose parent's thread is gone.
        command = [find_tool("setpriv"), "--pdeathsig", "KILL", "--", sys.executable, "-m", "node", role, "--config", str(node.config_path)]
        folder = node.folder / f"{role}-extra"
        folder.mkdir()
        while not stop.is_set():
            with (folder / "radnode.log").open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
                alive[role] = process
                while process.poll() is None and not stop.wait(0.2):
                    pass
                if stop.is_set():
                    process.kill()
            stop.wait(1.0)

    threads = [threading.Thread(target=keep, args=(role,)) for role in _EXTRA_ROLES]
    for thread in threads:
        thread.start()
    try:
        yield lambda: [psutil.Process(process.pid) for process in list(alive.values()) if process.poll() is None]
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def check(node: Node, archive: MoodyArchive, counts: Counts, studies: int) -> dict[str, int]:
    """Hold everything against what was promised, and count.

    Every study is done or dead with a reason, every output of what is done is at the PACS once, and the invariants hold.
    """
    assert not archive.conflicts, "an object was sent again with other content"
    held = Archived(archive.stored.values())
    invariants.check(node, counts.acknowledged, {"pacs": held})
    last = {row["study_instance_uid"]: row["revision"] for row in sorted(node.rows("study"), key=lambda row: row["revision"])}
    assert len(last) == studies
    jobs = [row for row in node.rows("work") if row["kind"] == "infer"]
    ends = {row["study_instance_uid"]: row for row in jobs if row["revision"] == last[row["study_instance_uid"]]}
    assert set(ends) == set(last), "a study of which nothing became"
    dead = [row for row in jobs if row["state"] != "done"]
    assert all(row["code"] for row in dead), "dead without a reason"
    owed = [row for row in node.rows("delivery") if row["destination"] == "pacs"]
    refused = [row for row in owed if row["state"] == "refused"]
    assert all(row["code"] for row in refused), "not delivered without a reason"
    done = len(jobs) - len(dead)
    assert len(owed) == 2 * done
    assert len(held.of("SEG")) + len(held.of("SR")) == 2 * done - len(refused)
    events = Counter(row.event for row in node.events())
    return {
        "studies": studies,
        "instances answered Success": len(counts.acknowledged),
        **{f"{kind} killed": number for kind, number in sorted(counts.killed.items())},
        **dict(sorted(counts.harms.items())),
        **{f"PACS: {answer}": number for answer, number in sorted(archive.answers.items())},
        "revisions": len(node.rows("study")),
        "jobs": len(jobs),
        "jobs dead with a reason": len(dead),
        "SEG at the PACS": len(held.of("SEG")),
        "SR at the PACS": len(held.of("SR")),
        "parked with a reason": len(refused),
        **{
            event: events[event]
            for event in ("job.claimed", "job.rescued", "job.fenced", "job.retried", "parcel.rescued", "delivery.postponed")
        },
        "rows of the audit log": sum(events.values()),
        "seconds": round(counts.seconds),
    }


def main(studies: int = 300, kills: int = 200, database: str = "sqlite", seed: int = 1, gone_s: float = 60.0, mean_s: float = 2.0) -> None:
    """Make a storm against a node of its own, and print what was counted; ends with an error where a promise was not held."""
    weather = Weather(studies=studies, kills=kills, seed=seed, gone_s=gone_s, mean_s=mean_s)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="radnode-storm-")))
        server = stack.enter_context(PostgreSQL(durable=True)) if database == "postgresql" else None
        bar = stack.enter_context(Progress(*Progress.get_default_columns(), MofNCompleteColumn()))
        bars = [
            bar.add_task(what, total=total)
            for what, total in (("studies sent", studies), ("studies done", studies), ("processes killed", kills))
        ]

        def tell(*numbers: int) -> None:
            for task, number in zip(bars, numbers, strict=True):
                bar.update(task, completed=number)

        counted = Storm(folder, weather, tell).run(server)
    table = Table("", "", title=f"The storm on {database}, seed {seed}", show_header=False)
    for what, number in counted.items():
        table.add_row(what, f"{number:,}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
