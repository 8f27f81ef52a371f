"""A device that computes rightly passes, and every way of computing wrongly is found."""

from dataclasses import replace

import pytest
import torch

from pipelines import selftest
from pipelines.errors import DeviceLost
from pipelines.selftest import EXPECTED_SUM, FULL_DIFFERENCE, examine, judge, run_network

CPU = torch.device("cpu")
MOST = 0.1


@pytest.fixture(scope="module")
def report():
    return examine("cpu", MOST)


def test_this_machine_computes_rightly(report):
    assert report.device == "cpu"
    assert report.full_difference < FULL_DIFFERENCE / 10
    assert 0 < report.reduced_difference < MOST / 2
    assert report.torch == torch.__version__
    assert set(report.as_detail()) >= {"torch", "cuda", "cudnn", "driver", "full_difference", "reduced_difference"}


def test_the_reference_is_the_same_everywhere():
    exact = run_network(CPU, torch.float64)
    assert float(exact.sum()) == pytest.approx(EXPECTED_SUM, rel=1e-9)
    assert exact.abs().max() > 1


NAN = float("nan")


@pytest.mark.parametrize(
    ("changes", "again", "reason"),
    [
        ({}, 1e-9, "wrong"),
        ({}, NAN, "wrong"),
        ({"full_difference": 2e-4}, 0.0, "wrong"),
        ({"full_difference": NAN}, 0.0, "wrong"),
        ({"reduced_difference": MOST * 1.01}, 0.0, "reduced"),
        ({"reduced_difference": NAN}, 0.0, "reduced"),
    ],
)
def test_what_is_off_is_refused_with_its_numbers_and_versions(changes, again, reason, report):
    judge(report, 0.0, MOST)
    with pytest.raises(DeviceLost, match=rf"torch {torch.__version__.split('+')[0]}") as caught:
        judge(replace(report, **changes), again, MOST)
    assert caught.value.reason == reason


def test_a_wrong_weight_is_seen(report):
    """One weight of 6,000 off by a tenth: that the comparison is fine enough to see what it should."""
    with torch.inference_mode():
        exact = run_network(CPU, torch.float64)
        wrong = exact.clone()
        wrong.view(-1)[1234] += 0.001 * exact.abs().max()
    assert selftest._difference(wrong, exact) > FULL_DIFFERENCE


def test_a_device_that_is_not_there_is_absent():
    number = torch.cuda.device_count() + 7
    with pytest.raises(DeviceLost) as caught:
        examine(f"cuda:{number}", MOST)
    assert caught.value.full_code == "DEVICE_LOST.absent"
