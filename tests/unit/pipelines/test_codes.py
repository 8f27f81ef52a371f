"""The code table says what the standard says, covers what the Model Zoo segments, and never guesses."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.sr._concepts_dict import concepts

from pipelines.codes.table import CodeTable, Match, Structure, lighter, read_table
from tests.zoo_labels import WHOLE_BODY, ZOO

TABLE = read_table()
#: Linear sRGB to CIE XYZ (D65), and what is left of linear sRGB without green or red cones (Machado et al. 2009, severity 1).
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
WHITE = np.array([0.95047, 1.0, 1.08883])
EYES = {
    "all cones": np.eye(3),
    "no green cones": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "no red cones": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
}


def meanings(scheme: str, value: str) -> set[str]:
    """List the meanings that pydicom's copy of PS3.16 and its SNOMED CT subset give a code, in small letters."""
    return {meaning.lower() for known in concepts[scheme].values() for code, (meaning, _) in known.items() if code == value}


def context_groups(scheme: str, value: str) -> set[int]:
    return {group for known in concepts[scheme].values() for code, (_, groups) in known.items() if code == value for group in groups}


def lab(rgb: tuple[int, int, int], eyes: str) -> NDArray[np.float64]:
    """CIELab as such eyes see it (CIE 15, IEC 61966-2-1)."""
    encoded = np.array(rgb) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    ratio = TO_XYZ @ np.clip(EYES[eyes] @ linear, 0, 1) / WHITE
    x, y, z = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(one: tuple[int, int, int], other: tuple[int, int, int], eyes: str) -> float:
    return float(np.linalg.norm(lab(one, eyes) - lab(other, eyes)))


def matched(text: str, bundle: str = "") -> Match:
    found = TABLE.find(text, bundle)
    assert found is not None, f"{text} is not in the table"
    return found


@pytest.mark.parametrize("structure", TABLE.structures, ids=lambda structure: structure.name)
def test_every_type_is_the_standards_or_names_its_source(structure: Structure) -> None:
    code = structure.type
    assert len(code.value) <= 16, "Code Value (0008,0100) is a short string"
    if code.scheme == "99RADNODE":
        assert not structure.source
    elif structure.source:
        assert meanings(code.scheme, code.value) == set(), "the standard has this code: no other source is needed"
        assert code.value.isdecimal()
    else:
        assert code.meaning.lower() in meanings(code.scheme, code.value)


def test_categories_and_sides_are_the_standards() -> None:
    for category in TABLE.categories.values():
        assert 7150 in context_groups(category.scheme, category.value)
        assert category.meaning.lower() in meanings(category.scheme, category.value)
    for side, concept in TABLE.laterality.items():
        assert 244 in context_groups(concept.scheme, concept.value)
        assert {side} == {concept.meaning.lower()} == meanings(concept.scheme, concept.value)


def test_a_lesion_is_a_lesion_and_an_organ_an_organ() -> None:
    for structure in TABLE.structures:
        groups = context_groups(structure.type.scheme, structure.type.value) if structure.type.scheme in concepts else set()
        if 7194 in groups or 7192 in groups:
            assert structure.category == ("lesion" if 7194 in groups else "anatomy"), structure.name


def test_every_name_stands_for_one_structure() -> None:
    names = [name.lower() for one in TABLE.structures for name in (one.name, *one.also, *one.right, *one.left)]
    assert sorted(names) == sorted(set(names))


def test_every_source_is_used() -> None:
    assert {structure.source for structure in TABLE.structures} - {""} == set(TABLE.sources)


@pytest.mark.parametrize("bundle", ZOO)
def test_every_label_of_the_zoo_is_known(bundle: str) -> None:
    assert [label for label in ZOO[bundle] if TABLE.find(label, bundle) is None] == []


def test_the_labels_of_a_bundle_stay_apart() -> None:
    for bundle, labels in ZOO.items():
        found = [matched(label, bundle) for label in labels]
        assert len({match.name for match in found}) == len(labels) == len({match.rgb for match in found}), bundle
        codes = {(match.type.value, match.laterality and match.laterality.value) for match in found}
        assert len(codes) == len(labels), f"{bundle}: two labels have the same codes"


@pytest.mark.parametrize("word", ["left", "right"])
def test_a_side_that_a_name_says_is_the_side_that_is_coded(word: str) -> None:
    for labels in ZOO.values():
        for label in (label for label in labels if word in label.lower().replace("_", " ").split()):
            match = matched(label)
            assert word in match.name.lower()
            assert match.laterality == TABLE.laterality[word] if match.laterality else word in match.type.meaning.lower()


@pytest.mark.parametrize(
    ("text", "name", "code", "side"),
    [
        ("spleen", "Spleen", "78961009", None),
        ("kidney", "Kidney", "64033007", None),
        ("right kidney", "Right kidney", "64033007", "Right"),
        ("kidney_right", "Right kidney", "64033007", "Right"),
        ("rkid", "Right kidney", "64033007", "Right"),
        ("Kidney_L", "Left kidney", "64033007", "Left"),
        ("oesophagus", "Esophagus", "32849002", None),
        ("rib_left_12", "Left twelfth rib", "43993008", "Left"),
        ("heart_ventricle_left", "Left ventricle", "87878005", None),
        ("lung_middle_lobe_right", "Middle lobe of right lung", "72481006", None),
        ("Tumour core", "Tumor core", "108369006", None),
        ("Portal & Splenic Veins", "Portal vein and splenic vein", "110765007", None),
    ],
)
def test_a_name_is_found_as_it_is_written(text: str, name: str, code: str, side: str | None) -> None:
    match = matched(text)
    assert (match.name, match.type.value, match.laterality and match.laterality.meaning) == (name, code, side)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "left",
        "vessel_7",
        "left liver",  # there is one
        "left and right kidney",  # two sides are no side
        "lkid right",
        "kidney l cyst",
        "medulla",  # of what?
    ],
)
def test_what_the_table_does_not_say_is_not_guessed(text: str) -> None:
    assert TABLE.find(text) is None


def test_a_name_may_mean_something_in_one_bundle_only() -> None:
    assert matched("medulla", "renalStructures_UNEST_segmentation").name == "Renal medulla"
    assert TABLE.find("medulla", "another_bundle") is None


def test_colours_of_a_small_bundle_are_apart_for_every_eye() -> None:
    for bundle, labels in ZOO.items():
        colours = [matched(label, bundle).rgb for label in labels]
        for number, one in enumerate(colours if len(colours) < 20 else []):
            for other in colours[number + 1 :]:
                assert distance(one, other, "all cones") >= 15, bundle
                assert min(distance(one, other, eyes) for eyes in EYES) >= 10, bundle


def test_colours_of_neighbours_in_a_row_and_of_two_sides_are_apart() -> None:
    spine = [matched(label).rgb for label in WHOLE_BODY if label.startswith("vertebrae")]
    ribs = [matched(label).rgb for label in WHOLE_BODY if label.startswith("rib_left")]
    sides = [(one.rgb, lighter(one.rgb)) for one in TABLE.structures if one.paired]
    for one, other in (*pairwise(spine), *pairwise(ribs), *sides):
        assert min(distance(one, other, eyes) for eyes in EYES) >= 10


def test_a_row_with_an_unknown_source_is_a_fault() -> None:
    table = TABLE.model_dump(by_alias=True)
    table["structure"] = [{**table["structure"][0], "source": "hearsay"}]
    with pytest.raises(ValueError, match="hearsay"):
        CodeTable.model_validate(table)


def test_only_what_is_paired_has_names_for_a_side() -> None:
    table = TABLE.model_dump(by_alias=True)
    table["structure"] = [{**table["structure"][0], "left": ["lspl"]}]
    with pytest.raises(ValueError, match="not paired"):
        CodeTable.model_validate(table)
