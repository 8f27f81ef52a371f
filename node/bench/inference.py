"""``radnode bench inference``: where the time goes from the files of a series to its results, and how that compares with stock MONAI.

Everybody runs the same bundle on the same voxels in this session, in turns, in a process of its own, and is warm when it counts. Stock
MONAI reads uncompressed NIfTI, which somebody made of the series before, and saves NIfTI; the node reads DICOM and makes a Segmentation and
a report.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from node import __version__
from node.bench.contenders import Case, Measured, run_node, run_stock, write_nifti
from node.core.errors import ConfigError
from pipelines.phantom import make_chest_ct, write_datasets
from pipelines.result import SeriesFiles

BUNDLES = ("untrained_spleen", "ct_lungs")
#: What stock MONAI does before its postprocessing, which is not taken apart.
STOCK_FIRST = "load,preprocess,network"
#: The stages in the order in which they happen; what is measured under another name comes behind them.
STAGES = (
    *(
        "volume",
        "decode",
        "preprocess",
        "upload",
        "network",
        "stitch",
        STOCK_FIRST,
        "invert",
        "argmax",
        "postprocess",
        "download",
        "measure",
    ),
    *("encode", "inspect", "save"),
)
#: What a pipeline.toml says to do the same in less time.
FAST = """
[speed]
argmax_in_slices = true
backend = "openvino"

[overrides]
"preprocessing#transforms#3#dtype" = "$torch.float32"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run.

    Attributes
    ----------
    slices, size : int
        Of the series.
    field_mm : float
        Its field of view, across and along the body at the least; its slices are 1 mm apart or more. A chest needs 300.
    pipelines, models : Path
        Where the shipped pipelines and bundles are.
    """

    bundles: Sequence[str]
    slices: int
    size: int
    field_mm: float
    rounds: int
    device: str
    folder: Path
    pipelines: Path
    models: Path


def run(plan: Plan, console: Console) -> list[Measured]:
    """Run the plan, and print a table for each bundle."""
    if strange := sorted(set(plan.bundles) - set(BUNDLES)):
        raise ConfigError(f"bench inference knows the bundles {', '.join(BUNDLES)}, and not {', '.join(strange)}.")
    plan.folder.mkdir(parents=True, exist_ok=True)
    console.print(_machine(plan))
    found: list[Measured] = []
    with TemporaryDirectory(prefix="inference-", dir=plan.folder) as name:
        case = _case(plan, Path(name))
        for bundle in plan.bundles:
            contenders = _contenders(plan, Path(name), bundle)
            for number in range(plan.rounds):
                for contender, declaration, models in contenders:
                    with console.status(f"{bundle}, round {number + 1} of {plan.rounds}: {contender}"):
                        found.append(_measured(bundle, contender, declaration, models, case))
            console.print(_table(bundle, middles(found, bundle)))
            console.print(_difference(case))
    return found


def _machine(plan: Plan) -> str:
    busy = os.getloadavg()[0]
    return (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {busy:.1f} before the first run, "
        f"Python {platform.python_version()}, RadNode {__version__}, device {plan.device}; "
        f"{plan.size} x {plan.size} x {plan.slices}, {plan.rounds} rounds, the median counts"
    )


def _case(plan: Plan, folder: Path) -> Case:
    spacing_mm = (max(1.0, 0.75 * plan.field_mm / plan.slices), plan.field_mm / plan.size, plan.field_mm / plan.size)
    phantom = make_chest_ct(shape=(plan.slices, plan.size, plan.size), spacing_mm=spacing_mm)
    paths = tuple(write_datasets(phantom.datasets, folder / "dicom"))
    uid = phantom.series_instance_uid
    del phantom
    write_nifti(SeriesFiles(series_instance_uid=uid, paths=paths), folder / "chest.nii")
    return Case(series_instance_uid=uid, dicom=paths, nifti=folder / "chest.nii", labels=folder / "labels", device=plan.device)


def _contenders(plan: Plan, folder: Path, bundle: str) -> list[tuple[str, Path, Path]]:
    """Stock MONAI, the bundle as it was published, and, for the untrained one, with what its pipeline.toml may ask for."""
    if bundle != "untrained_spleen":
        declaration = plan.pipelines / bundle / "pipeline.toml"
        return [("stock", declaration, plan.models), ("radnode", declaration, plan.models)]
    from pipelines.untrained import declaration_of, write_untrained

    models = folder / "models"
    write_untrained(models)
    declarations = {}
    for name, tables in (("radnode", ""), ("radnode_fast", FAST)):
        declarations[name] = folder / name / "pipeline.toml"
        declarations[name].parent.mkdir()
        declarations[name].write_text(declaration_of(name, tables), encoding="utf-8")
    return [("stock", declarations["radnode"], models), *((name, path, models) for name, path in declarations.items())]


def _measured(bundle: str, contender: str, declaration: Path, models: Path, case: Case) -> Measured:
    if contender == "stock":
        return run_stock(models / bundle, case)
    return run_node(contender, declaration, models, case)


def middles(found: Sequence[Measured], bundle: str) -> Mapping[str, Measured]:
    """For each contender the round with the median time."""
    groups: dict[str, list[Measured]] = {}
    for one in found:
        if one.bundle == bundle:
            groups.setdefault(one.contender, []).append(one)
    return {name: sorted(group, key=lambda one: one.whole_s)[(len(group) - 1) // 2] for name, group in groups.items()}


def stages_of(measured: Sequence[Measured]) -> list[str]:
    """All stages that were measured, in the order in which they happen."""
    names = dict.fromkeys(stage for one in measured for stage in one.seconds)
    return sorted(names, key=lambda name: STAGES.index(name) if name in STAGES else len(STAGES))


def _table(bundle: str, middle: Mapping[str, Measured]) -> Table:
    table = Table(title=f"{bundle}: seconds of a warm run", title_justify="left")
    table.add_column("")
    for name in middle:
        table.add_column(name, justify="right")
    for stage in stages_of(list(middle.values())):
        table.add_row(stage, *(_cell(one.seconds.get(stage, math.nan)) for one in middle.values()))
    table.add_section()
    stock = middle["stock"]
    table.add_row("whole", *(_cell(one.whole_s) for one in middle.values()))
    table.add_row("whole, processor time", *(_cell(one.cpu_s) for one in middle.values()))
    table.add_row("network's share, %", *(_cell(share(one)) for one in middle.values()))
    table.add_row("stock takes, times this", *(_cell(stock.whole_s / one.whole_s) for one in middle.values()))
    table.add_row("to its labels alone", *(_cell(_to_labels(stock) / _to_labels(one)) for one in middle.values()))
    table.add_row("in processor time", *(_cell(stock.cpu_s / one.cpu_s) for one in middle.values()))
    table.add_row("cold, with start and load", *(_cell(one.cold_s) for one in middle.values()))
    table.add_row("peak host MB", *(f"{one.host_mb:.0f}" for one in middle.values()))
    table.add_row("peak device MB", *("none" if math.isnan(one.device_mb) else f"{one.device_mb:.0f}" for one in middle.values()))
    table.add_row("network by", *(one.by for one in middle.values()))
    return table


def share(one: Measured) -> float:
    """The network's part of the whole, in percent; what stitches its windows is not counted as network."""
    return 100 * one.seconds["network"] / one.whole_s if "network" in one.seconds else math.nan


def _to_labels(one: Measured) -> float:
    """From the files to labels on the source grid: without what is made of them."""
    return one.whole_s - sum(one.seconds.get(stage, 0.0) for stage in ("measure", "encode", "inspect", "save"))


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def _difference(case: Case) -> str:
    """In how many voxels the labels of the node's contenders differ from each other."""
    first, *others = sorted(case.labels.glob("*.npy"))
    reference = np.load(first)
    said = [
        f"{path.stem} and {first.stem}: {np.count_nonzero(np.load(path) != reference)} of {reference.size} labels differ" for path in others
    ]
    return "; ".join(said) or f"labels found: {np.unique(reference).tolist()}"


def save(found: Sequence[Measured], folder: Path) -> None:
    """Leave the numbers as JSON and, where matplotlib is installed, a picture of the stages."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(one) for one in found], indent=1).replace("NaN", "null")
    (folder / "inference.json").write_text(text + "\n", encoding="utf-8")
    try:
        from matplotlib import colormaps
        from matplotlib.figure import Figure
    except ImportError:
        return
    bundles = list(dict.fromkeys(one.bundle for one in found))
    figure = Figure(figsize=(5.5 * len(bundles), 4.5), layout="constrained")
    colours = {name: colormaps["tab20"](number) for number, name in enumerate(stages_of(found))}
    for place, bundle in enumerate(bundles):
        middle = middles(found, bundle)
        axes = figure.add_subplot(1, len(bundles), place + 1)
        for name, one in middle.items():
            base = 0.0
            for stage in stages_of([one]):
                axes.bar(name, one.seconds[stage], bottom=base, color=colours[stage], hatch="//" if "network" in stage else None)
                base += one.seconds[stage]
        axes.set(title=bundle, ylabel="seconds of a warm run")
    handles = [figure.axes[0].bar(0, 0, color=colour, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside right upper", fontsize="small")
    figure.savefig(folder / "inference.png", dpi=110)
