"""The verb that compares references with outputs: ``radnode evaluate``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from node.core.errors import EvaluationError

if TYPE_CHECKING:
    from pipelines.evaluation.masks import Masks
    from pipelines.evaluation.outcome import Outcome

_LABEL_FILES = (".npz", ".nii", ".nii.gz")


def evaluate(
    reference: Annotated[
        Path, typer.Argument(help="A file that names cases (JSON), or a reference: one SEG or label file, or a folder of them.")
    ],
    output: Annotated[Path | None, typer.Argument(help="What is compared with the reference: of the same kind.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="VALUE=NAME, for label files; may be given several times.")] = None,
    title: Annotated[str, typer.Option(help="What was evaluated on what, above tables and figures.")] = "",
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap.")] = 1000,
    out: Annotated[Path, typer.Option(help="Where tables (CSV, JSON, Markdown) and figures (PNG) are left.")] = Path("var/evaluate"),
) -> None:
    """Compare outputs with references: Dice and distances, FROC, or ROC and confusion matrix, with 95 % intervals.

    Example: `radnode evaluate truth/ found/` or `radnode evaluate cases.json --out models/ct_lungs/docs`
    """
    outcome = _of_files(reference, output, label or [], title, resamples) if output else _of_cases(reference, resamples)
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    console.print(_table(outcome))
    console.print(outcome.terms, highlight=False)
    for path in _written(outcome, out, console):
        console.print(f"written: {path}", highlight=False, soft_wrap=True)


def _of_cases(path: Path, resamples: int) -> Outcome:
    from pipelines.evaluation.cases import BoxStudy, ScoreStudy, read_study

    study = read_study(path)
    if isinstance(study, BoxStudy):
        from pipelines.evaluation.detection import evaluate_boxes

        return evaluate_boxes(study, resamples)
    if isinstance(study, ScoreStudy):
        from pipelines.evaluation.classification import evaluate_scores

        return evaluate_scores(study, resamples)
    from pipelines.evaluation.segmentation import evaluate_masks

    pairs = ((case.case, _masks(case.reference, study.labels), _masks(case.output, study.labels)) for case in study.cases)
    return evaluate_masks(study.title, pairs, resamples)


def _of_files(reference: Path, output: Path, label: list[str], title: str, resamples: int) -> Outcome:
    from pipelines.evaluation.segmentation import evaluate_masks

    names = _names(label)
    pairs = ((case, _masks(first, names), _masks(second, names)) for case, first, second in _paired(reference, output))
    return evaluate_masks(title or f"{output.name} against {reference.name}", pairs, resamples)


def _names(label: list[str]) -> Mapping[int, str]:
    parts = [one.partition("=") for one in label]
    wrong = [f"{value}{sign}{name}" for value, sign, name in parts if not (value.isdigit() and name)]
    if wrong:
        raise EvaluationError(f"--label takes VALUE=NAME, 1=Spleen for example, and not {wrong}.", reason="labels")
    return {int(value): name for value, _, name in parts}


def _paired(reference: Path, output: Path) -> Iterator[tuple[str, Path, Path]]:
    """Match files by what they are about: label files by name, Segmentations by the study and series that they refer to."""
    if not (reference.is_dir() or output.is_dir()):
        yield reference.name, reference, output
        return
    first, second = _by_subject(reference), _by_subject(output)
    missing = sorted(f"{path.name} has no output" for key, path in first.items() if key not in second)
    missing += sorted(f"{path.name} has no reference" for key, path in second.items() if key not in first)
    if missing or not first:
        raise EvaluationError(f"The two folders do not hold the same cases: {'; '.join(missing) or 'there are none'}.", reason="pairs")
    for key, path in sorted(first.items(), key=lambda item: item[1].name):
        yield path.name, path, second[key]


def _by_subject(folder: Path) -> dict[tuple[str, ...], Path]:
    from node.encode.reading import subject_of

    found: dict[tuple[str, ...], Path] = {}
    for path in sorted(folder.rglob("*") if folder.is_dir() else [folder]):
        if not path.is_file():
            continue
        suffix = next((end for end in _LABEL_FILES if path.name.endswith(end)), "")
        subject = (path.name.removesuffix(suffix),) if suffix else subject_of(path)
        if subject is None:
            continue
        if subject in found:
            raise EvaluationError(f"{found[subject].name} and {path.name} are about the same case; keep one of them.", reason="pairs")
        found[subject] = path
    return found


def _masks(path: Path, names: Mapping[int, str]) -> Masks:
    if path.name.endswith(_LABEL_FILES):
        from pipelines.evaluation.masks import read_label_file

        return read_label_file(path, names)
    from node.encode.reading import read_segmentation

    return read_segmentation(path)


def _table(outcome: Outcome) -> Table:
    from pipelines.evaluation.report import row_of

    table = Table("what", "measure", "value", "95 % interval", "cases", title=outcome.title, title_justify="left")
    for estimate in outcome.estimates:
        table.add_row(*row_of(estimate))
    return table


def _written(outcome: Outcome, folder: Path, console: Console) -> list[Path]:
    from pipelines.evaluation.report import write_report

    paths = write_report(outcome, folder)
    try:
        from pipelines.evaluation.plots import write_figures
    except ImportError:
        console.print("No figures: they need matplotlib, pip install 'radnode[bench]'.")
        return paths
    return [*paths, *write_figures(outcome, folder)]
