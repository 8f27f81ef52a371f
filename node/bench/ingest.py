"""``radnode bench ingest``: how fast instances are received, beside DCMTK, Orthanc and pynetdicom in the same run.

Receivers take turns, another one first in each round, so that what else the machine does meets all of them; a rate is that of the median
round. Each answers on its own terms: RadNode answers when the bytes are fsynced and hashed, storescp when they are handed to the operating
system.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from node import __version__
from node.bench.limits import even_out, fsyncs_per_second, loopback_bytes_per_second, make_empty
from node.bench.load import send_load
from node.bench.receivers import running
from node.bench.series import write_series
from node.core.errors import PeerUnavailable

#: Before each run: the disk has written what the last one left behind, and what was started has come to rest.
_REST_S = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run."""

    kinds: Sequence[str]
    associations: Sequence[int]
    receivers: Sequence[str]
    rounds: int
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One receiver under one load, once."""

    kind: str
    associations: int
    receiver: str
    per_second: float
    mb_per_second: float
    cpu_s_per_1000: float
    peak_mb: float
    p50_ms: float
    p99_ms: float
    failed: int


def run(plan: Plan, console: Console) -> list[Measured]:
    """Run the plan with a progress bar, and print the table."""
    found: list[Measured] = []
    missing: set[str] = set()
    files = {kind: write_series(kind, plan.folder / kind) for kind in plan.kinds}
    console.print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, RadNode {__version__}"
    )
    # Nothing is deleted before the end, only emptied (``make_empty``).
    with TemporaryDirectory(prefix="received-", dir=plan.folder) as folder, Progress(console=console) as progress:
        fsyncs = ", ".join(f"{fsyncs_per_second(Path(folder), count):.0f} with {count}" for count in plan.associations)
        console.print(f"limits: fsynced CT files/s by so many writers: {fsyncs}; loopback {loopback_bytes_per_second() / 1e6:.0f} MB/s")
        rounds = [(kind, number) for kind in plan.kinds for number in range(plan.rounds)]
        for kind, number in progress.track(rounds, description="rounds"):
            runs = [(count, name) for count in plan.associations for name in _turned(plan.receivers, number)]
            for count, name in progress.track(runs, description=f"{kind}, round {number + 1}"):
                if name in missing:
                    continue
                place = Path(folder) / f"{kind}-{number}-{count}-{name}"
                try:
                    found.append(_measure(kind, count, name, files[kind], place))
                except PeerUnavailable as error:
                    missing.add(name)
                    progress.console.print(f"{name} is left out: {error.sentence}")
                make_empty(place)
    for kind in plan.kinds:
        console.print(_table(kind, [one for one in found if one.kind == kind], plan))
    return found


def _turned(names: Sequence[str], number: int) -> Sequence[str]:
    first = number % len(names)
    return [*names[first:], *names[:first]]


def _measure(kind: str, associations: int, receiver: str, files: Sequence[Path], folder: Path) -> Measured:
    with running(receiver, folder) as peer, peer.watching_memory() as peak_mb:
        even_out(folder)
        time.sleep(_REST_S)
        before = peer.cpu_seconds()
        load = send_load(peer.target, files, associations)
        spent = peer.cpu_seconds() - before
        return Measured(
            kind=kind,
            associations=associations,
            receiver=receiver,
            per_second=load.instances / load.seconds,
            mb_per_second=load.bytes / load.seconds / 1e6,
            cpu_s_per_1000=1000 * spent / load.instances,
            peak_mb=peak_mb(),
            p50_ms=1000 * load.latencies[len(load.latencies) // 2],
            p99_ms=1000 * load.latencies[int(len(load.latencies) * 0.99)],
            failed=load.failed,
        )


def medians(found: Sequence[Measured]) -> Mapping[tuple[int, str], Measured]:
    """For each number of associations and receiver, the round with the median rate."""
    groups: dict[tuple[int, str], list[Measured]] = {}
    for one in found:
        groups.setdefault((one.associations, one.receiver), []).append(one)
    return {key: sorted(group, key=lambda one: one.per_second)[(len(group) - 1) // 2] for key, group in groups.items()}


_COLUMNS = (
    *("associations", "receiver", "instances/s", "min-max", "MB/s", "CPU s/1000", "peak MB", "p50 ms", "p99 ms", "failed"),
    *("x rate", "x CPU", "x memory"),
)


def _table(kind: str, found: Sequence[Measured], plan: Plan) -> Table:
    title = f"{kind}: median of {plan.rounds} rounds; x is RadNode's figure over the other's"
    table = Table(title=title, title_justify="left")
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column == "receiver" else "right")
    middle = medians(found)
    for (count, name), one in sorted(middle.items(), key=lambda item: (item[0][0], plan.receivers.index(item[0][1]))):
        rates = [other.per_second for other in found if (other.associations, other.receiver) == (count, name)]
        ours = middle.get((count, "radnode"))
        cells = (count, name, f"{one.per_second:.0f}", f"{min(rates):.0f}-{max(rates):.0f}", f"{one.mb_per_second:.0f}")
        more = (f"{one.cpu_s_per_1000:.2f}", f"{one.peak_mb:.0f}", f"{one.p50_ms:.2f}", f"{one.p99_ms:.2f}", one.failed)
        table.add_row(*(str(cell) for cell in (*cells, *more, *_ratios(ours, one))))
    return table


def _ratios(ours: Measured | None, other: Measured) -> tuple[str, ...]:
    if ours is None or ours.receiver == other.receiver:
        return ("", "", "")
    pairs = ((ours.per_second, other.per_second), (ours.cpu_s_per_1000, other.cpu_s_per_1000), (ours.peak_mb, other.peak_mb))
    return tuple(f"{mine / theirs:.2f}" if theirs else "" for mine, theirs in pairs)


def save(found: Sequence[Measured], folder: Path) -> None:
    """Leave the numbers as JSON and, where matplotlib is installed, a picture of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ingest.json").write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n", encoding="utf-8")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    for kind in sorted({one.kind for one in found}):
        mine = [one for one in found if one.kind == kind]
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        counts = sorted({one.associations for one in mine})
        names = list(dict.fromkeys(one.receiver for one in mine))
        for place, name in enumerate(names):
            rates = [[one.per_second for one in mine if (one.receiver, one.associations) == (name, count)] or [0.0] for count in counts]
            where = [index + (place - (len(names) - 1) / 2) * 0.8 / len(names) for index in range(len(counts))]
            middles = [statistics.median(rate) for rate in rates]
            spread = [[middle - min(rate) for middle, rate in zip(middles, rates, strict=True)]]
            spread.append([max(rate) - middle for middle, rate in zip(middles, rates, strict=True)])
            axes.bar(where, middles, 0.8 / len(names), yerr=spread, capsize=2, label=name)
        axes.set_xticks(range(len(counts)), [str(count) for count in counts])
        axes.set_xlabel("associations")
        axes.set_ylabel("instances per second")
        axes.set_title(f"{kind}: received per second, median with range")
        axes.legend(fontsize="small")
        figure.savefig(folder / f"ingest-{kind}.png", dpi=110)
