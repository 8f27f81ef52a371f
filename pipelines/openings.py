"""What a pipeline.toml leaves open: values that somebody who knows must fill in before the pipeline may run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: A text that begins with this stands where a value is missing; behind it is said what belongs there.
MARK = "OPEN: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One value that is missing.

    Attributes
    ----------
    key : str
        Where, as the faults of pipeline.toml are named: ``labels.0.type``.
    wanted : str
        What belongs there.
    """

    key: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.key} ({self.wanted})"


def openings_in(table: Any, key: str = "") -> Iterator[Opening]:
    """Find everything that a pipeline.toml leaves open.

    Parameters
    ----------
    table : dict, list or value
        As tomllib reads it.
    key : str
        Where the table lies.
    """
    if isinstance(table, str) and table.startswith(MARK):
        yield Opening(key=key, wanted=table.removeprefix(MARK))
    inner = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    for name, value in inner:
        yield from openings_in(value, f"{key}.{name}" if key else str(name))
