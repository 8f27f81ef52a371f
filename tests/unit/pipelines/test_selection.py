"""A series is taken, or there is a reason why not."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.criteria import judge
from pipelines.declaration import Span
from pipelines.facts import SeriesFacts, facts_of
from pipelines.rules import Input, SeriesRule
from pipelines.selection import choose, select, why_not
from pipelines.spec import read_pipeline
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
        assert tuple(facts.name for facts in select(rule, candidates).chosen) == chosen


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


EVERY_RULE: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("view_position", {"view_position": ("PA",)}, {"view_position": "PA"}, {"view_position": "LL"}),
    ("stacks", {"stacks_by": ("EchoTime",)}, {"split_by": ("EchoTime",)}, {"split_by": ("EchoTime", "TriggerTime")}),
    ("stacks", {}, {}, {"split_by": ("EchoTime",)}),
    ("slice_spacing", {"slice_spacing_mm": Span(min=1, max=3)}, {"slice_spacing_mm": 2.5}, {"slice_spacing_mm": 5.0}),
    ("slice_spacing", {"slice_spacing_mm": Span(min=1, max=3)}, {"slice_spacing_mm": 3.00001}, {"fault": "GEOMETRY.gap"}),
    ("coverage", {"coverage_mm": Span(min=120, max=900)}, {"coverage_mm": 250.0}, {"coverage_mm": 90.0}),
    ("kernel", {"kernel_pattern": "^B[67]"}, {"kernels": ("B60F", "B70F")}, {"kernels": ("B60F", "B30F")}),
    ("kernel", {"kernel_pattern": "^B[67]"}, {"kernels": ("b60f",)}, {"kernels": ()}),
    ("contrast", {"contrast": "given"}, {"contrast": "given"}, {"contrast": "mixed"}),
    ("contrast", {"contrast": "none"}, {"contrast": "none"}, {"contrast": "given"}),
    ("sequence", {"sequence_all": ("IR",)}, {"sequence": frozenset({"SE", "IR"})}, {"sequence": frozenset({"SE"})}),
    ("sequence", {"sequence_none": ("IR",)}, {"sequence": frozenset({"SE"})}, {"sequence": frozenset()}),
    ("echo_time", {"echo_time_ms": Span(min=0, max=30)}, {"echo_time_ms": (12.0, 14.0)}, {"echo_time_ms": (12.0, 40.0)}),
    ("repetition_time", {"repetition_time_ms": Span(min=0, max=900)}, {"repetition_time_ms": (400.0, 400.0)}, {}),
    ("inversion_time", {"inversion_time_ms": Span(min=1500, max=3000)}, {"inversion_time_ms": (2200.0, 2200.0)}, {}),
    ("b_value", {"b_value": Span(min=0, max=0)}, {"b_value": (0.0, 0.0)}, {"b_value": (0.0, 1000.0)}),
]


@pytest.mark.parametrize(("code", "rule", "fits", "does_not"), EVERY_RULE)
def test_each_criterion_takes_what_fits_and_says_what_does_not(
    code: str, rule: dict[str, Any], fits: dict[str, Any], does_not: dict[str, Any]
) -> None:
    asked = SeriesRule(modality=("CT",), **rule)
    assert why_not(asked, facts(**fits)) is None
    reason = why_not(asked, facts(**does_not))
    assert reason is not None
    assert reason.code == code


def test_everything_that_a_rule_states_is_judged_and_nothing_else() -> None:
    rule = SeriesRule(modality=("CT",), contrast="given", slice_thickness_mm=Span(min=1, max=3))
    found = [(each.code, each.wanted, each.found, each.holds) for each in judge(rule, facts(slice_thickness_mm=5.0, contrast="given"))]
    assert found == [
        ("modality", "CT", "CT", True),
        ("instances", "1 to 100000", "100 instances", True),
        ("slice_thickness", "1 to 3 mm", "5 mm", False),
        ("contrast", "given", "given", True),
    ]


def test_a_description_is_never_repeated() -> None:
    reason = why_not(SeriesRule(modality=("CT",), description_pattern="lung"), facts(description="Doe^Jane head"))
    assert reason is not None
    assert "Doe" not in reason.sentence


@pytest.mark.parametrize(
    ("rule", "better", "other", "why"),
    [
        ({}, {"slice_thickness_mm": 1.0}, {"slice_thickness_mm": 5.0}, "slices of 1 mm against slices of 5 mm"),
        ({}, {}, {"fault": "GEOMETRY.gap", "slice_thickness_mm": 0.5}, r"a volume against no volume \(GEOMETRY.gap\)"),
        (
            {"kernel_preference": ("^LUNG", "^B6")},
            {"kernels": ("B60F",)},
            {"slice_thickness_mm": 0.5},
            "kernel B60F against kernel unknown",
        ),
        ({"kernel_preference": ("^LUNG", "^B6")}, {"kernels": ("LUNG",)}, {"kernels": ("B60F",)}, "kernel LUNG against kernel B60F"),
        ({"choose": "latest"}, {"acquired_at": "20260102101500"}, {"acquired_at": "20260102101400"}, "acquired at 20260102101500 against"),
        ({"choose": "latest"}, {"acquired_at": "20260102101500"}, {"slice_thickness_mm": 1.0}, "against acquired at an unknown time"),
        ({"choose": "most_instances"}, {"instances": 200}, {"slice_thickness_mm": 1.0}, "200 slices against 100 slices"),
    ],
)
def test_what_is_not_chosen_is_told_in_what_the_other_was_better(
    rule: dict[str, Any], better: dict[str, Any], other: dict[str, Any], why: str
) -> None:
    best, second = facts(series_instance_uid="1.9", **better), facts(series_instance_uid="1.1", **other)
    for candidates in ([best, second], [second, best]):
        selection = select(SeriesRule(modality=("CT",), **rule), candidates)
        assert selection.chosen == (best,)
        assert selection.reasons["1.1"].code == "not_chosen"
        assert re.search(f"1.9 was preferred .*{why}", selection.reasons["1.1"].sentence)


def contrast_inputs(**rules: dict[str, Any]) -> tuple[Input, ...]:
    return tuple(Input(name=name, modality=("CT",), **rule) for name, rule in rules.items())


NATIVE = facts(series_instance_uid="1.1", contrast="none", frame_of_reference_uid="9")
ARTERIAL = facts(series_instance_uid="1.2", contrast="given", kernels=("A",), frame_of_reference_uid="9")
VENOUS = facts(series_instance_uid="1.3", contrast="given", kernels=("V",), frame_of_reference_uid="9")


def test_each_input_gets_its_series_in_the_order_of_the_pipeline() -> None:
    inputs = contrast_inputs(after={"contrast": "given", "kernel_pattern": "V"}, before={"contrast": "none"})
    choice = choose(inputs, [NATIVE, ARTERIAL, VENOUS])
    assert choice.sets == ((VENOUS, NATIVE),)
    assert set(choice.reasons) == {"1.2"}
    assert "For after: Convolution kernel is A" in choice.reasons["1.2"].sentence
    assert "For before: Contrast agent is given" in choice.reasons["1.2"].sentence


def test_no_series_is_taken_twice() -> None:
    """The first input would take any; the second only one of them."""
    inputs = contrast_inputs(any={}, native={"contrast": "none"})
    assert choose(inputs, [NATIVE, ARTERIAL]).sets == ((ARTERIAL, NATIVE),)
    lonely = choose(inputs, [NATIVE])
    assert lonely.sets == ()
    assert "need a series each" in lonely.missing[0]


def test_two_stacks_of_one_series_are_two() -> None:
    echoes = [facts(stack=f"EchoTime={time}", split_by=("EchoTime",), echo_time_ms=(time, time)) for time in (12.0, 90.0)]
    inputs = contrast_inputs(
        t2={"echo_time_ms": Span(min=60, max=200), "stacks_by": ("EchoTime",)},
        pd={"echo_time_ms": Span(min=0, max=30), "stacks_by": ("EchoTime",)},
    )
    assert choose(inputs, echoes).sets == ((echoes[1], echoes[0]),)


def test_what_is_missing_is_named() -> None:
    inputs = contrast_inputs(before={"contrast": "none"}, after={"contrast": "given", "kernel_pattern": "X"})
    choice = choose(inputs, [NATIVE, ARTERIAL])
    assert choice.sets == ()
    assert choice.missing == ("Input after: no series fits.",)
    assert choice.reasons["1.1"].code == "incomplete"
    assert choice.reasons["1.2"].code == "no_input"


def test_series_in_one_space_go_together() -> None:
    """A thinner one in another frame of reference could not be laid upon the others."""
    strange = replace(VENOUS, series_instance_uid="1.0", slice_thickness_mm=0.5, frame_of_reference_uid="7")
    inputs = contrast_inputs(after={"contrast": "given"}, before={"contrast": "none"})
    choice = choose(inputs, [strange, VENOUS, NATIVE])
    assert choice.sets == ((VENOUS, NATIVE),)
    assert "goes with the series of the other inputs" in choice.reasons["1.0"].sentence
    # where there is no other choice it is taken, and refused when the images are laid upon each other
    assert choose(inputs, [strange, NATIVE]).sets == ((strange, NATIVE),)


def test_series_of_two_studies_never_go_together() -> None:
    inputs = contrast_inputs(after={"contrast": "given"}, before={"contrast": "none"})
    assert choose(inputs, [replace(VENOUS, study_instance_uid="8"), NATIVE]).sets == ()
