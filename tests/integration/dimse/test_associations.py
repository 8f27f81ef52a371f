"""Who may come in, how many at a time, and what is written down about them."""

import socket
import threading

import pytest
from pydicom.data import get_testdata_file

from tests.integration.dimse.station import Station
from tests.integration.dimse.wire import RELEASE, Wire
from tests.peers import HOST, echo_scu, store_scu, wait_until

CT = str(get_testdata_file("CT_small.dcm"))
WORKLIST = "1.2.840.10008.5.1.4.31"
PRIVATE = "1.2.826.0.1.3680043.9.7433.1.999"
IMPLICIT = "1.2.840.10008.1.2"
#: When the other side closes first, pynetdicom 3.0.4 leaves its socket to be closed by the collector (transport.py, _shutdown_socket).
pytestmark = pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")


def test_an_echo_is_answered(station):
    assert echo_scu(HOST, station.port)


def test_a_wrong_called_title_is_rejected_and_written_down(station):
    association = station.connect(called="NOBODY")
    assert association.is_rejected
    reply = association.acceptor.primitive
    assert (reply.result, reply.result_source, reply.diagnostic) == (1, 1, 7), "permanent, called AE title not recognised (PS3.8 9.3.4)"
    (row,) = station.wait_for("association.rejected")
    assert row.detail["reason"] == "called AE title not recognised"
    assert (row.detail["calling_ae"], row.detail["called_ae"], row.detail["address"]) == ("SENDER", "NOBODY", HOST)
    assert station.names() == ["association.rejected"]


def test_dcmtk_hears_that_the_title_is_wrong(station):
    sending = store_scu(HOST, station.port, [CT], "STORESCU", "NOBODY")
    assert not sending.accepted
    assert "Called AE Title Not Recognized" in sending.log


def test_only_listed_senders_may_come_in(tmp_path):
    with Station(tmp_path, calling_ae=frozenset({"CT1", "MR 2"})) as station:
        assert echo_scu(HOST, station.port, calling="CT1")
        assert echo_scu(HOST, station.port, calling="MR 2")
        stranger = station.connect(calling="CT10")
        assert stranger.is_rejected
        assert stranger.acceptor.primitive.diagnostic == 3, "calling AE title not recognised"
        (row,) = station.wait_for("association.rejected")
        assert row.detail["reason"] == "calling AE title not recognised"


def test_each_of_our_titles_is_answered(tmp_path):
    with Station(tmp_path, called_ae=frozenset({"RADNODE", "LUNGS", "AI NODE"})) as station:
        for title in ("LUNGS", "AI NODE", "RADNODE", "LUNGS"):
            assert echo_scu(HOST, station.port, called=title)
        assert not echo_scu(HOST, station.port, called="LUNG")
        assert not echo_scu(HOST, station.port, called="radnode")
        called = [row.detail["called_ae"] for row in station.wait_for("association.accepted", 4)]
        assert called == ["LUNGS", "AI NODE", "RADNODE", "LUNGS"]


def test_any_title_is_answered_when_configured(tmp_path):
    with Station(tmp_path, called_ae=frozenset()) as station:
        assert echo_scu(HOST, station.port, called="WHOEVER")


def test_more_associations_than_allowed_are_told_to_come_again(tmp_path):
    with Station(tmp_path, max_associations=2) as station:
        first, second = station.connect(), station.connect()
        assert first.is_established
        assert second.is_established
        third = station.connect()
        assert third.is_rejected
        assert third.acceptor.primitive.result == 2, "transient: a sender that hears it may come again"
        (row,) = station.wait_for("association.rejected")
        assert row.detail["reason"] == "too many associations"
        first.release()
        station.wait_for("association.released")
        wait_until(lambda: echo_scu(HOST, station.port), seconds=10, sentence="no place became free")
        second.release()


def test_the_end_of_an_association_is_written_down_with_its_count(station):
    sending = store_scu(HOST, station.port, [CT])
    assert sending.statuses == [0]
    (released,) = station.wait_for("association.released")
    assert released.detail["instances"] == 1
    assert station.names() == ["association.accepted", "instance.received", "study.opened", "association.released"]
    assert len({row.association_id for row in station.events() if row.association_id}) == 1


def test_an_abort_is_written_down_as_one(station):
    association = station.connect()
    station.wait_for("association.accepted")
    association.abort()
    (row,) = station.wait_for("association.aborted")
    assert row.detail["instances"] == 0
    assert station.names("association") == ["association.accepted", "association.aborted"]


def test_twenty_aborts_are_twenty_rows(station):
    for _ in range(20):
        station.connect().abort()
    station.wait_for("association.aborted", 20)


def test_a_connection_that_breaks_is_written_down(station):
    association = station.connect()
    station.wait_for("association.accepted")
    association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    (row,) = station.wait_for("association.lost")
    assert row.detail["instances"] == 0
    assert station.presence.studies() == frozenset()


def test_a_sender_that_releases_and_hangs_up_at_once_has_released(station):
    """Whether the thread that answers the release or the one that sees the connection close comes first, is chance."""
    for _ in range(25):
        with Wire(station.port) as wire:
            wire.send(RELEASE)
    station.wait_for("association.released", 25)
    assert "association.lost" not in station.names()


def test_an_association_without_traffic_is_ended(tmp_path):
    with Station(tmp_path, idle_s=1.0) as station:
        association = station.connect()
        station.wait_for("association.aborted")
        wait_until(lambda: association.is_aborted, seconds=5, sentence="the sender heard nothing")
        wait_until(lambda: not station.listener.is_receiving(), seconds=5, sentence="a thread is left behind")


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b"\x01\x00\xff\xff\xff\xff" + b"x" * 500, b"\x04\x00\x00\x00\x00\x04abcd"]
)
def test_garbage_harms_nobody(station, garbage):
    for _ in range(3):
        with socket.create_connection((HOST, station.port)) as raw:
            raw.sendall(garbage)
    assert store_scu(HOST, station.port, [CT]).statuses == [0]
    assert station.names("instance") == ["instance.received"]


@pytest.mark.parametrize("beginning", [b"", b"\x01", b"\x01\x00\x00\x00\x00\xd0", b"\x01\x00\x00\x00\x00\xd0" + b"\0" * 20])
def test_half_open_connections_are_dropped_and_hold_nothing_up(tmp_path, beginning):
    """A peer that begins to speak and falls silent must not keep a thread, a place or the shutdown for ever."""
    with Station(tmp_path, idle_s=1.5, max_associations=4) as station:
        silent = [socket.create_connection((HOST, station.port)) for _ in range(6)]
        for raw in silent:
            raw.sendall(beginning)
        wait_until(lambda: echo_scu(HOST, station.port), seconds=15, sentence="silent connections hold all places")
        for raw in silent:
            raw.settimeout(10)
            while raw.recv(100):
                pass  # an A-ABORT may come before the end
            raw.close()
        wait_until(lambda: not station.listener.is_receiving(), seconds=10, sentence="threads are left behind")
        assert station.listener._visits == {}


def test_connections_that_go_without_a_word_hold_no_place(tmp_path):
    """A health check connects and goes; a hundred of them must neither fill the node nor hold up its end."""
    with Station(tmp_path, idle_s=60.0, max_associations=2) as station:
        for _ in range(100):
            socket.create_connection((HOST, station.port)).close()
        wait_until(lambda: not station.listener.is_receiving(), seconds=10, sentence="they are still waited for")
        assert echo_scu(HOST, station.port)


def test_a_sender_that_stops_within_a_pdu_is_dropped(tmp_path):
    with Station(tmp_path, idle_s=1.5) as station:
        association = station.connect()
        association.dul.socket.socket.sendall(b"\x04\x00\x00\x00\x10\x00" + b"\0" * 10)
        station.wait_for("association.aborted")
        wait_until(lambda: not station.listener.is_receiving(), seconds=10, sentence="threads are left behind")


def test_the_listener_stops_although_a_peer_is_silent(tmp_path):
    station = Station(tmp_path, idle_s=60.0).__enter__()
    with socket.create_connection((HOST, station.port)) as raw:
        raw.sendall(b"\x01\x00\x00\x00\x00\xd0")
        station.connect()
        station.wait_for("association.accepted")
        stopper = threading.Thread(target=station.__exit__, daemon=True)
        stopper.start()
        stopper.join(10)
        assert not stopper.is_alive(), "a role that does not stop by itself is killed"


def test_other_services_are_turned_away(station):
    association = station.connect((WORKLIST, IMPLICIT), ("1.2.840.10008.1.1", IMPLICIT))
    assert [context.abstract_syntax for context in association.rejected_contexts] == [WORKLIST]
    association.release()


@pytest.mark.parametrize("unknown", [True, False])
def test_private_classes_are_negotiated_as_configured(tmp_path, unknown):
    with Station(tmp_path, unknown_storage=unknown) as station:
        association = station.connect((PRIVATE, IMPLICIT), ("1.2.840.10008.1.1", IMPLICIT))
        assert (PRIVATE in [context.abstract_syntax for context in association.accepted_contexts]) == unknown
        association.release()
