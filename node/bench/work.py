"""``radnode bench work``: what the queue costs, with real roles, a device that does nothing, and a storescp that receives.

Times are those of the audit log, by the database's clock, and of the device, by the machine's: with both on one machine they are one clock.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from node.app.role import migrate
from node.bench.feeder import Feeder, feeding, write_config
from node.bench.receivers import running
from node.config.read import read_config
from node.core.errors import PeerUnavailable
from node.core.job import Priority
from node.ledger.scratch import scratch_database

_PATIENCE_S = 600.0
_STUDIES = 20
_STATS = 5
_ROUTINE = 100
_SLOW_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure."""

    waiting: Sequence[int]
    jobs: int
    database: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One quantity: seconds of each time that it was measured, or a rate."""

    what: str
    waiting: int
    seconds: tuple[float, ...] = ()
    per_second: float = 0.0


def run(plan: Plan, console: Console) -> list[Measured]:
    """Run the plan, and print the table."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    found: list[Measured] = []
    for waiting in plan.waiting:
        with _place(plan) as place:
            found += _cost(place, plan.jobs, waiting, console)
    with _place(plan) as place:
        found += _urgent(place)
    with _place(plan) as place:
        found += _delays(place)
    console.print(_table(found))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where one round is made: what another round left would be in its way."""

    folder: Path
    database: str


@contextmanager
def _place(plan: Plan) -> Iterator[_Place]:
    with TemporaryDirectory(prefix="work-", dir=plan.folder) as folder, scratch_database(plan.database) as database:
        yield _Place(folder=Path(folder), database=database)


@contextmanager
def _role(config: Path, *command: str) -> Iterator[None]:
    """Run one role until the block ends, which begins when the role does."""
    log = config.with_name(f"{len(list(config.parent.glob('*.log')))}.log")
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", *command], stdout=output, stderr=output)
    try:
        _wait(lambda: b"queue.opened" in log.read_bytes(), f"{command[0]} did not begin; see {log}")
        yield
    finally:
        process.terminate()
        process.wait()


def _wait(is_so: Callable[[], object], sentence: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            raise PeerUnavailable(sentence, reason="bench")
        time.sleep(0.05)


def _hands(config: Path, seconds: float) -> tuple[str, ...]:
    return ("node.bench.hands", str(config), str(seconds))


@contextmanager
def _node(place: _Place, port: int | None = None) -> Iterator[tuple[Path, Feeder]]:
    path = write_config(place.folder, place.database, port)
    config = read_config(path)
    migrate(config)
    with feeding(config) as feeder:
        yield path, feeder


def _cost(place: _Place, jobs: int, waiting: int, console: Console) -> Iterator[Measured]:
    """Enter and do jobs while so many others, of a lower priority, wait."""
    with _node(place) as (config, feeder):
        if waiting:
            began = time.perf_counter()
            feeder.complete(feeder.open("filler"), Priority.BACKGROUND, waiting)
            console.print(f"{waiting} waiting jobs were entered in {time.perf_counter() - began:.0f} s")
        before = feeder.last()
        uids = [feeder.open(f"study {number}") for number in range(jobs)]
        entered = [feeder.complete(uid, Priority.ROUTINE) for uid in uids]
        yield Measured(what="study completed and job entered, one transaction", waiting=waiting, seconds=tuple(one[1] for one in entered))
        mine = {one[0] for one in entered}
        with _role(config, *_hands(config, 0.0)):
            _wait(lambda: len(feeder.rows("job.finished", before)) >= len(mine), "jobs remain")
        claimed = [row.at for row in feeder.rows("job.claimed", before) if row.work_id in mine]
        finished = [row.at for row in feeder.rows("job.finished", before) if row.work_id in mine]
        rate = len(mine) / (max(finished) - min(claimed)).total_seconds()
        yield Measured(what="jobs done by one worker, one at a time", waiting=waiting, per_second=rate)


def _urgent(place: _Place) -> Iterator[Measured]:
    """Enter a STAT job behind routine ones, again and again, while a worker does one after the other."""
    with _node(place) as (config, feeder):
        for number in range(_ROUTINE + 10 * _STATS):
            feeder.complete(feeder.open(f"study {number}"), Priority.ROUTINE)
        seconds = []
        with _role(config, *_hands(config, _SLOW_S)):
            _wait(lambda: len(feeder.rows("job.finished")) >= 3, "no job was done")
            for number in range(_STATS):
                job_id, _ = feeder.complete(feeder.open(f"stat {number}"), Priority.STAT)
                _wait(lambda job=job_id: _at(feeder, "job.claimed", job), "the STAT job was not claimed")  # type: ignore[misc]
                seconds.append(_at(feeder, "job.claimed", job_id) - _at(feeder, "job.queued", job_id))
        what = f"STAT entered to claimed, behind {_ROUTINE} routine jobs of {_SLOW_S * 1000:.0f} ms"
        yield Measured(what=what, waiting=_ROUTINE, seconds=tuple(seconds))


def _at(feeder: Feeder, event: str, work_id: str) -> float:
    return next((row.at.timestamp() for row in feeder.rows(event) if row.work_id == work_id), 0.0)


def _delays(place: _Place) -> Iterator[Measured]:
    """Bring studies through one by one: from complete to the device, and from the device to the last C-STORE-RSP."""
    with running("storescp", place.folder / "pacs") as pacs, _node(place, pacs.target.port) as (config, feeder):
        before = feeder.last()
        with _role(config, *_hands(config, 0.0)), _role(config, "node", "deliver", "--config", str(config)):
            for number in range(_STUDIES):
                feeder.complete(feeder.open(f"study {number}"), Priority.ROUTINE)
                _wait(lambda done=number + 1: len(feeder.rows("parcel.finished", before)) >= done, "a parcel remains")  # type: ignore[misc]
        completed = {row.study_instance_uid: row.at.timestamp() for row in feeder.rows("study.completed", before)}
        device = {row.study_instance_uid: row.detail for row in feeder.rows("job.finished", before)}
        sent = {row.study_instance_uid: row.at.timestamp() for row in feeder.rows("delivery.sent", before)}
    starts = tuple(device[uid]["began_at"] - completed[uid] for uid in completed)
    ends = tuple(sent[uid] - device[uid]["ended_at"] for uid in completed)
    yield Measured(what="study complete to inference start", waiting=0, seconds=starts)
    yield Measured(what="inference end to delivered (SEG and SR), answer written", waiting=0, seconds=ends)
    yield Measured(what="both together", waiting=0, seconds=tuple(map(sum, zip(starts, ends, strict=True))))


def _table(found: Sequence[Measured]) -> Table:
    table = Table(title="The queue, without the work: milliseconds, and jobs a second", title_justify="left")
    for column in ("what", "others waiting", "times", "median ms", "95 % ms", "most ms", "jobs/s"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for one in found:
        times = sorted(one.seconds)
        numbers = (statistics.median(times), times[int(len(times) * 0.95)], times[-1]) if times else ()
        cells = [f"{1000 * number:.1f}" for number in numbers] or ["", "", ""]
        table.add_row(one.what, str(one.waiting), str(len(times) or ""), *cells, f"{one.per_second:.0f}" if one.per_second else "")
    return table


def save(found: Sequence[Measured], folder: Path) -> None:
    """Leave the numbers as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "work.json").write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n", encoding="utf-8")
