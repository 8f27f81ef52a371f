"""What every possible C-STORE status means for a delivery: PS3.7 Annex C and PS3.4 Table B.2-1, written out once more."""

import pytest

from node.dimse.status import judge

#: Warnings of PS3.7 C.4 and of Storage: the object was stored.
WARNINGS = {0x0001, 0x0107, 0x0116, *range(0xB000, 0xC000)}
#: Out of resources (PS3.4), processing failure, duplicate invocation, resource limitation (PS3.7).
PASSING = {0x0110, 0x0210, 0x0213, *range(0xA700, 0xA800)}
EVERY = range(0x10000)


def test_success_is_acceptance():
    answer = judge(0x0000)
    assert (answer.event, answer.dimse_status) == ("accept", 0)


def test_only_success_and_warnings_are_acceptance():
    assert {status for status in EVERY if judge(status).event == "accept"} == {0x0000, *WARNINGS}


def test_only_what_may_pass_is_sent_again():
    assert {status for status in EVERY if judge(status).event == "retry"} == PASSING


def test_everything_else_is_refused():
    assert {status for status in EVERY if judge(status).event == "refuse"} == set(EVERY) - {0} - WARNINGS - PASSING


@pytest.mark.parametrize(
    "status", [0x0105, 0x0106, 0x0117, 0x0122, 0x0124, 0xA900, 0xA9FF, 0xC000, 0xC001, 0xCFFF, 0xFE00, 0xFF00, 0xFFFF, 0x8000]
)
def test_what_will_not_pass_is_not_repeated(status):
    assert judge(status).event == "refuse"


def test_no_answer_is_no_acceptance():
    answer = judge(None)
    assert (answer.event, answer.dimse_status) == ("retry", None)


def test_every_sentence_is_for_people():
    sentences = {judge(status).sentence for status in EVERY}
    assert all(sentence.endswith(".") and ".." not in sentence and ": ." not in sentence for sentence in sentences)
    assert all(judge(status).dimse_status == status for status in EVERY)
