"""Finding what matches a question: first by what the ledger tells, then by the header of one instance of each entity."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from pydicom.dataset import Dataset

from node.core.query import Group, Holding, Level
from node.ledger import holdings
from node.ledger.engine import Ledger
from node.query.attributes import UNIQUE, VR_OF
from node.query.headers import Headers
from node.query.identifier import Question
from node.query.matching import matches
from node.query.response import respond

#: So many entities are looked at in one transaction; no more are in memory, however many match.
_PAGE = 250
Facts = Mapping[str, tuple[str, ...]]


class Search:
    """Finds and selects.

    Parameters
    ----------
    ae_title : str
        Where what is found may be retrieved from: ours.
    """

    def __init__(self, ledger: Ledger, headers: Headers, ae_title: str) -> None:
        self._ledger, self._headers, self._ae_title = ledger, headers, ae_title

    def find(self, question: Question) -> Iterator[Dataset]:
        """Every match, one response identifier each.

        Raises
        ------
        StorageError
            If the ledger cannot be read.
        """
        for entities in self._pages(question):
            within = {level: values for level, values in question.named.items() if level != question.level}
            with self._ledger.reading() as tx:
                groups = holdings.groups(tx, question.level, within, entities)
            for _, members in itertools.groupby(groups, key=lambda group: group.entity):
                if (facts := self._match(question, list(members))) is not None:
                    yield respond(question, facts, self._ae_title)

    def select(self, question: Question) -> list[Holding]:
        """Every instance of what is named.

        Raises
        ------
        StorageError
            If the ledger cannot be read.
        """
        found: list[Holding] = []
        with self._ledger.reading() as tx:
            for entities in self._pages(question):
                found += holdings.instances(tx, {**question.named, question.level: entities})
        return found

    def _pages(self, question: Question) -> Iterator[Sequence[str]]:
        """The entities to look at: those that are named, or all there are."""
        named = question.named.get(question.level)
        if named is not None:
            yield from (named[start : start + _PAGE] for start in range(0, len(named), _PAGE))
            return
        last = ""
        while True:
            with self._ledger.reading() as tx:
                page = holdings.keys_after(tx, question.level, question.named, last, _PAGE)
            if not page:
                return
            yield page
            last = page[-1]

    def _match(self, question: Question, members: Sequence[Group]) -> Facts | None:
        """What is known of an entity, if it matches; its header is read only where something depends on it."""
        known = _known(question.level, members)
        if not _holds(question, known, known):
            return None
        if all(keyword in known for _, _, keyword in question.asked if keyword):
            return known
        facts = {**self._headers.read(min(member.key for member in members)), **known}
        return facts if _holds(question, facts, question.keys.keys() - known.keys()) else None


def _holds(question: Question, facts: Facts, keywords: Iterator[str] | Mapping[str, object] | set[str]) -> bool:
    return all(matches(VR_OF[keyword], question.keys[keyword], facts.get(keyword, ())) for keyword in keywords if keyword in question.keys)


def _known(level: Level, members: Sequence[Group]) -> Facts:
    """What the ledger tells of an entity: identities from the first of its groups, and counts over all of them."""
    first = members[0]
    studies = {member.study_instance_uid for member in members}
    series = {(member.study_instance_uid, member.series_instance_uid) for member in members}
    count = (str(sum(member.instances for member in members)),)
    facts: dict[str, tuple[str, ...]] = {"PatientID": (first.patient_id,)}
    if level == "PATIENT":
        facts["NumberOfPatientRelatedStudies"] = (str(len(studies)),)
        facts["NumberOfPatientRelatedSeries"] = (str(len(series)),)
        facts["NumberOfPatientRelatedInstances"] = count
        return facts
    facts[UNIQUE["STUDY"]] = (first.study_instance_uid,)
    if level == "STUDY":
        facts["ModalitiesInStudy"] = tuple(sorted({member.modality for member in members if member.modality}))
        facts["SOPClassesInStudy"] = tuple(sorted({member.sop_class_uid for member in members}))
        facts["NumberOfStudyRelatedSeries"] = (str(len(series)),)
        facts["NumberOfStudyRelatedInstances"] = count
        return facts
    facts |= {UNIQUE["SERIES"]: (first.series_instance_uid,), "Modality": (first.modality,)}
    if level == "SERIES":
        facts["NumberOfSeriesRelatedInstances"] = count
        return facts
    return facts | {UNIQUE["IMAGE"]: (first.entity,), "SOPClassUID": (first.sop_class_uid,)}
