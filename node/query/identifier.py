"""Reading the identifier of a question and judging whether it can be answered (PS3.4 section C.4.1.1.3 and C.4.1.3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from node.core.errors import IdentifierMismatch, IdentifierUnreadable
from node.core.query import LEVELS, Level, Root, Subject
from node.core.uids import is_valid_uid
from node.core.unreadable import UNREADABLE
from node.query.attributes import UNIQUE, supported

#: What an identifier says about itself rather than asks for.
_ABOUT_ITSELF = ("QueryRetrieveLevel", "SpecificCharacterSet", "RetrieveAETitle", "InstanceAvailability")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An identifier that can be answered.

    Attributes
    ----------
    named : mapping
        Level -> the unique keys that were named, exactly: one at each level above the question's, any number at its own.
    keys : mapping
        Keyword -> values of everything that has to match, as far as it is supported.
    asked : tuple of (tag, VR, keyword)
        Everything that is to be returned; the keyword is empty for what is not supported, which is returned empty.
    character_set : str
        Of the question; empty when it names none, or several.
    """

    level: Level
    named: Mapping[Level, tuple[str, ...]]
    keys: Mapping[str, tuple[str, ...]]
    asked: tuple[tuple[int, str, str], ...]
    character_set: str

    @property
    def is_supported(self) -> bool:
        """Whether every key that was asked for is supported."""
        return all(keyword for _, _, keyword in self.asked)

    @property
    def subject(self) -> Subject:
        """What may be written down of it."""
        given = {UNIQUE[level]: values for level, values in self.named.items() if level != "PATIENT"}
        uids = {keyword: tuple(filter(is_valid_uid, values)) for keyword, values in given.items()}
        return Subject(level=self.level, keys=tuple(sorted(self.keys)), uids=uids)


def read_question(root: Root, identifier: Dataset) -> Question:
    """Read the identifier of a C-FIND.

    Raises
    ------
    IdentifierMismatch
        If it has no level, or one that the model does not have, or lacks a unique key of a level above.
    IdentifierUnreadable
        If it cannot be decoded.
    """
    level = _level(root, identifier)
    known = supported(level)
    asked: list[tuple[int, str, str]] = []
    keys: dict[str, tuple[str, ...]] = {}
    for element in _elements(identifier):
        if element.keyword in _ABOUT_ITSELF or element.tag.element == 0:
            continue
        keyword = element.keyword if element.keyword in known else ""
        asked.append((int(element.tag), element.VR, keyword))
        if keyword and any(values := _values(identifier, keyword)):
            keys[keyword] = values
    named = {**_above(root, level, keys), **_own(level, keys)}
    character_set = _values(identifier, "SpecificCharacterSet")
    return Question(
        level=level, named=named, keys=keys, asked=tuple(asked), character_set=character_set[0] if len(character_set) == 1 else ""
    )


def read_selection(root: Root, identifier: Dataset) -> Question:
    """Read the identifier of a C-MOVE or C-GET, which names what is wanted by its unique keys alone (PS3.4 section C.4.2.2.1).

    Raises
    ------
    IdentifierMismatch, IdentifierUnreadable
        As ``read_question``; and if nothing is named at its level.
    """
    question = read_question(root, identifier)
    if question.level not in question.named:
        raise IdentifierMismatch(f"{UNIQUE[question.level]} is missing.")
    # The patient is no level of the Study Root model, and nothing but levels selects.
    return replace(question, named={level: values for level, values in question.named.items() if level in _levels(root)})


def _level(root: Root, identifier: Dataset) -> Level:
    said = _values(identifier, "QueryRetrieveLevel")
    for level in _levels(root):
        if said == (level,):
            return level
    raise IdentifierMismatch(f"Query/Retrieve Level must be one of {', '.join(_levels(root))}.")


def _levels(root: Root) -> tuple[Level, ...]:
    return LEVELS[LEVELS.index(root) :]


def _above(root: Root, level: Level, keys: Mapping[str, Sequence[str]]) -> dict[Level, tuple[str, ...]]:
    named: dict[Level, tuple[str, ...]] = {}
    for above in _levels(root)[: _levels(root).index(level)]:
        values = keys.get(UNIQUE[above], ())
        if len(values) != 1 or _is_pattern(values[0]):
            raise IdentifierMismatch(f"{UNIQUE[above]} must have one value.")
        named[above] = (values[0],)
    return named


def _own(level: Level, keys: Mapping[str, Sequence[str]]) -> dict[Level, tuple[str, ...]]:
    """What is named exactly: at the level itself, and the patient, who may be asked for at any level of the Study Root model."""
    named: dict[Level, tuple[str, ...]] = {}
    for one in {level, LEVELS[0]}:
        values = tuple(sorted({value for value in keys.get(UNIQUE[one], ()) if value}))
        if values and not any(map(_is_pattern, values)):
            named[one] = values
    return named


def _is_pattern(value: str) -> bool:
    return "*" in value or "?" in value


def _elements(identifier: Dataset) -> Dataset:
    try:
        return Dataset({element.tag: element for element in identifier})
    except UNREADABLE as error:
        raise IdentifierUnreadable(f"The identifier cannot be decoded ({type(error).__name__}).") from error


def _values(identifier: Dataset, keyword: str) -> tuple[str, ...]:
    try:
        value = identifier.get(keyword)
        values = value if isinstance(value, MultiValue | list) else [value]
        return tuple("" if one is None else str(one).strip("\0 ") for one in values) if value is not None else ()
    except UNREADABLE as error:
        raise IdentifierUnreadable(f"{keyword} of the identifier cannot be decoded.") from error
