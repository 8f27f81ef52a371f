"""How urgent a complete study is: by who sent it, to which of our titles, or by what its own headers say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from node.core.errors import InputError
from node.core.job import Priority
from node.core.schedule import PriorityRule, Urgency, decide
from node.core.study import Instance
from node.ledger import instances
from node.ledger.engine import Ledger
from pipelines.damage import damage_refused
from pipelines.series import read_headers

#: A study of more series than this has told by now what it is.
_MOST_SERIES = 16


class Triage:
    """Gives each study its priority.

    Parameters
    ----------
    rules : sequence of PriorityRule
        The first that fits decides.
    otherwise : Priority
        When none does.
    """

    def __init__(self, ledger: Ledger, rules: Sequence[PriorityRule] = (), otherwise: Priority = Priority.ROUTINE) -> None:
        self._ledger, self._rules, self._otherwise = ledger, tuple(rules), otherwise

    def of(self, study_instance_uid: str, revision: int, held: Sequence[Instance], paths: Mapping[str, Path]) -> Urgency:
        """The priority of a study, and why.

        Parameters
        ----------
        held : sequence of Instance
            All that the study holds.
        paths : mapping
            SOP Instance UID -> file.
        """
        if not self._rules:
            return decide((), self._otherwise, (), (), _says_nothing)
        with self._ledger.reading() as tx:
            sources = instances.sources_of(tx, study_instance_uid, revision)
        headers: list[Dataset] = []

        def values_of(keyword: str) -> set[str]:
            if not headers:
                headers.extend(_first_headers(held, paths))
            return {value for header in headers for value in _values_of(header, keyword)}

        calling, called = {source.calling_ae for source in sources}, {source.called_ae for source in sources}
        return decide(self._rules, self._otherwise, calling, called, values_of)


def _says_nothing(_keyword: str) -> tuple[str, ...]:
    return ()


def _first_headers(held: Sequence[Instance], paths: Mapping[str, Path]) -> Iterator[Dataset]:
    """The header of the first instance of each series; one that is damaged says nothing."""
    series = groupby(sorted(held, key=lambda one: one.series_instance_uid), key=lambda one: one.series_instance_uid)
    for _, members in [(uid, list(group)) for uid, group in series][:_MOST_SERIES]:
        try:
            yield from read_headers([paths[members[0].sop_instance_uid]])
        except InputError:
            continue


def _values_of(header: Dataset, keyword: str) -> list[str]:
    """The values of an element, of the data set itself and of each item of its Request Attributes Sequence (0040,0275)."""
    try:
        with damage_refused():
            found = [item.get(keyword) for item in (header, *header.get("RequestAttributesSequence", ()))]
            return [str(one).strip() for value in found for one in (value if isinstance(value, MultiValue) else [value]) if one is not None]
    except InputError:
        return []
