"""A bell may be rung when nobody listens any more, and touches nothing else then."""

import os
from pathlib import Path

from node.dimse.rest import Bell, Checkpoint


def test_a_bell_that_is_gone_does_not_write_into_the_file_that_has_its_number_now(tmp_path: Path) -> None:
    bell = Bell()
    number = bell.file
    bell.close()
    file = os.open(tmp_path / "instance", os.O_CREAT | os.O_RDWR)
    try:
        assert file == number, "the next file that is opened gets the number"
        bell.ring()
        assert os.fstat(file).st_size == 0
    finally:
        os.close(file)


def test_who_is_rung_for_wakes_and_who_may_not_go_on_waits() -> None:
    checkpoint = Checkpoint()
    checkpoint.ring()
    assert checkpoint.wait()
    checkpoint.clear()
    assert not checkpoint.wait(0.01)
