"""``radnode bench ingest``: how fast instances are received, beside DCMTK, Orthanc and pynetdicom in the same run.

Receivers take turns, so that what else the machine does meets all of them; a rate is the median of the rounds. Each answers on its own
terms: RadNode answers when the bytes are fsynced and hashed, storescp when they are handed to the operating system.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from node import __version__
from node.bench.limits import fsyncs_per_second, loopback_bytes_per_second
from node.bench.load import send_load
from node.bench.receivers import running
from node.bench.series import write_series
from node.core.errors import PeerUnavailable


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
    files = {kind: write_series(kind, plan.folder / kind) for kind in plan.kinds}
    console.print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, RadNode {__version__}"
    )
    console.print(f"limits: {fsyncs_per_second(plan.folder):.0f} fsynced CT files/s, loopback {loopback_bytes_per_second() / 1e6:.0f} MB/s")
    runs = [
        (kind, count, name) for _ in range(plan.rounds) for kind in plan.kinds for count in plan.associations for name in plan.receivers
    ]
    missing: set[str] = set()
    with Progress(console=console) as progress:
        for kind, count, name in progress.track(runs, description="receiving"):
            if name in missing:
                continue
            try:
                found.append(_measure(kind, count, name, files[kind], plan.folder / "received"))
            except PeerUnavailable as error:
                missing.add(name)
                progress.console.print(f"{name} is left out: {error.sentence}")
    for kind in plan.kinds:
        console.print(_table(kind, [one for one in found if one.kind == kind], plan))
    return found


def _measure(kind: str, associations: int, receiver: str, files: Sequence[Path], folder: Path) -> Measured:
    with running(receiver, folder) as peer:
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
            peak_mb=peer.peak_mb(),
            p50_ms=1000 * load.latencies[len(load.latencies) // 2],
            p99_ms=1000 * load.latencies[int(len(load.latencies) * 0.99)],
            failed=load.failed,
        )


def medians(found: Sequence[Measured]) -> Mapping[tuple[int, str], Measured]:
    """For each number of associations and receiver, the round with the median rate."""
    groups: dict[tuple[int, str], list[Measured]] = {}
    for one in found:
        groups.setdefault((one.associations, one.receiver), []).append(one)
    return {key: sorted(group, key=lambda one: one.per_second)[len(group) // 2] for key, group in groups.items()}


def _table(kind: str, found: Sequence[Measured], plan: Plan) -> Table:
    table = Table(title=f"{kind}: median of {plan.rounds} rounds; ratios are RadNode's rate over the other's", title_justify="left")
    for column in (
        "associations",
        "receiver",
        "instances/s",
        "min-max",
        "MB/s",
        "CPU s/1000",
        "peak MB",
        "p50 ms",
        "p99 ms",
        "failed",
        "ratio",
    ):
        table.add_column(column, justify="left" if column == "receiver" else "right")
    middle = medians(found)
    for (count, name), one in middle.items():
        rates = [other.per_second for other in found if (other.associations, other.receiver) == (count, name)]
        ours = middle.get((count, "radnode"))
        ratio = f"{ours.per_second / one.per_second:.2f}" if ours and name != "radnode" else ""
        cells = (count, name, f"{one.per_second:.0f}", f"{min(rates):.0f}-{max(rates):.0f}", f"{one.mb_per_second:.0f}")
        more = (f"{one.cpu_s_per_1000:.2f}", f"{one.peak_mb:.0f}", f"{one.p50_ms:.2f}", f"{one.p99_ms:.2f}", one.failed, ratio)
        table.add_row(*(str(cell) for cell in (*cells, *more)))
    return table


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
