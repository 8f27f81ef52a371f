"""Reading the content tree of a stored report (PS3.3 C.17.3), apart from the library that wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset


def walk(item: Dataset) -> Iterator[Dataset]:
    """Go through all content items below ``item``, each before what it contains."""
    for child in item.get("ContentSequence", []):
        yield child
        yield from walk(child)


def name_of(item: Dataset) -> str:
    """Read the code value of an item's concept name; empty when it has none."""
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


def values_of(content: Sequence[Dataset], name: str, keyword: str) -> list[str]:
    """Read one attribute of all items of a concept name, ``TextValue`` or ``UID``."""
    return [str(item.get(keyword)) for item in content if name_of(item) == name]


def codes_of(content: Sequence[Dataset], name: str) -> list[tuple[str, str]]:
    """Read value and scheme of the coded items of a concept name."""
    codes = [item.ConceptCodeSequence[0] for item in content if name_of(item) == name]
    return [(str(code.CodeValue), str(code.CodingSchemeDesignator)) for code in codes]


def number_of(item: Dataset) -> float:
    """Read the value of a NUM item."""
    return float(item.MeasuredValueSequence[0].NumericValue)
