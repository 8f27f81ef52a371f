"""The one retry policy, as a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core import errors
from node.core.errors import CodedError, Verdict
from node.work.retry import RetryPolicy

POLICY = RetryPolicy(attempts=4, crashes=3, first_s=5.0, most_s=30.0)
MIDDLE = 0.5  # the jitter that changes nothing


@pytest.mark.parametrize(("attempt", "delay"), [(1, 5.0), (2, 10.0), (3, 20.0), (4, None), (5, None), (100, None)])
def test_each_failure_doubles_the_delay_until_the_attempts_are_used_up(attempt, delay):
    assert POLICY.delay(errors.DeviceLost("gone"), attempt, MIDDLE) == (pytest.approx(delay) if delay else None)


@pytest.mark.parametrize(("attempt", "delay"), [(1, 5.0), (3, 20.0), (4, 30.0), (59, 30.0), (5000, 30.0)])
def test_no_delay_is_longer_than_the_longest(attempt, delay):
    patient = RetryPolicy(attempts=10_000, crashes=3, first_s=5.0, most_s=30.0)
    assert patient.delay(errors.PeerUnavailable("down"), attempt, MIDDLE) == pytest.approx(delay)


@pytest.mark.parametrize("kind", [getattr(errors, name) for name in errors.__all__ if name != "Verdict"], ids=lambda kind: kind.__name__)
def test_only_what_may_succeed_later_is_tried_again(kind):
    assert (POLICY.delay(kind("It broke."), 1, MIDDLE) is not None) == (kind.verdict is Verdict.RETRY)


@pytest.mark.parametrize(("reason", "attempts"), [("crashed", 3), ("exited", 3), ("killed", 4), ("cuda", 4)])
def test_what_takes_the_process_of_its_model_down_three_times_is_given_up(reason, attempts):
    error = errors.DeviceLost("gone", reason=reason)
    assert [POLICY.delay(error, attempt, MIDDLE) is None for attempt in range(1, 5)] == [attempt >= attempts for attempt in range(1, 5)]


@pytest.mark.parametrize(("jitter", "delay"), [(0.0, 3.5), (0.5, 5.0), (1.0, 6.5)])
def test_the_delay_varies_by_thirty_per_cent(jitter, delay):
    assert POLICY.delay(errors.TimedOut("late"), 1, jitter) == pytest.approx(delay)


def test_one_attempt_means_no_second():
    assert RetryPolicy(attempts=1, crashes=1, first_s=1, most_s=1).delay(errors.TimedOut("late"), 1, MIDDLE) is None


@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(0.001, 1e4), st.floats(0.001, 1e5), st.integers(1, 10**6))
def test_a_delay_is_always_positive_and_bounded(attempt, jitter, first_s, most_s, attempts):
    delay = RetryPolicy(attempts=attempts, crashes=1, first_s=first_s, most_s=most_s).delay(errors.StorageError("away"), attempt, jitter)
    assert (delay is None) == (attempt >= attempts)
    assert delay is None or 0 < delay <= most_s * 1.3 + 1e-9


@pytest.mark.parametrize(("crashes", "poison"), [(0, False), (1, False), (3, False), (4, True), (50, True)])
def test_work_that_took_its_worker_down_three_times_is_not_given_a_fourth(crashes, poison):
    assert POLICY.is_poison(crashes) is poison


def test_the_base_of_all_errors_is_not_tried_again():
    assert POLICY.delay(CodedError("Something."), 1, MIDDLE) is None
