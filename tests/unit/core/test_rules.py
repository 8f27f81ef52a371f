"""Which rules hold for a study, by the titles that it was sent to."""

import pytest

from node.core.rules import ExpectedSeries, RuleBook, Rules, rules_of

CT, MR = ExpectedSeries(modality="CT", instances=100), ExpectedSeries(modality="MR")
DEFAULT = Rules(pipelines=("ct_lungs",), quiet_s=30, patience_s=600)
CHEST = Rules(pipelines=("ct_lungs", "ct_heart"), quiet_s=60, patience_s=300, expected=(CT,), ask=("pacs",))
HEAD = Rules(pipelines=("mr_brain", "ct_lungs"), quiet_s=5, patience_s=900, expected=(MR, CT), ask=("pacs", "ris"))
KEEP = Rules(pipelines=(), quiet_s=1, patience_s=1)
BOOK = RuleBook(default=DEFAULT, by_title={"CHEST": CHEST, "HEAD": HEAD, "KEEP": KEEP})


@pytest.mark.parametrize(
    ("called", "rules"),
    [
        ([], DEFAULT),
        ([""], DEFAULT),
        (["RADNODE"], DEFAULT),
        (["CHEST"], CHEST),
        (["KEEP"], KEEP),
        (["RADNODE", "CHEST"], Rules(pipelines=("ct_lungs", "ct_heart"), quiet_s=60, patience_s=600, expected=(CT,), ask=("pacs",))),
        (
            ["HEAD", "CHEST"],
            Rules(pipelines=("ct_lungs", "ct_heart", "mr_brain"), quiet_s=60, patience_s=900, expected=(CT, MR), ask=("pacs", "ris")),
        ),
        (["KEEP", "RADNODE"], DEFAULT),
    ],
)
def test_the_rules_of_a_study_are_those_of_its_titles(called, rules):
    assert rules_of(BOOK, called) == rules
    assert rules_of(BOOK, reversed(called)) == rules, "whatever the order in which they were called"


def test_the_shortest_quiet_time_is_known():
    assert BOOK.least_quiet_s == 1
    assert RuleBook(default=DEFAULT).least_quiet_s == 30
