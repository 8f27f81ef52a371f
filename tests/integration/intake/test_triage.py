"""The priority of a study that is complete: by real headers and by who sent it, stored with the job and in the audit log."""

import pytest
from pydicom import Dataset

from node.core.job import Priority
from node.core.schedule import PriorityRule
from tests.integration.intake.assembly import Assembly, chest

RULES = (
    PriorityRule(priority=Priority.STAT, calling_ae=frozenset({"ER_CT"})),
    PriorityRule(priority=Priority.URGENT, tag="RequestedProcedurePriority", value="STAT|HIGH"),
    PriorityRule(priority=Priority.BACKGROUND, called_ae=frozenset({"RESEARCH"})),
)


@pytest.fixture
def assembly(tmp_path):
    with Assembly(tmp_path, f"sqlite:///{tmp_path}/radnode.db", priorities=RULES) as found:
        yield found


def in_request(datasets, value):
    for dataset in datasets:
        item = Dataset()
        item.add_new("RequestedProcedurePriority", "SH", value)
        dataset.RequestAttributesSequence = [item]
    return datasets


def at_top(datasets, value):
    for dataset in datasets:
        dataset.add_new("RequestedProcedurePriority", "SH", value)
    return datasets


@pytest.mark.parametrize(
    ("datasets", "calling", "called", "priority", "why"),
    [
        (chest, "ER_CT", "RADNODE", Priority.STAT, "rule 1: calling AE ER_CT"),
        (lambda: at_top(chest(), "HIGH "), "CT", "RADNODE", Priority.URGENT, "rule 2: RequestedProcedurePriority fits STAT|HIGH"),
        (lambda: in_request(chest(), "stat"), "CT", "RESEARCH", Priority.URGENT, "rule 2: RequestedProcedurePriority fits STAT|HIGH"),
        (lambda: in_request(chest(), "LOW"), "CT", "RESEARCH", Priority.BACKGROUND, "rule 3: called AE RESEARCH"),
        (chest, "CT", "RADNODE", Priority.ROUTINE, "no rule fits"),
    ],
    ids=["sender", "tag", "request", "title", "none"],
)
def test_a_study_gets_the_priority_of_the_first_rule_that_fits(datasets, calling, called, priority, why, assembly):
    assembly.receive(datasets(), calling=calling, called=called)
    assert assembly.complete() == 1
    (work,) = assembly.rows("work")
    assert (work["priority"], work["priority_reason"], work["source"]) == (priority, why, calling)
    (queued,) = assembly.events("job.queued")
    assert (queued.detail["priority"], queued.detail["why"]) == (priority, why)
