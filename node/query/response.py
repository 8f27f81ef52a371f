"""Making the identifier of a response (PS3.4 section C.4.1.1.3.2)."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence

from pydicom.charset import python_encoding
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from node.query.attributes import TIMEZONE
from node.query.identifier import Question

_UTF_8 = "ISO_IR 192"
_INTEGERS = ("US", "UL", "SS", "SL")


def respond(question: Question, facts: Mapping[str, tuple[str, ...]], ae_title: str) -> Dataset:
    """Make the response to ``question`` for one entity; what is unknown or not supported is there, and empty."""
    answer = Dataset()
    for tag, vr, keyword in question.asked:
        answer[tag] = _element(tag, vr, facts.get(keyword, ()))
    answer.QueryRetrieveLevel = question.level
    answer.RetrieveAETitle = ae_title
    answer.InstanceAvailability = "ONLINE"
    if TIMEZONE in facts:
        answer.TimezoneOffsetFromUTC = facts[TIMEZONE][0]
    texts = [text for _, _, keyword in question.asked for text in facts.get(keyword, ())]
    if character_set := choose_character_set(question.character_set, texts):
        answer.SpecificCharacterSet = character_set
    return answer


def choose_character_set(asked: str, texts: Sequence[str]) -> str:
    """The character set to answer in: none for ASCII, that of the question where it suffices, else UTF-8 (PS3.4 section C.2.2.2)."""
    text = "".join(texts)
    if text.isascii():
        return ""
    if asked and asked in python_encoding and not asked.startswith("ISO 2022"):
        try:
            codecs.encode(text, python_encoding[asked])
        except UnicodeEncodeError:
            return _UTF_8
        return asked
    return _UTF_8


def _element(tag: int, vr: str, texts: Sequence[str]) -> DataElement:
    values: list[object] = list(texts) if vr != "SQ" else []
    try:
        if vr in _INTEGERS:
            values = [int(text) for text in texts]
        return DataElement(tag, vr, values[0] if len(values) == 1 else values or None, validation_mode=IGNORE)
    except (ValueError, TypeError, OverflowError):
        return DataElement(tag, vr, None)  # what the header says is no number
