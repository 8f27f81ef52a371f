"""A series is taken, or there is a reason why not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.selection import SeriesFacts, facts_of, select, why_not
from pipelines.spec import SeriesRule, read_pipeline
from tests.phantoms import CORONAL, oblique, tiny_ct

RULE = read_pipeline(Path(__file__).parents[3] / "pipelines" / "ct_lungs" / "pipeline.toml").inputs[0]
CT = "1.2.840.10008.5.1.4.1.1.2"


def facts(**changes: Any) -> SeriesFacts:
    fitting = SeriesFacts(
        series_instance_uid="1.2.3",
        modality="CT",
        sop_class_uids=(CT,),
        image_type_everywhere=frozenset({"ORIGINAL", "PRIMARY", "AXIAL"}),
        image_type_anywhere=frozenset({"ORIGINAL", "PRIMARY", "AXIAL"}),
        body_part="CHEST",
        orientation="axial",
        instances=100,
        slice_thickness_mm=2.5,
        description="Thorax LUNG 2.5",
    )
    return replace(fitting, **changes)


def test_a_fitting_series_has_no_reason() -> None:
    assert why_not(RULE, facts()) is None


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("modality", {"modality": "MR"}),
        ("modality", {"modality": ""}),
        ("sop_class", {"sop_class_uids": (CT, "1.2.840.10008.5.1.4.1.1.7")}),
        ("image_type", {"image_type_everywhere": frozenset({"PRIMARY"})}),
        ("image_type", {"image_type_anywhere": frozenset({"ORIGINAL", "PRIMARY", "LOCALIZER"})}),
        ("orientation", {"orientation": "coronal"}),
        ("orientation", {"orientation": "mixed"}),
        ("instances", {"instances": 19}),
        ("slice_thickness", {"slice_thickness_mm": 7.5}),
        ("slice_thickness", {"slice_thickness_mm": None}),
    ],
)
def test_the_first_broken_rule_is_the_reason(code: str, changes: dict[str, Any]) -> None:
    reason = why_not(RULE, facts(**changes))
    assert reason is not None
    assert reason.code == code
    assert reason.sentence.endswith(".")


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (SeriesRule(modality=("CT",), body_part=("HEAD",)), "body_part"),
        (SeriesRule(modality=("CT",), description_pattern=r"\bbone\b"), "description"),
    ],
)
def test_body_part_and_description_are_rules_too(rule: SeriesRule, code: str) -> None:
    reason = why_not(rule, facts())
    assert reason is not None
    assert reason.code == code


def test_descriptions_match_in_any_case() -> None:
    assert why_not(SeriesRule(modality=("CT",), description_pattern="thorax lung"), facts()) is None


THICK = facts(series_instance_uid="1.1", slice_thickness_mm=5.0, instances=300)
THIN = facts(series_instance_uid="1.2", slice_thickness_mm=1.0, instances=200)
THIN_AND_LONG = facts(series_instance_uid="1.3", slice_thickness_mm=1.0, instances=250)
TWIN = facts(series_instance_uid="1.4", slice_thickness_mm=1.0, instances=250)
SCOUT = facts(series_instance_uid="1.5", instances=2)


@pytest.mark.parametrize(
    ("choose", "chosen"), [("thinnest", ("1.3",)), ("most_instances", ("1.1",)), ("all", ("1.3", "1.4", "1.2", "1.1"))]
)
def test_the_choice_depends_on_the_rule_and_not_on_the_order(choose: str, chosen: tuple[str, ...]) -> None:
    rule = RULE.model_copy(update={"choose": choose})
    for candidates in ([THICK, THIN, THIN_AND_LONG, TWIN, SCOUT], [SCOUT, TWIN, THIN_AND_LONG, THIN, THICK]):
        assert select(rule, candidates).chosen == chosen


def test_whatever_is_not_taken_has_a_reason() -> None:
    selection = select(RULE, [THICK, THIN, THIN_AND_LONG, TWIN, SCOUT])
    assert {uid: reason.code for uid, reason in selection.reasons.items()} == {
        "1.1": "not_chosen",
        "1.2": "not_chosen",
        "1.4": "not_chosen",
        "1.5": "instances",
    }


def test_nothing_fits_nothing() -> None:
    selection = select(RULE, [SCOUT])
    assert selection.chosen == ()
    assert set(selection.reasons) == {"1.5"}


def test_facts_come_from_all_headers() -> None:
    headers = tiny_ct()
    headers[2].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    headers[3].SliceThickness = "7.5"
    found = facts_of(headers)
    assert found.image_type_everywhere == {"ORIGINAL", "PRIMARY"}
    assert "LOCALIZER" in found.image_type_anywhere
    assert found.slice_thickness_mm == 7.5
    assert (found.modality, found.body_part, found.instances, found.sop_class_uids) == ("CT", "CHEST", 6, (CT,))


def test_facts_of_an_almost_empty_header_are_unknown_and_no_error() -> None:
    headers = tiny_ct()
    for keyword in ("ImageType", "ImageOrientationPatient", "SliceThickness", "Modality", "SeriesDescription"):
        del headers[0][keyword]
    found = facts_of(headers[:1])
    assert (found.orientation, found.slice_thickness_mm, found.modality) == ("unknown", None, "")


@pytest.mark.parametrize(
    ("orientation", "plane"), [(oblique(12), "axial"), (oblique(44), "oblique"), (oblique(70), "coronal"), (CORONAL, "coronal")]
)
def test_planes_are_named_by_their_normal(orientation: tuple[float, ...], plane: str) -> None:
    assert facts_of(tiny_ct(orientation=orientation)).orientation == plane


def test_slices_of_two_directions_are_mixed() -> None:
    assert facts_of([*tiny_ct(), *tiny_ct(orientation=CORONAL)]).orientation == "mixed"
