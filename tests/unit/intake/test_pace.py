"""The quiet time that a sender's pauses ask for, as a table."""

import pytest

from node.intake.pace import learn


@pytest.mark.parametrize(
    ("pauses_s", "seconds"),
    [
        ([], None),
        ([20.0] * 4, None),
        ([20.0] * 5, 60.0),
        ([0.0] * 50, 10.0),
        ([1.0] * 49 + [25.5], 76.5),
        ([4.0] * 5, 12.0),
        ([3.0] * 5, 10.0),
        ([100.0] * 5, 300.0),
        ([299.0, 1.0, 1.0, 1.0, 1.0], 300.0),
        ([86400.0, 1.0, 5.0, 1.0, 1.0], 15.0),
        ([86400.0] * 5, 10.0),
    ],
)
def test_it_is_three_times_the_longest_pause_within_its_bounds(pauses_s, seconds):
    found = learn("CT1", pauses_s, 10.0, 300.0)
    assert (found.seconds if found else None) == seconds


def test_it_says_what_it_was_learned_from():
    assert learn("CT1", [1, 2, 20.25, 4, 5], 10, 300).why == "learned from the last 5 of CT1, longest pause 20.2 s"
