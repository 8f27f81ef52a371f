"""What one peer can take of the node, and for how long: memory, places, threads, time."""

import random
import socket
import struct
import threading
import time
from contextlib import suppress

import pytest

from tests.integration.dimse.test_fast_path import CONTENT, content_of
from tests.integration.dimse.wire import (
    COMMAND,
    ECHO,
    LAST,
    RELEASE,
    STORE,
    Wire,
    associate,
    echo_command,
    message,
    pdu,
    pdv,
    store_command,
)
from tests.peers import HOST, wait_until
from tests.unit.intake.arrivals import INSTANCE

pytestmark = pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")
HUGE = 0xFFFFFFF0


@pytest.fixture(params=[True, False], ids=["fast", "pynetdicom"])
def patient(request, station_of):
    """A listener that would wait long for what it is not able to refuse at once."""
    with station_of("node", fast=request.param, idle_s=20.0) as station:
        yield station


def header(kind: int, length: int) -> bytes:
    return struct.pack(">BBI", kind, 0, length)


ENDLESS = {
    "a release": header(5, HUGE),
    "an abort": header(7, HUGE),
    "a second request": header(1, 1 << 21),
    "data of no context": header(4, HUGE) + struct.pack(">IBB", HUGE - 4, 99, 0),
    "a command that goes on": header(4, HUGE) + struct.pack(">IBB", HUGE - 4, STORE, COMMAND),
    "an unknown PDU": header(9, HUGE),
}


@pytest.mark.parametrize("begin", ENDLESS.values(), ids=ENDLESS)
def test_a_pdu_that_claims_more_than_its_kind_may_is_not_waited_for(begin, patient):
    before = time.monotonic()
    with Wire(patient.port) as wire:
        wire.send(begin)
        assert wire.was_ended()
    assert time.monotonic() - before < 10


@pytest.mark.parametrize("begin", [header(1, (1 << 20) + 1), header(4, 100), header(5, 1 << 20), header(2, HUGE)])
def test_nor_is_it_before_there_is_an_association(begin, patient):
    before = time.monotonic()
    with socket.create_connection((HOST, patient.port)) as raw:
        raw.settimeout(20)
        raw.sendall(begin)
        while raw.recv(100):
            pass
    assert time.monotonic() - before < 10


def test_a_command_set_has_an_end(patient):
    with Wire(patient.port) as wire:
        with suppress(ConnectionError):
            wire.send(*(pdu(pdv(COMMAND, bytes(10_000))) for _ in range(20)))
        assert wire.was_ended()


UNFIT = {
    "a C-STORE in the context for verification": pdu(pdv(COMMAND | LAST, store_command(), ECHO)) + pdu(pdv(LAST, CONTENT, ECHO)),
    "a C-ECHO in the context for storage": pdu(pdv(COMMAND | LAST, echo_command(), STORE)),
    "a C-STORE without a data set": pdu(pdv(COMMAND | LAST, store_command(data_set=False))),
    "data without a command": pdu(pdv(LAST, CONTENT)),
}


@pytest.mark.parametrize("sent", UNFIT.values(), ids=UNFIT)
def test_what_cannot_be_answered_is_ended_at_once_and_not_left_to_wait(sent, patient):
    before = time.monotonic()
    with Wire(patient.port) as wire:
        wire.send(sent)
        assert wire.was_ended()
    assert time.monotonic() - before < 10
    patient.wait_for("association.aborted")
    assert patient.held() == {}


def test_a_request_for_an_association_has_its_time_however_its_bytes_come(station_of):
    with station_of("node", idle_s=1.0) as station, socket.create_connection((HOST, station.port)) as raw:
        before = time.monotonic()
        with suppress(ConnectionError):
            for byte in associate():
                raw.sendall(bytes((byte,)))
                time.sleep(0.1)
                assert time.monotonic() - before < 8, "it is still listened to"


def test_who_only_connects_makes_room_for_who_asks(station_of):
    with station_of("node", idle_s=30.0, max_strangers=5) as station:
        silent = [socket.create_connection((HOST, station.port)) for _ in range(20)]
        for turn in range(3):
            with Wire(station.port) as wire:
                assert wire.store(content_of(f"{INSTANCE}.{turn}"), f"{INSTANCE}.{turn}") == 0
                wire.release()
        for raw in silent[:14]:
            raw.settimeout(10)
            with suppress(ConnectionError):
                assert raw.recv(100) == b"", "the oldest are dropped"
        wait_until(lambda: len(station.listener._readers) <= 6, seconds=10, sentence="more are waited for than is allowed")
        for raw in silent:
            raw.close()


def test_associations_without_traffic_cost_next_to_nothing(station):
    """By itself pynetdicom looks for work two thousand times a second for each."""
    wires = [Wire(station.port) for _ in range(10)]
    time.sleep(0.2)
    before = time.process_time()
    time.sleep(1.0)
    assert time.process_time() - before < 0.2
    for wire in wires:
        wire.release()


def test_a_peer_that_reads_no_answers_is_not_waited_for_for_ever(station):
    with Wire(station.port) as wire:
        assert wire.store(CONTENT) == 0
        (reader,) = station.listener._readers.values()
        seconds, _ = struct.unpack("ll", reader._connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16))
        assert seconds == station.door.idle_s
        wire.release()


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "pynetdicom"])
def test_a_peer_is_held_to_its_rate_however_many_associations_it_has(fast, station_of):
    rate = 400_000
    with station_of("node", fast=fast, fastest=rate) as station:
        uids = [f"{INSTANCE}.{number}" for number in range(4)]

        def send(mine):
            with Wire(station.port) as wire:
                assert [wire.store(content_of(uid, 200_000), uid) for uid in mine] == [0] * len(mine)
                wire.release()

        before = time.monotonic()
        threads = [threading.Thread(target=send, args=(mine,)) for mine in (uids[:2], uids[2:])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - before > (4 * 200_000 - rate) / rate * 0.9, "what is beyond one second's worth has to wait"
        assert len(station.held()) == 4
        assert "association.aborted" not in station.names(), "who is made to wait is not slow"


def test_a_rate_does_not_begin_anew_with_every_association(station_of):
    with station_of("node", fastest=400_000) as station:
        before = time.monotonic()
        for number in range(4):
            uid = f"{INSTANCE}.{number}"
            with Wire(station.port) as wire:
                assert wire.store(content_of(uid, 200_000), uid) == 0
                wire.release()
        assert time.monotonic() - before > 0.9


def test_what_an_acceptor_does_not_know_it_skips(station):
    """PS3.8 section 9.3.1; and AE titles may be padded by NULs, which some senders do."""
    request = bytearray(associate())
    request[10:26], request[26:42] = b"RADNODE".ljust(16, b"\0"), b"OLD CT".ljust(16, b"\0")
    unknown = struct.pack(">BBH", 0x6F, 0, 5) + b"later"
    request[2:6] = struct.pack(">I", len(request) - 6 + len(unknown))
    with socket.create_connection((HOST, station.port)) as raw:
        raw.settimeout(10)
        raw.sendall(bytes(request) + unknown)
        assert raw.recv(1) == b"\2"
        raw.sendall(RELEASE)
        while raw.recv(1000):
            pass
    (row,) = station.wait_for("association.accepted")
    assert (row.detail["calling_ae"], row.detail["called_ae"]) == ("OLD CT", "RADNODE")


def test_what_breaks_pynetdicoms_state_machine_ends_the_association_only(station):
    """An A-ABORT whose source is none, a release behind which more comes: each ends its own association, and leaves no thread behind."""
    threads = threading.active_count()
    for sent in (struct.pack(">BBIBBBB", 7, 0, 4, 0, 0, 77, 9), RELEASE + message(CONTENT), RELEASE * 3):
        with Wire(station.port) as wire:
            wire.send(sent)
            assert wire.was_ended()
    wait_until(lambda: threading.active_count() <= threads, seconds=10, sentence="threads are left behind")
    assert station.listener._readers == station.listener._visits == {}


def test_no_thread_is_left_when_a_request_comes_just_as_its_time_is_over(station_of):
    with station_of("node", idle_s=0.3) as station:
        for number in range(20):
            with socket.create_connection((HOST, station.port)) as raw:
                raw.settimeout(5)
                time.sleep(0.29 + 0.001 * number)
                with suppress(ConnectionError):
                    raw.sendall(associate())
                    raw.recv(10)
        wait_until(lambda: not station.listener.is_receiving(), seconds=10, sentence="threads are left behind")


def test_random_requests_in_one_connection_after_the_other_leave_nothing(station):
    chance, threads = random.Random(5), threading.active_count()
    for _ in range(30):
        with socket.create_connection((HOST, station.port)) as raw, suppress(ConnectionError):
            raw.sendall(associate()[: chance.randrange(200)] + chance.randbytes(chance.randrange(50)))
    wait_until(lambda: threading.active_count() <= threads, seconds=10, sentence="threads are left behind")
