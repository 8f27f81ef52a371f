"""The files of one study, by series: what selection is told of them, and what a runner is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from pipelines.errors import InputError, UnsupportedPixelData
from pipelines.facts import SeriesFacts, survey
from pipelines.result import SeriesFiles
from pipelines.series import read_headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What lies in a folder.

    Attributes
    ----------
    series : mapping of str to sequence of (Path, Dataset)
        Files and their headers by Series Instance UID.
    facts : tuple of SeriesFacts
        Of each series, and of each of its stacks.
    unread : mapping of str to str
        Series Instance UID -> why nothing is known of a series.
    skipped : int
        Files that are not DICOM.
    """

    series: Mapping[str, Sequence[tuple[Path, Dataset]]]
    facts: tuple[SeriesFacts, ...]
    unread: Mapping[str, str]
    skipped: int

    def files_of(self, facts: SeriesFacts) -> SeriesFiles:
        """The files of a series, and which stack of it is meant."""
        uid = facts.series_instance_uid
        return SeriesFiles(series_instance_uid=uid, paths=tuple(path for path, _ in self.series[uid]), stack=facts.stack)


def read_study(paths: Iterable[Path]) -> Study:
    """Read the headers of files, in any order; what is not DICOM is counted and left out."""
    series: dict[str, list[tuple[Path, Dataset]]] = {}
    skipped = 0
    for path in paths:
        try:
            header = read_headers([path])[0]
        except UnsupportedPixelData:
            skipped += 1
            continue
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    facts: list[SeriesFacts] = []
    unread: dict[str, str] = {}
    for uid, members in series.items():
        try:
            facts.extend(survey([header for _, header in members]))
        except InputError as error:
            unread[uid] = str(error)
    return Study(series=series, facts=tuple(facts), unread=unread, skipped=skipped)
