"""An association that others use while N-EVENT-REPORTs are served."""

import threading
from collections.abc import Iterator

import pytest
from pynetdicom import AE
from pynetdicom.association import Association

from node.dimse.pause import steady
from tests.peers import HOST, free_port, wait_until

VERIFICATION = "1.2.840.10008.1.1"


@pytest.fixture
def association() -> Iterator[Association]:
    """An association with a peer, whose reactor has paused."""
    port, peer, ae = free_port(), AE("PEER"), AE("US")
    peer.add_supported_context(VERIFICATION)
    ae.add_requested_context(VERIFICATION)
    server = peer.start_server((HOST, port), block=False)
    made = ae.associate(HOST, port)
    assert made.is_established
    made._reactor_checkpoint.clear()
    wait_until(lambda: made._is_paused, seconds=5, sentence="the reactor does not pause")
    yield made
    made.abort()
    server.shutdown()


def say_that_it_is_not_paused(association: Association) -> None:
    """What the thread that serves an N-EVENT-REPORT does at its end."""
    thread = threading.Thread(target=setattr, args=(association, "_is_paused", False))
    thread.start()
    thread.join()


def is_released_in_time(association: Association) -> bool:
    """Whether it is released by itself; else it is told that the reactor pauses, so that nothing is left behind."""
    releasing = threading.Thread(target=association.release)
    releasing.start()
    releasing.join(3)
    in_time = not releasing.is_alive()
    association._is_paused = True
    releasing.join(10)
    return in_time


def test_pynetdicom_waits_for_ever_for_a_reactor_that_has_paused(association: Association) -> None:
    """The fault is there: when it is mended, ``node/dimse/pause.py`` can go."""
    say_that_it_is_not_paused(association)
    assert not is_released_in_time(association)


def test_a_steady_association_is_released_whatever_another_thread_says_of_its_reactor(association: Association) -> None:
    steady(association)
    say_that_it_is_not_paused(association)
    assert association._is_paused
    assert is_released_in_time(association)
    assert association.is_released


def test_a_steady_association_can_be_used_and_aborted(association: Association) -> None:
    steady(association)
    association._reactor_checkpoint.set()
    assert association.send_c_echo().Status == 0
    association.abort()
    assert association.is_aborted
