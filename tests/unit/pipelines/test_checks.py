"""A report that shows nothing is no success."""

import numpy as np

from pipelines.checks import Check, Report, dice_of
from pipelines.ellipsoids import PLACES_MM, make_known


def checked(*passed: bool) -> Report:
    return Report(pipeline="p", checks=tuple(Check(name="c", passed=one, number=None, sentence="s") for one in passed))


def test_all_checks_have_to_pass_and_there_has_to_be_one() -> None:
    assert [checked(True, True).passed, checked(True, False).passed, checked().passed] == [True, False, False]


def test_masks_that_share_nothing_and_masks_that_are_empty_show_nothing() -> None:
    one, other = np.array([True, True, False]), np.array([False, True, True])
    assert [dice_of(one, one), dice_of(one, other), dice_of(one, ~one), dice_of(one & ~one, one & ~one)] == [1.0, 0.5, 0.0, 0.0]


def test_known_objects_are_apart_and_no_flip_leaves_them_where_they_are() -> None:
    masks = [make_known(number, is_ct=True, degrees=0.0).mask for number in range(len(PLACES_MM))]
    assert np.sum(masks, axis=0).max() == 1
    for mask in masks:
        for axis in range(3):
            assert dice_of(mask, np.flip(mask, axis)) < 0.2
