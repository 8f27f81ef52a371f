"""An outcome as files: the cases as CSV, the numbers as JSON, and a table for a model card."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict
from pathlib import Path

from pipelines.evaluation.outcome import Estimate, Outcome


def write_report(outcome: Outcome, folder: Path) -> list[Path]:
    """Write ``cases.csv``, ``summary.json`` and ``summary.md``; the same outcome gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("cases.csv", "summary.json", "summary.md")]
    with paths[0].open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(outcome.cases[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(outcome.cases)
    summary = {
        "task": outcome.task,
        "title": outcome.title,
        "terms": outcome.terms,
        "estimates": [{key: _plain(value) for key, value in asdict(one).items()} for one in outcome.estimates],
        "matrices": [{"name": one.name, "classes": one.classes, "counts": one.counts.tolist()} for one in outcome.matrices],
    }
    paths[1].write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    paths[2].write_text(table_of(outcome), encoding="utf-8")
    return paths


def table_of(outcome: Outcome) -> str:
    """The numbers as a table in Markdown, with the terms below it."""
    lines = [f"{outcome.title}", "", "| what | measure | value | 95 % interval | cases |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(row_of(one))} |" for one in outcome.estimates]
    return "\n".join([*lines, "", outcome.terms, ""])


def row_of(one: Estimate) -> tuple[str, str, str, str, str]:
    """One number for people: what, measure, value, interval, cases."""
    measure = f"{one.measure} ({one.unit})" if one.unit else one.measure
    interval = "" if math.isnan(one.low) else f"{_digits(one.low)} to {_digits(one.high)}"
    return one.subject, measure, _digits(one.value), interval, str(one.cases)


def _digits(value: float) -> str:
    if math.isnan(value):
        return "not defined"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _plain(value: object) -> object:
    """JSON has no word for what is not a number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
