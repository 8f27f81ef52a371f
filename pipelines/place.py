"""Where pipelines and bundles lie, and where a study's files come from: what differs between a node and a command line of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

PIPELINES = Path(__file__).resolve().parent
MODELS = PIPELINES.parent / "models"


def files_in(folder: str) -> Iterable[Path]:
    """List every file below a folder."""
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What the verbs work on.

    Attributes
    ----------
    pipelines, models : Path
        The folder of pipeline.toml folders, and that of bundles with manifest.toml.
    enabled : tuple of str or None
        What a node runs; None where there is no node.
    files_of : callable
        The files of a study, by what the operator calls it: a folder, or for a node a Study Instance UID.
    program : str
        How the command line is called, for sentences that say what to do next.
    """

    pipelines: Path = PIPELINES
    models: Path = MODELS
    enabled: tuple[str, ...] | None = None
    files_of: Callable[[str], Iterable[Path]] = files_in
    program: str = "python -m pipelines"
