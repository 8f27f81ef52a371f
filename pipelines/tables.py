"""What the verbs on pipelines print for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from pipelines.catalog import Catalog
from pipelines.codes.table import Match
from pipelines.errors import CodedError
from pipelines.facts import SeriesFacts
from pipelines.openings import Opening
from pipelines.place import Place
from pipelines.result import Inference
from pipelines.rules import Input
from pipelines.selection import Choice
from pipelines.spec import read_pipeline


def of_catalog(known: Catalog, place: Place) -> Table:
    """Every pipeline with its model, or with the reason why it cannot run."""
    table = Table(
        Column("pipeline", no_wrap=True),
        Column("title", overflow="fold"),
        Column("model", overflow="fold"),
        Column("state", overflow="fold"),
    )
    for name, entry in known.available.items():
        model = f"{entry.model.name} {entry.model.version} ({entry.model.digest[:12]})"
        table.add_row(name, _text(entry.pipeline.title), _text(model), Text(_standing(name, place), style="green"))
    for name, error in known.unavailable.items():
        style = "yellow" if error.full_code == "BUNDLE_MISSING.absent" else "red"
        table.add_row(name, _text(_title(name, place)), "", Text(str(error), style=style))
    return table


def of_labels(labels: Mapping[str, Match | None]) -> RenderableType:
    """What each channel of a bundle's output was taken for."""
    if not labels:
        return Text("metadata.json does not say what the labels of the output mean.", style="yellow")
    table = Table("the bundle says", "taken for", "type", "laterality", "colour")
    for name, match in labels.items():
        if match is None:
            table.add_row(_text(name), Text("not in the table: left open", style="yellow"), "", "", "")
            continue
        code = f"({match.type.value}, {match.type.scheme}, {match.type.meaning})"
        side = match.laterality.meaning if match.laterality else ""
        table.add_row(_text(name), match.name, code, side, Text("██", style=f"rgb({','.join(map(str, match.rgb))})"))
    return table


def of_openings(openings: Iterable[Opening], path: Path) -> Table:
    """What is still to be filled in."""
    table = Table(
        Column("open", no_wrap=True),
        Column("what belongs there", overflow="fold"),
        title=f"{path} is written, and refused until this is filled in",
    )
    for opening in openings:
        table.add_row(opening.key, _text(opening.wanted))
    return table


def next_steps(*steps: str) -> Group:
    """What to do next, in order."""
    return Group(Text("Next:"), *(Text(f"  {number}. {step}") for number, step in enumerate(steps, start=1)))


def of_choice(inputs: Sequence[Input], choice: Choice, found: Iterable[SeriesFacts]) -> Table:
    """Whether each series of a folder is taken, and as which input, or why not."""
    table = Table(Column("series", overflow="fold"), "slices", Column("taken", overflow="fold"))
    said = {name: reason.sentence for name, reason in choice.reasons.items()}
    for one in choice.sets:
        said |= {facts.name: "yes" if len(inputs) == 1 else f"as {given.name}" for given, facts in zip(inputs, one, strict=True)}
    for facts in found:
        table.add_row(_text(facts.name), str(facts.instances), _text(said[facts.name]))
    return table


def of_findings(inference: Inference) -> Group:
    """What one run found, and what it took."""
    table = Table("finding", "measurement", "value", "unit", title=f"{inference.model.name} {inference.model.version}")
    for finding in inference.findings:
        for measurement in finding.measurements:
            name = f"{measurement.derivation.meaning} {measurement.name.meaning}" if measurement.derivation else measurement.name.meaning
            table.add_row(_text(finding.name), name, f"{measurement.value:.1f}", _text(measurement.unit.value))
    stages = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in inference.seconds.items())
    return Group(table, Text(f"{inference.device}: {stages}"))


def _standing(name: str, place: Place) -> str:
    if place.enabled is None:
        return "available"
    return "available, enabled" if name in place.enabled else "available, not enabled"


def _title(name: str, place: Place) -> str:
    """The title of a pipeline that cannot run, if it can be read at all."""
    try:
        return read_pipeline(place.pipelines / name / "pipeline.toml").title
    except CodedError:
        return ""


def _text(content: str) -> Text:
    """What others wrote, taken as it is: square brackets in it are no markup."""
    return Text(content)
