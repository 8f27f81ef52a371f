"""Look up what a bundle calls a structure: its name for people, its codes, its side and its colour, or nothing."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from pipelines.spec import Concept, Declaration

TABLE = Path(__file__).with_name("structures.toml")
#: Single letters stand for a side only at the beginning or the end of a name, as in "Kidney_L" (AAPM TG-263).
SIDES: Mapping[str, Literal["right", "left"]] = {"right": "right", "left": "left", "r": "right", "l": "left"}
#: How far the colour of a left structure lies between the right one's and white.
LIGHTER = 0.4

Rgb = tuple[int, int, int]


class TypeCode(Declaration):
    """Segmented property type (PS3.16 CID 7151), or a private code where no standard one says it."""

    value: str
    meaning: str
    scheme: Literal["SCT", "NCIt", "99RADNODE"] = "SCT"

    @property
    def concept(self) -> Concept:
        """The same as pipeline.toml writes it."""
        return Concept(value=self.value, scheme=self.scheme, meaning=self.meaning)


class Structure(Declaration):
    """One row of the table; its keys are explained at the top of structures.toml."""

    name: str
    also: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    within: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    category: Literal["anatomy", "lesion"] = "anatomy"
    type: TypeCode
    paired: bool = False
    source: str = ""
    rgb: Rgb


class Match(Declaration):
    """What a name stands for.

    Attributes
    ----------
    name : str
        For people, with the side: "Left kidney".
    category, type, laterality : Concept
        PS3.16 CID 7150, 7151 and 244; laterality only where the name said a side.
    rgb : tuple of int
        Recommended display colour, 0 to 255 each.
    """

    name: str
    category: Concept
    type: Concept
    laterality: Concept | None
    rgb: Rgb


class CodeTable(Declaration):
    """The whole table."""

    categories: dict[Literal["anatomy", "lesion"], Concept]
    laterality: dict[Literal["right", "left"], Concept]
    sources: dict[str, str]
    structures: tuple[Structure, ...] = Field(alias="structure")

    @model_validator(mode="after")
    def _consistent(self) -> CodeTable:
        for structure in self.structures:
            if structure.source and structure.source not in self.sources:
                raise ValueError(f"{structure.name} names the source {structure.source!r}, which is not in [sources]")
            if (structure.right or structure.left) and not structure.paired:
                raise ValueError(f"{structure.name} has names for a side and is not paired")
        return self

    def find(self, text: str, bundle: str = "") -> Match | None:
        """Look up a name as a bundle's channel_def gives it; None when the table does not say what it is.

        Parameters
        ----------
        text : str
            "kidney_left", "Left Kidney" and "lkid" are one; British and American spelling too.
        bundle : str
            The bundle's folder, for names that only mean something there ("medulla").
        """
        words = _words(text)
        known = self._names | self._names_within.get(bundle, {})
        if (whole := known.get(" ".join(words))) is not None:
            return self._match(*whole)
        sided = _without_side(words)
        if sided is None:
            return None
        rest, side = sided
        structure, said = known.get(" ".join(rest), (None, None))
        return self._match(structure, side) if structure is not None and structure.paired and said is None else None

    def _match(self, structure: Structure, side: Literal["right", "left"] | None) -> Match:
        return Match(
            name=f"{side.capitalize()} {structure.name[0].lower()}{structure.name[1:]}" if side else structure.name,
            category=self.categories[structure.category],
            type=structure.type.concept,
            laterality=self.laterality[side] if side else None,
            rgb=lighter(structure.rgb) if side == "left" else structure.rgb,
        )

    @cached_property
    def _names(self) -> dict[str, tuple[Structure, Literal["right", "left"] | None]]:
        names: dict[str, tuple[Structure, Literal["right", "left"] | None]] = {}
        for structure in self.structures:
            names |= {" ".join(_words(name)): (structure, None) for name in (structure.name, *structure.also)}
            names |= dict.fromkeys(structure.right, (structure, "right")) | dict.fromkeys(structure.left, (structure, "left"))
        return names

    @cached_property
    def _names_within(self) -> dict[str, dict[str, tuple[Structure, None]]]:
        bundles: dict[str, dict[str, tuple[Structure, None]]] = {}
        for structure in self.structures:
            for bundle, names in structure.within.items():
                bundles.setdefault(bundle, {}).update(dict.fromkeys(names, (structure, None)))
        return bundles


def read_table(path: Path = TABLE) -> CodeTable:
    """Read the table that ships with the node.

    Raises
    ------
    pydantic.ValidationError
        The file has faults; the tests read the one that ships.
    """
    return CodeTable.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))


def lighter(rgb: Rgb) -> Rgb:
    """The colour of a left structure whose right one has ``rgb``."""
    red, green, blue = (round(value + (255 - value) * LIGHTER) for value in rgb)
    return red, green, blue


def _words(text: str) -> list[str]:
    """The words of a name in small letters, the spelling made American."""
    return re.sub(r"[\W_]+", " ", text.lower().replace("&", " and ")).replace("tumour", "tumor").split()


def _without_side(words: list[str]) -> tuple[list[str], Literal["right", "left"]] | None:
    """A name without the one word that says its side, and the side; None when no word says it, or several."""
    last = len(words) - 1
    found = [number for number, word in enumerate(words) if word in SIDES and (len(word) > 1 or number in (0, last))]
    if len(found) != 1 or not last:
        return None
    return words[: found[0]] + words[found[0] + 1 :], SIDES[words[found[0]]]
