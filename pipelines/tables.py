"""What the verbs on pipelines print for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from pipelines.catalog import Catalog
from pipelines.checks import Report
from pipelines.codes.table import Match
from pipelines.criteria import judge
from pipelines.errors import CodedError
from pipelines.facts import SeriesFacts
from pipelines.openings import Opening
from pipelines.place import Place
from pipelines.result import Box, Inference
from pipelines.rules import Input
from pipelines.selection import Choice
from pipelines.spec import Pipeline, read_pipeline
from pipelines.study import Study

#: What a site has to do before a pipeline can run; nothing is wrong with it.
WAITS_FOR_THE_SITE = frozenset({"BUNDLE_MISSING.absent", "BUNDLE_CONTRACT.prerequisites"})


def of_catalog(known: Catalog, place: Place) -> Group:
    """Every pipeline with its model, and below why some cannot run."""
    table = Table(
        Column("pipeline", no_wrap=True), Column("title", no_wrap=True), Column("model", overflow="fold"), Column("state", no_wrap=True)
    )
    for name, entry in known.available.items():
        model = f"{entry.model.name} {entry.model.version} ({entry.model.digest[:12]})"
        table.add_row(name, _text(entry.pipeline.title), _text(model), Text(_standing(name, place), style="green"))
    why: list[Text] = []
    for name, error in known.unavailable.items():
        style = "yellow" if error.full_code in WAITS_FOR_THE_SITE else "red"
        table.add_row(name, _text(_title(name, place)), "", Text(error.full_code, style=style))
        why.append(Text(f"{name}: {error.sentence}", style=style, overflow="fold"))
    return Group(table, *why)


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


def of_choice(inputs: Sequence[Input], choice: Choice, study: Study) -> Table:
    """Whether each series of a study is taken, and as which input, or why not."""
    table = Table(Column("series", overflow="fold"), "slices", Column("taken", overflow="fold"))
    for facts in study.facts:
        table.add_row(_text(facts.name), str(facts.instances), _text(_outcome(inputs, choice, facts)))
    for uid, sentence in study.unread.items():
        table.add_row(_text(uid), "", _text(sentence))
    return table


def of_explanation(pipeline: Pipeline, choice: Choice, study: Study) -> Group:
    """Everything that a pipeline asks of each series of a study, what was found, and what became of it."""
    said = " ".join(choice.missing) or ("takes:" if choice.sets else "takes nothing of the study:")
    parts: list[RenderableType] = [Text(f"{pipeline.name}: {said}", style="bold")]
    for facts in study.facts:
        table = Table(Column("asked", min_width=24), Column("wanted", overflow="fold"), Column("found", overflow="fold"), "holds")
        for given in pipeline.inputs:
            about = f"{given.name}: " if len(pipeline.inputs) > 1 else ""
            for each in judge(given, facts):
                mark = Text("yes", style="green") if each.holds else Text("no", style="red")
                table.add_row(_text(f"{about}{each.title}"), _text(each.wanted), _text(each.found), mark)
        parts += [Text(f"\n{facts.name}, {facts.instances} slices: {_outcome(pipeline.inputs, choice, facts)}"), table]
    return Group(*parts, *(Text(f"\n{uid}: {sentence}") for uid, sentence in study.unread.items()))


def of_report(title: str, report: Report) -> Table:
    """What a test looked at, one by one."""
    table = Table("check", "passed", Column("measured", justify="right"), Column("what it means", overflow="fold"), title=title)
    for check in report.checks:
        mark = Text("yes", style="green") if check.passed else Text("NO", style="bold red")
        table.add_row(_text(check.name), mark, "" if check.number is None else f"{check.number:.3f}", _text(check.sentence))
    return table


def of_refusal(name: str, error: CodedError) -> Text:
    """A pipeline that cannot even be asked."""
    return Text(f"{name}: {error}", style="red")


def _outcome(inputs: Sequence[Input], choice: Choice, facts: SeriesFacts) -> str:
    for one in choice.sets:
        for given, taken in zip(inputs, one, strict=True):
            if taken == facts:
                return "taken" if len(inputs) == 1 else f"taken as {given.name}"
    return choice.reasons[facts.name].sentence


def of_findings(inference: Inference) -> Group:
    """What one run found, and what it took."""
    table = Table("finding", "measurement", "value", "unit", title=f"{inference.model.name} {inference.model.version}")
    for finding in inference.findings:
        name = finding.name if finding.box is None else f"{finding.name} {finding.number}, {_where(finding.box)}"
        for measurement in finding.measurements:
            what = f"{measurement.derivation.meaning} {measurement.name.meaning}" if measurement.derivation else measurement.name.meaning
            table.add_row(_text(name), what, f"{measurement.value:.1f}", _text(measurement.unit.value))
        if not finding.measurements:
            table.add_row(_text(name), "", "", "")
    stages = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in inference.seconds.items())
    nothing = [] if inference.findings else [Text("Nothing was found.")]
    return Group(table, *nothing, Text(f"{inference.device}: {stages}"))


def _where(box: Box) -> str:
    return f"score {box.score:.2f} at ({', '.join(f'{value:.1f}' for value in box.center_mm)}) mm"


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
