"""Who goes first, by which rule, and how many at once."""

from datetime import UTC, datetime, timedelta

import pytest

from node.core.job import Priority
from node.core.schedule import HEAD_START_S, Limits, PriorityRule, decide, engine_priority, rank_of

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_of_two_that_come_together_the_more_urgent_goes_first():
    ranks = [rank_of(priority, NOON) for priority in Priority]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(Priority)


@pytest.mark.parametrize(
    ("waits", "since", "comes", "first"),
    [
        (Priority.ROUTINE, 3, Priority.URGENT, "comes"),
        (Priority.ROUTINE, 5, Priority.URGENT, "waits"),
        (Priority.BACKGROUND, 43, Priority.ROUTINE, "comes"),
        (Priority.BACKGROUND, 45, Priority.ROUTINE, "waits"),
        (Priority.BACKGROUND, 49, Priority.URGENT, "waits"),
        (Priority.ROUTINE, 6 * 24, Priority.STAT, "comes"),
        (Priority.ROUTINE, 8 * 24, Priority.STAT, "waits"),
        (Priority.STAT, 0.01, Priority.STAT, "waits"),
    ],
)
def test_what_has_waited_long_enough_goes_before_what_is_more_urgent(waits, since, comes, first):
    older, newer = rank_of(waits, NOON - since * HOUR), rank_of(comes, NOON)
    assert (older < newer) == (first == "waits")


def test_a_priority_between_two_levels_counts_as_the_lower():
    assert rank_of(5, NOON) == rank_of(Priority.URGENT, NOON)
    assert rank_of(5000, NOON) == rank_of(Priority.BACKGROUND, NOON)
    assert set(HEAD_START_S) == set(Priority)


def test_the_engine_never_hears_zero_which_is_its_highest():
    ranks = [rank_of(priority, NOON) for priority in Priority]
    assert [engine_priority(rank) for rank in ranks] == sorted({engine_priority(rank) for rank in ranks})
    assert engine_priority(0) == 1
    assert engine_priority(rank_of(Priority.BACKGROUND, datetime(2090, 1, 1, tzinfo=UTC))) < 2**31
    assert engine_priority(10**18) == 2**31 - 1


RULES = (
    PriorityRule(priority=Priority.STAT, calling_ae=frozenset({"ER_CT", "ER_CR"}), called_ae=frozenset({"RADNODE"})),
    PriorityRule(priority=Priority.URGENT, tag="RequestedProcedurePriority", value="STAT|HIGH"),
    PriorityRule(priority=Priority.BACKGROUND, called_ae=frozenset({"RESEARCH"})),
)


@pytest.mark.parametrize(
    ("calling", "called", "said", "priority", "why"),
    [
        ({"ER_CT"}, {"RADNODE"}, {"LOW"}, Priority.STAT, "rule 1: calling AE ER_CT, called AE RADNODE"),
        ({"ER_CT"}, {"OTHER"}, {"high"}, Priority.URGENT, "rule 2: RequestedProcedurePriority fits STAT|HIGH"),
        ({"CT1", "ER_CR"}, {"X", "RADNODE"}, set(), Priority.STAT, "rule 1: calling AE ER_CR, called AE RADNODE"),
        ({"CT1"}, {"RESEARCH"}, {"HIGHEST"}, Priority.BACKGROUND, "rule 3: called AE RESEARCH"),
        ({"CT1"}, {"RADNODE"}, set(), Priority.ROUTINE, "no rule fits"),
    ],
)
def test_the_first_rule_that_fits_decides_and_says_why(calling, called, said, priority, why):
    found = decide(RULES, Priority.ROUTINE, calling, called, lambda _keyword: said)
    assert (found.priority, found.why) == (priority, why)


def test_headers_are_read_only_when_they_decide():
    def read(_keyword):
        raise AssertionError("nobody asked")

    assert decide(RULES, Priority.ROUTINE, {"ER_CT"}, {"RADNODE"}, read).priority == Priority.STAT
    assert decide((), Priority.BACKGROUND, {"ER_CT"}, {"RADNODE"}, read).priority == Priority.BACKGROUND
    anything = PriorityRule(priority=Priority.URGENT)
    assert decide((anything,), Priority.ROUTINE, (), (), read).why == "rule 1: any study"


@pytest.mark.parametrize(
    ("limits", "pipelines", "sources", "full"),
    [
        (Limits(), {"a": 99}, {"CT1": 99}, False),
        (Limits(per_pipeline=2), {"a": 1}, {}, False),
        (Limits(per_pipeline=2), {"a": 2}, {}, True),
        (Limits(per_pipeline=2, pipelines={"a": 3}), {"a": 2}, {}, False),
        (Limits(per_pipeline=2, pipelines={"a": 0}), {"a": 9}, {}, False),
        (Limits(per_source=1), {"a": 5}, {"CT1": 1}, True),
        (Limits(sources={"CT1": 1}), {}, {"CT2": 1}, False),
        (Limits(sources={"CT1": 1}), {}, {"CT1": 1}, True),
    ],
)
def test_limits(limits, pipelines, sources, full):
    assert limits.is_full("a", "CT1", pipelines, sources) == full
