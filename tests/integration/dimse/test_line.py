"""Asking back on an association that ends in the same moment."""

import re
import threading

import pytest
from pynetdicom.pdu_primitives import P_DATA

from node.dimse.line import Line
from tests.integration.dimse.wire import STORE, Wire, message
from tests.peers import wait_until
from tests.unit.intake.arrivals import encode, make_data_set

#: When the other side closes first, pynetdicom 3.0.4 leaves its socket to be closed by the collector (transport.py, _shutdown_socket).
pytestmark = pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")


def fragment(*_):
    primitive = P_DATA()
    primitive.presentation_data_value_list = [[STORE, bytes(9)]]  # the middle of a data set, by its first byte
    return [primitive]


@pytest.fixture
def open_line(station):
    """A line on an association with a peer that breaks every rule."""
    with Wire(station.port) as wire:
        wait_until(lambda: station.listener._visits, seconds=5, sentence="nobody came")
        (association,) = station.listener._ae.active_associations
        wait_until(lambda: association.is_established, seconds=5, sentence="it is not established")
        yield wire, association, Line(association, "line", STORE)


def test_what_comes_too_late_is_dropped_and_the_place_becomes_free(station, open_line):
    """We abort while something is still to be sent: pynetdicom's reactor would die of it, and never say that the connection is closed."""
    _, association, _ = open_line
    outgoing = association.dul.to_provider_queue
    with outgoing.mutex:
        association.dul.event_queue.put("Evt19")
        outgoing.queue.extend(fragment() * 3)
    wait_until(lambda: station.listener._visits == {}, seconds=5, sentence="the association still holds its place")
    assert outgoing.empty()


def test_nothing_is_begun_on_an_association_that_has_ended(station, open_line):
    _, association, line = open_line
    association.dul.event_queue.put("Evt19")
    wait_until(lambda: station.listener._visits == {}, seconds=5, sentence="it goes on")
    assert line.send(fragment, 5.0) is None


def test_a_peer_that_closes_instead_of_answering_is_noticed_at_once(open_line):
    wire, _, line = open_line
    line.expect_answer()
    assert line.send(fragment, 0.1) is None, "its request is not answered yet"
    line.close()
    wire.socket.close()
    assert line.send(fragment, 60.0) is None


def test_no_answer_comes_between_the_fragments(open_line):
    """The peer goes on storing while we ask, and the fast path answers it."""
    wire, _, line = open_line
    content, seen, answers = encode(make_data_set()), "", []
    asking = threading.Thread(target=lambda: answers.append(line.send(lambda *_: fragment() * 50, 20.0)))
    asking.start()
    while seen.count("f") < 50:
        wire.send(message(content))
        while not seen.endswith("r"):
            seen += "r" if wire.read()[1][5] else "f"
        seen += " "
    line.answered(1, 0)
    asking.join(5)
    assert answers == [0]
    assert re.search("f{50}", seen), seen
