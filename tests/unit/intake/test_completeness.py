"""The judge, as tables: what is known, what is asked, and the verdict."""

from dataclasses import replace

import pytest

from node.core.rules import ExpectedSeries, Rules
from node.core.study import Asked, Missing, ProcedureStep, StudyCount
from node.intake.completeness import Complete, HeldSeries, Known, QuietTime, Wait, evidence_of, judge

RULES = Rules(pipelines=("ct_lungs",), quiet_s=30, patience_s=600)
QUIET = QuietTime(seconds=30)
CHEST = HeldSeries(series_instance_uid="1.1", modality="CT", instances=3, description="Thorax 1.0")
SCOUT = HeldSeries(series_instance_uid="1.2", modality="CT", instances=1, description="Topogram")
HELD = frozenset({"1.1.1", "1.1.2", "1.1.3", "1.2.1"})
KNOWN = Known(quiet_for_s=31, called_ae=("RADNODE",), series=(CHEST, SCOUT), sop_instance_uids=HELD)


def step(state, *uids):
    return ProcedureStep(
        sop_instance_uid="9", state=state, calling_ae="CT1", study_instance_uids=("1",), performed={"1.1": uids} if uids else {}
    )


def says(instances=None, series=None, *, ours=0, our_series=0):
    return Asked(peer="pacs", count=StudyCount(instances=instances, series=series), ours=StudyCount(instances=ours, series=our_series))


def expects(**wish):
    return replace(RULES, expected=(ExpectedSeries(modality="CT", **wish),))


RUNNING, DONE, GIVEN_UP = step("IN PROGRESS"), step("COMPLETED", "1.1.1", "1.1.2"), step("DISCONTINUED", "1.1.1")
MORE_TO_COME, SILENT_DONE = step("COMPLETED", "1.1.1", "1.1.7", "1.1.8"), step("COMPLETED")
PENDING, FAILED = Asked(peer="pacs", is_pending=True), Asked(peer="pacs", sentence="pacs cannot be reached.")

#: name: what is known, the rules, and the kinds of what it waits for at 31 s; at 601 s it is complete all the same.
WAITS = {
    "a step is in progress": ({"steps": (RUNNING,)}, RULES, ["step"]),
    "one of two steps is in progress": ({"steps": (DONE, RUNNING)}, RULES, ["step"]),
    "a step is in progress, another given up": ({"steps": (GIVEN_UP, RUNNING)}, RULES, ["step"]),
    "instances that the modality has made are missing": ({"steps": (MORE_TO_COME,)}, RULES, ["step"]),
    "one step given up, the other not all here": ({"steps": (GIVEN_UP, MORE_TO_COME)}, RULES, ["step"]),
    "in progress, and of another something is missing": ({"steps": (RUNNING, MORE_TO_COME)}, RULES, ["step", "step"]),
    "too few instances in the expected series": ({}, expects(instances=4), ["expected_series"]),
    "too few expected series": ({}, expects(series=3), ["expected_series"]),
    "another modality is expected": ({}, replace(RULES, expected=(ExpectedSeries(modality="MR"),)), ["expected_series"]),
    "another description is expected": ({}, expects(description="abdomen"), ["expected_series"]),
    "the series of that description is too small": ({}, expects(description="topo", instances=2), ["expected_series"]),
    "two expectations, one met": (
        {},
        replace(RULES, expected=(ExpectedSeries(modality="CT"), ExpectedSeries(modality="SR"))),
        ["expected_series"],
    ),
    "the peer holds more instances": ({"asked": (says(5, 2),)}, RULES, ["reported"]),
    "the peer holds more series": ({"asked": (says(4, 3),)}, RULES, ["reported"]),
    "the peer knows only series, and more of them": ({"asked": (says(None, 3),)}, RULES, ["reported"]),
    "the peer holds more even without our results": ({"asked": (says(7, 4, ours=2, our_series=2),)}, RULES, ["reported"]),
    "one of two peers holds more": ({"asked": (says(4, 2), says(6, 2))}, RULES, ["reported"]),
    "the peer is still being asked": ({"asked": (PENDING,)}, RULES, ["asking"]),
    "the peer does not answer": ({"asked": (FAILED,)}, RULES, ["unanswered"]),
    "a stack has a gap": ({"gaps": ("Series 1.1: a slice is missing.",)}, RULES, ["gap"]),
    "everything at once": (
        {"steps": (MORE_TO_COME,), "asked": (says(9), FAILED), "gaps": ("Series 1.1: a slice is missing.",)},
        expects(series=9),
        ["step", "expected_series", "reported", "unanswered", "gap"],
    ),
}


@pytest.mark.parametrize("name", WAITS)
def test_what_is_missing_is_waited_for_and_named(name):
    given, rules, kinds = WAITS[name]
    known = replace(KNOWN, **given)
    verdict = judge(known, rules, QUIET, 3)
    assert isinstance(verdict, Wait)
    assert [reason.kind for reason in verdict.reasons] == kinds
    assert all(reason.sentence for reason in verdict.reasons)


@pytest.mark.parametrize("name", WAITS)
def test_and_not_for_longer_than_the_patience_of_the_rule(name):
    given, rules, kinds = WAITS[name]
    for quiet_for_s, is_over in ((599.9, False), (600, True)):
        verdict = judge(replace(KNOWN, quiet_for_s=quiet_for_s, **given), rules, QUIET, 3)
        assert isinstance(verdict, Complete) is is_over
    assert verdict.evidence.rule == "patience"
    assert [missing.kind for missing in verdict.evidence.missing] == kinds


#: name: what is known, the rules, and the rule that decides at 31 s.
COMPLETES = {
    "nothing more is known": ({}, RULES, "quiet"),
    "the expected series is there": ({}, expects(instances=3), "quiet"),
    "as many as expected are there": ({}, expects(series=2), "quiet"),
    "the description fits whatever its case": ({}, expects(description="^THORAX", instances=3), "quiet"),
    "the peer holds as many": ({"asked": (says(4, 2),)}, RULES, "quiet"),
    "the peer holds fewer": ({"asked": (says(2, 1),)}, RULES, "quiet"),
    "the peer knows nothing of it": ({"asked": (says(0, 0),)}, RULES, "quiet"),
    "the peer counts neither": ({"asked": (says(),)}, RULES, "quiet"),
    "the peer holds more, but that is our results": ({"asked": (says(6, 4, ours=2, our_series=2),)}, RULES, "quiet"),
    "all that the modality has made": ({"steps": (DONE,)}, RULES, "steps"),
    "all that two steps have made": ({"steps": (DONE, step("COMPLETED", "1.2.1"))}, RULES, "steps"),
    "one step given up, of the other all": ({"steps": (GIVEN_UP, DONE)}, RULES, "steps"),
    "all that the modality has made, though the peer holds more": ({"steps": (DONE,), "asked": (says(9),)}, RULES, "steps"),
    "a step that names nothing says nothing": ({"steps": (SILENT_DONE,)}, RULES, "quiet"),
    "a step for two studies does not say what is whose": (
        {"steps": (replace(MORE_TO_COME, study_instance_uids=("1", "2")),)},
        RULES,
        "quiet",
    ),
    "given up": ({"steps": (GIVEN_UP,)}, RULES, "discontinued"),
    "given up, whatever else is missing": (
        {"steps": (GIVEN_UP,), "asked": (says(9),), "gaps": ("gap",)},
        expects(series=9),
        "discontinued",
    ),
}


@pytest.mark.parametrize("name", COMPLETES)
def test_what_lacks_nothing_is_complete(name):
    given, rules, rule = COMPLETES[name]
    verdict = judge(replace(KNOWN, **given), rules, QUIET, 3)
    assert isinstance(verdict, Complete)
    assert (verdict.evidence.rule, verdict.evidence.missing) == (rule, ())


@pytest.mark.parametrize("given", [{}, *(given for given, *_ in (*WAITS.values(), *COMPLETES.values()))])
def test_nothing_is_complete_while_an_association_is_open(given):
    verdict = judge(replace(KNOWN, **given, quiet_for_s=10_000, is_held_open=True), RULES, QUIET, 3)
    assert [reason.kind for reason in verdict.reasons] == ["open_association"]


@pytest.mark.parametrize(("name", "rule"), [(name, rule) for name, (*_, rule) in COMPLETES.items()])
def test_before_the_quiet_time_only_the_modality_can_say_that_all_is_there(name, rule):
    given, rules, _ = COMPLETES[name]
    verdict = judge(replace(KNOWN, **given, quiet_for_s=4), rules, QUIET, 3)
    assert isinstance(verdict, Complete) is (rule == "steps")


def test_and_not_before_every_listener_could_say_that_it_still_receives():
    known = replace(KNOWN, steps=(DONE,), quiet_for_s=2.9)
    assert [reason.kind for reason in judge(known, RULES, QUIET, 3).reasons] == ["quiet"]


def test_what_the_rule_expects_is_waited_for_even_when_the_modality_has_ended():
    known = replace(KNOWN, steps=(DONE,))
    assert [reason.kind for reason in judge(known, expects(series=3), QUIET, 3).reasons] == ["expected_series"]


def test_the_quiet_time_is_what_it_is_given_and_says_why():
    quiet = QuietTime(seconds=60, why="learned from the last 7 of CT1, longest pause 20.0 s")
    assert "learned from the last 7" in judge(KNOWN, RULES, quiet, 3).reasons[0].sentence
    evidence = judge(replace(KNOWN, quiet_for_s=60), RULES, quiet, 3).evidence
    assert (evidence.quiet_s, evidence.quiet_why) == (60, quiet.why)


def test_a_patience_that_is_shorter_than_the_quiet_time_does_not_shorten_it():
    rules = replace(RULES, patience_s=1)
    assert isinstance(judge(replace(KNOWN, quiet_for_s=29), rules, QUIET, 3), Wait)
    assert judge(replace(KNOWN, asked=(FAILED,)), rules, QUIET, 3).evidence.rule == "patience"


def test_the_evidence_holds_everything_that_was_weighed():
    known = replace(KNOWN, quiet_for_s=700, steps=(DONE, MORE_TO_COME, GIVEN_UP), asked=(says(9, 2), FAILED), gaps=("a gap",))
    evidence = judge(known, expects(series=3), QUIET, 3).evidence
    assert (evidence.instances, evidence.series, evidence.open_associations) == (4, 2, 0)
    assert evidence.steps == {"COMPLETED": 2, "DISCONTINUED": 1}
    assert evidence.stated == 4
    assert evidence.asked == known.asked
    assert evidence.called_ae == ("RADNODE",)
    assert evidence.missing == (
        Missing(kind="step", sentence="2 of 4 instances that the modality says it has made are missing."),
        Missing(kind="expected_series", sentence="2 of 3 CT series with at least 1 instances, the largest has 3."),
        Missing(kind="reported", sentence="pacs reports 9 instances, 4 are held."),
        Missing(kind="unanswered", sentence="pacs did not say how much the study holds: pacs cannot be reached."),
        Missing(kind="gap", sentence="a gap"),
    )


def test_an_operator_needs_no_reason_but_what_was_known_is_kept():
    evidence = evidence_of(replace(KNOWN, steps=(RUNNING,)), RULES, QuietTime(seconds=0), "operator who")
    assert (evidence.rule, evidence.quiet_s, evidence.steps) == ("operator who", 0, {"IN PROGRESS": 1})
