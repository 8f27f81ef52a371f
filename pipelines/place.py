"""Where pipelines and bundles lie, and where a study's files come from: what differs between a node and a command line of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import NoUsableSeries

PIPELINES = Path(__file__).resolve().parent
MODELS = PIPELINES.parent / "models"


@contextmanager
def files_in(folder: str) -> Iterator[Sequence[Path]]:
    """Every file below a folder, in a stable order.

    Raises
    ------
    NoUsableSeries
        reason ``no_folder``: there is no such folder.
    """
    if not Path(folder).is_dir():
        raise NoUsableSeries(f"There is no folder {folder}.", reason="no_folder")
    yield sorted(path for path in Path(folder).rglob("*") if path.is_file())


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What the verbs work on.

    Attributes
    ----------
    pipelines, models : Path
        The folder of pipeline.toml folders, and that of bundles with manifest.toml.
    enabled : tuple of str or None
        What a node runs; None where there is no node.
    study : callable
        The files of a study for as long as a block runs, by what the operator calls it: a folder, or for a node a Study Instance UID.
    program : str
        How the command line is called, for sentences that say what to do next.
    """

    pipelines: Path = PIPELINES
    models: Path = MODELS
    enabled: tuple[str, ...] | None = None
    study: Callable[[str], AbstractContextManager[Sequence[Path]]] = files_in
    program: str = "python -m pipelines"
