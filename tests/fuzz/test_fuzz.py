"""Whatever is sent: it ends, what was answered Success is kept, and nothing is left behind."""

import os
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from tests.fuzz.campaign import Account, Campaign, Target, read_originals
from tests.fuzz.cases import WEIGHTS, Cases

SEED = 20
pytestmark = pytest.mark.filterwarnings("ignore")


def play(folder: Path, numbers: range, seed: int) -> Account:
    data = os.environ.get("RADNODE_TEST_DATA")
    originals = read_originals(Path(data) if data else Path(str(get_testdata_file("CT_small.dcm"))).parent, 60_000)
    targets = [Target("fast", folder, fast=True), Target("pynetdicom", folder, fast=False)]
    print(f"seed {seed}, cases {numbers.start} to {numbers.stop - 1}")
    account = Campaign(targets, Cases(seed, originals)).run(numbers)
    print(account.table())
    return account


@pytest.mark.timeout(300)
def test_a_short_run_finds_nothing(tmp_path: Path) -> None:
    account = play(tmp_path, range(3000), SEED)
    assert account.findings == []
    assert {family for family, _ in account.outcomes} == set(WEIGHTS)
    assert account.outcomes["stores", "0x0000"] > 100, "nothing of what was in order was kept: nothing was tried"


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_a_long_run_finds_nothing(tmp_path: Path) -> None:
    """RADNODE_FUZZ: the seed, the number of cases and the first of them, as in 7:200000:0."""
    seed, count, start = map(int, os.environ.get("RADNODE_FUZZ", "1:200000:0").split(":"))
    assert play(tmp_path, range(start, start + count), seed).findings == []
