"""Does the listener's memory stay flat? Fifty thousand small instances through the real listener: python -m pytest -m benchmark -s."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from matplotlib.figure import Figure

from tests.integration.dimse.wire import Wire, message
from tests.nodes import REPOSITORY, Node
from tests.peers import wait_until
from tests.unit.intake.arrivals import encode, make_data_set

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

INSTANCES, EVERY = 50_000, 5_000
PER_STUDY, ASSOCIATIONS = 250, 4
PICTURE = REPOSITORY / "docs" / "benchmarks" / "memory.png"
STUDY, SERIES, INSTANCE = "1.2.826.0.1.3680043.9.10000", "1.2.826.0.1.3680043.9.20000", "1.2.826.0.1.3680043.9.3000000"
#: One message, in which three UIDs of a fixed length are replaced.
MESSAGE = message(
    encode(
        make_data_set(
            StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, SOPInstanceUID=INSTANCE, Rows=16, Columns=16, PixelData=bytes(16 * 16 * 2)
        )
    ),
    INSTANCE,
)


def message_of(number: int) -> bytes:
    """Instance ``number``, of its study."""
    study = str(10_000 + number // PER_STUDY)
    uids = {STUDY: STUDY[:-5] + study, SERIES: SERIES[:-5] + study, INSTANCE: INSTANCE[:-7] + str(3_000_000 + number)}
    found = MESSAGE
    for before, after in uids.items():
        found = found.replace(before.encode(), after.encode())
    return found


def send(port: int, numbers: Sequence[int]) -> None:
    """Send one study in an association of its own."""
    with Wire(port) as wire:
        for number in numbers:
            wire.send(message_of(number))
            assert wire.answer()[1] == 0
        wire.release()


def send_together(port: int, numbers: range) -> None:
    studies = [numbers[first : first + PER_STUDY] for first in range(0, len(numbers), PER_STUDY)]
    threads = [
        threading.Thread(target=lambda mine=studies[number::ASSOCIATIONS]: [send(port, study) for study in mine])
        for number in range(ASSOCIATIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def memory(node: Node, listener: psutil.Process) -> Iterator[tuple[int, float]]:
    """The listener's resident memory in MB, after so many instances."""
    yield 0, listener.memory_info().rss / 1e6
    for first in range(0, INSTANCES, EVERY):
        send_together(node.port, range(first, first + EVERY))
        yield first + EVERY, listener.memory_info().rss / 1e6


def test_the_memory_of_the_listener_is_flat(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", [], quiet_s=1.0)
    found = {}
    with node.role("listen") as role:
        assert role.process is not None
        for count, megabytes in memory(node, psutil.Process(role.process.pid)):
            found[count] = megabytes
            print(f"{count:6d} instances: {megabytes:6.1f} MB")
        wait_until(lambda: sum(row["instances"] for row in node.rows("study")) == INSTANCES, seconds=60, sentence="rows are missing")
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot(ylim=(0, 1.2 * max(found.values())), xlabel="instances received", ylabel="resident memory, MB")
    axes.plot(list(found), list(found.values()), marker="o")
    figure.savefig(PICTURE, dpi=110)
    assert found[INSTANCES] < 1.1 * found[INSTANCES // 2], "half as many more must not cost more memory"
