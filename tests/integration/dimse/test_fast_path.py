"""However a message is cut, and however it breaks off: what was sent whole is kept whole, and nothing else is left behind."""

import gc
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.dimse.station import Station
from tests.integration.dimse.wire import (
    ABORT,
    COMMAND,
    ECHO,
    LAST,
    NONE,
    RELEASE,
    Wire,
    cut,
    echo_command,
    fragments,
    message,
    pdu,
    pdv,
    store_command,
)
from tests.peers import wait_until
from tests.unit.intake.arrivals import INSTANCE, encode, make_data_set

#: When the other side closes first, pynetdicom 3.0.4 leaves its socket to be closed by the collector (transport.py, _shutdown_socket).
pytestmark = pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")

IDLE_S = 1.0
LARGEST = 3_000_000
#: A data set that is longer than any PDU, and the beginning of a message with it.
CONTENT = encode(make_data_set(PixelData=random.Random(1).randbytes(300_001) + b"\0"))
BEGIN = pdu(pdv(COMMAND | LAST, store_command())) + pdu(pdv(0, CONTENT[:16000]))


@pytest.fixture(scope="module", autouse=True)
def _collect_only_what_is_new() -> Iterator[None]:
    """Sockets are counted behind a collection each time, which must not walk over everything that the other tests have loaded."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def content_of(instance: str, size: int = 1000) -> bytes:
    """A data set that says which it is in every part, so that mixed ones would be seen."""
    return encode(make_data_set(SOPInstanceUID=instance, PixelData=(instance.encode() * (size // len(instance) + 1))[: size & ~1]))


def sockets() -> int:
    gc.collect()
    names = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            names.append(str(entry.readlink()))
        except FileNotFoundError:
            continue  # the one of this very listing
    return sum(name.startswith("socket:") for name in names)


def settle(station: Station, threads: int, opened: int) -> None:
    """After whatever was done: a good sender is served, and nothing is left behind."""
    uid = f"{INSTANCE}.999"
    with Wire(station.port) as wire:
        assert wire.store(content_of(uid), uid) == 0
        wire.release()
    wait_until(lambda: not station.listener.is_receiving(), seconds=10, sentence="an association is left behind")
    wait_until(lambda: threading.active_count() <= threads, seconds=10, sentence=f"threads are left: {threading.enumerate()}")
    wait_until(lambda: sockets() <= opened, seconds=10, sentence="sockets are left open")
    wait_until(lambda: station.listener._visits == {}, seconds=5, sentence="a visit is left behind")
    assert station.bytes_of(station.held()[uid]) == content_of(uid)
    wait_until(lambda: station.presence.studies() == frozenset(), seconds=5, sentence="a study is held open by nobody")
    station.check()


@pytest.fixture(params=[True, False], ids=["fast", "pynetdicom"])
def either(request, tmp_path):
    """A listener by either path; at the end it serves a good sender, and nothing is left behind."""
    with Station(tmp_path / "node", idle_s=IDLE_S, largest=LARGEST, fast=request.param) as station:
        threads, opened = threading.active_count(), sockets()
        yield station
        settle(station, threads, opened)


@pytest.fixture(params=[True, False], ids=["fast", "pynetdicom"])
def station(request, tmp_path):
    """The same, with less patience."""
    with Station(tmp_path / "node", idle_s=IDLE_S, largest=LARGEST, slowest=10_000, fast=request.param) as station:
        threads, opened = threading.active_count(), sockets()
        yield station
        settle(station, threads, opened)


COMMAND_PDV = pdv(COMMAND | LAST, store_command())
PACKED = {
    **{f"pdu of {size}": message(CONTENT, size=size) for size in (4096, 16384, 131072)},
    "odd places": pdu(COMMAND_PDV) + b"".join(map(pdu, fragments(cut(CONTENT, 1, 997, 2, 16001, 3)))),
    "command and data in one PDU": pdu(COMMAND_PDV, *fragments([CONTENT])),
    "command and first data in one PDU": pdu(COMMAND_PDV, pdv(0, CONTENT[:5])) + pdu(pdv(LAST, CONTENT[5:])),
    "several fragments in a PDU": b"".join(pdu(*fragments(cut(CONTENT, 4001))[n : n + 5]) for n in range(0, 76, 5)).join(
        [pdu(COMMAND_PDV), b""]
    ),
    "an empty last fragment": pdu(COMMAND_PDV) + pdu(pdv(0, CONTENT)) + pdu(pdv(LAST, b"")),
    "an empty last fragment in the same PDU": pdu(COMMAND_PDV) + pdu(pdv(0, CONTENT), pdv(LAST, b"")),
    "empty fragments in between": pdu(COMMAND_PDV) + pdu(pdv(0, b""), pdv(0, CONTENT[:9]), pdv(0, b"")) + pdu(pdv(LAST, CONTENT[9:])),
    "everything in one PDU": pdu(COMMAND_PDV, *fragments(cut(CONTENT, 1000))),
    "a PDU longer than announced": pdu(COMMAND_PDV) + pdu(pdv(LAST, CONTENT)),
    "a command in two fragments": pdu(pdv(COMMAND, store_command()[:20]), pdv(COMMAND | LAST, store_command()[20:]))
    + pdu(pdv(LAST, CONTENT)),
    "a command in two PDUs": pdu(pdv(COMMAND, store_command()[:12]))
    + pdu(pdv(COMMAND | LAST, store_command()[12:]))
    + pdu(pdv(LAST, CONTENT)),
}


@pytest.mark.parametrize("packed", PACKED.values(), ids=PACKED)
def test_however_it_is_cut_the_same_bytes_are_kept(packed, either):
    with Wire(either.port) as wire:
        wire.send(packed)
        assert wire.answer() == (1, 0)
        assert wire.store(content_of(f"{INSTANCE}.2"), f"{INSTANCE}.2") == 0, "the association goes on"
        wire.release()
    assert either.bytes_of(either.held()[INSTANCE]) == CONTENT


@pytest.mark.parametrize("size", [1, 7, 11, 13, 1000])
def test_however_it_comes_out_of_the_network_the_same_bytes_are_kept(size, either):
    """Every header is once cut in two between two packets."""
    content = content_of(INSTANCE, 300)
    with Wire(either.port) as wire:
        for piece in cut(message(content, size=200), size):
            wire.send(piece)
            time.sleep(0.0005)
        assert wire.answer() == (1, 0)
        wire.release()
    assert either.bytes_of(either.held()[INSTANCE]) == content


def test_an_echo_between_two_stores_is_answered_in_its_turn(either):
    with Wire(either.port) as wire:
        for number in range(3):
            assert wire.store(content_of(f"{INSTANCE}.{number}"), f"{INSTANCE}.{number}") == 0
            wire.send(pdu(pdv(COMMAND | LAST, echo_command(), ECHO)))
            assert wire.answer() == (77, 0)
        wire.release()
    assert [row.detail["instances"] for row in either.wait_for("association.released")] == [3]


def test_a_release_right_behind_a_request_is_answered_after_it(either):
    with Wire(either.port) as wire:
        wire.send(message(CONTENT), RELEASE)
        assert wire.answer() == (1, 0)
        assert wire.read()[0] == 6
    assert [row.detail["instances"] for row in either.wait_for("association.released")] == [1]


def test_requests_without_waiting_for_answers_are_answered_one_by_one(either):
    """No asynchronous operations window was negotiated; who does it nevertheless gets every answer, and nothing is mixed."""
    uids = [f"{INSTANCE}.{number}" for number in range(8)]
    with Wire(either.port) as wire:
        wire.send(*(message(content_of(uid, 50_000), uid, number) for number, uid in enumerate(uids)))
        assert [wire.answer() for _ in uids] == [(number, 0) for number in range(8)]
        wire.release()
    held = either.held()
    assert all(either.bytes_of(held[uid]) == content_of(uid, 50_000) for uid in uids)


BROKEN = {
    "after the command": pdu(COMMAND_PDV),
    "between two fragments": BEGIN,
    "within a header": BEGIN + pdu(pdv(0, b"x" * 100))[:9],
    "within a fragment": BEGIN + pdu(pdv(0, b"x" * 100_000))[:50_000],
    "within the command": pdu(COMMAND_PDV)[:40],
    "within the command's header": pdu(COMMAND_PDV)[:8],
}


@pytest.mark.parametrize("end", [Wire.reset, lambda wire: wire.socket.close()], ids=["reset", "closed"])
@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
def test_what_breaks_off_leaves_nothing(sent, end, either):
    with Wire(either.port) as wire:
        wire.send(sent)
        time.sleep(0.05)
        end(wire)
    assert either.wait_for("association.lost")[0].detail["instances"] == 0


def test_an_abort_in_the_middle_of_a_message_leaves_nothing_and_is_written_down_as_one(either):
    with Wire(either.port) as wire:
        wire.send(BEGIN, ABORT)
        wire.socket.close()
    assert either.wait_for("association.aborted")[0].detail["instances"] == 0
    assert "association.lost" not in either.names()


def test_an_abort_whose_sender_waits_for_the_end_is_followed(either):
    before = time.monotonic()
    with Wire(either.port) as wire:
        wire.send(BEGIN, ABORT)
        assert wire.was_ended()
    assert time.monotonic() - before < 5 * IDLE_S


RULES = {
    "a fragment of another context": BEGIN + pdu(pdv(LAST, b"x" * 50, ECHO)),
    "a fragment of no context": BEGIN + pdu(pdv(LAST, b"x" * 50, NONE)),
    "a command in the middle of a data set": BEGIN + pdu(COMMAND_PDV),
    "a fragment that is longer than its PDU": BEGIN + pdu(pdv(LAST, b"x" * 50))[:6].replace(b"\x38", b"\x10") + pdv(LAST, b"x" * 50),
    "a PDU that goes on behind the message": BEGIN + pdu(pdv(LAST, b"x" * 50), b"\0\0\0"),
    "a second message in the same PDU": BEGIN + pdu(pdv(LAST, CONTENT[16000:]), COMMAND_PDV, pdv(LAST, CONTENT)),
    "a fragment too short for its header": BEGIN + pdu(b"\0\0\0\1\1\2"),
    "a PDU shorter than a header": BEGIN + b"\4\0\0\0\0\3abc",
    "an association request": BEGIN + b"\1\0\0\0\0\x44" + bytes(68),
    "another protocol": BEGIN + b"GET / HTTP/1.1\r\n\r\n" * 10,
    "a data set that is larger than is allowed": pdu(COMMAND_PDV) + b"".join(pdu(pdv(0, bytes(100_000))) for _ in range(40)),
    "a fragment that claims four gigabytes": pdu(COMMAND_PDV) + b"\4\0\xff\xff\xff\xff\xff\xff\xff\xf0\1\0" + bytes(1000),
}


@pytest.mark.parametrize("sent", RULES.values(), ids=RULES)
def test_who_breaks_the_rules_is_shown_out_and_nothing_is_kept(sent, station):
    with Wire(station.port) as wire:
        with suppress(ConnectionError):  # shown out before it had finished
            wire.send(sent)
        assert wire.was_ended()
    assert INSTANCE not in station.held()


ODD = {
    "a request of a context that was not accepted": pdu(pdv(COMMAND | LAST, store_command(), NONE)) + pdu(pdv(LAST, CONTENT, NONE)),
    "data without a command": pdu(pdv(LAST, CONTENT)),
    "a request without a data set": pdu(pdv(COMMAND | LAST, store_command(data_set=False))),
    "a request of the other context": pdu(pdv(COMMAND | LAST, store_command(), ECHO)) + pdu(pdv(LAST, CONTENT, ECHO)),
    "an empty PDU": pdu(),
    "an empty command": pdu(pdv(COMMAND | LAST, b"")),
    "garbage for a command": pdu(pdv(COMMAND | LAST, random.Random(2).randbytes(200))),
}


@pytest.mark.parametrize("sent", ODD.values(), ids=ODD)
def test_what_no_sender_does_harms_nobody(sent, either):
    """Answered with a failure, left without an answer or shown out: whatever pynetdicom makes of it, nothing is kept."""
    with Wire(either.port) as wire:
        wire.send(sent)
        wire.socket.settimeout(3 * IDLE_S)
        try:
            kind, _ = wire.read()
        except TimeoutError:
            kind = 0
        assert kind in (0, 4, 7)
    held = either.held()
    assert INSTANCE not in held or either.bytes_of(held[INSTANCE]) == CONTENT


DRIBBLED = {
    "a command": (b"", message(CONTENT)),
    "a header": (BEGIN, pdu(pdv(0, b"x" * 50))),
    "a fragment": (BEGIN + pdu(pdv(0, b"x" * 1000))[:12], b"x" * 1000),
    "one fragment after the other": (BEGIN, b"".join(pdu(pdv(0, b"x")) for _ in range(100))),
}


@pytest.mark.parametrize(("first", "slowly"), DRIBBLED.values(), ids=DRIBBLED)
def test_who_dribbles_is_given_up(first, slowly, station):
    """Each byte comes in time, all of them never would: nobody holds a place that way."""
    before = time.monotonic()
    with Wire(station.port) as wire:
        wire.send(first)
        for _ in wire.dribble(slowly, IDLE_S / 10):
            assert time.monotonic() - before < 8 * IDLE_S, "it is still listened to"
        assert wire.was_ended()


def test_who_falls_silent_is_given_up(station):
    before = time.monotonic()
    with Wire(station.port) as wire:
        wire.send(BEGIN)
        assert wire.was_ended()
    assert time.monotonic() - before < 4 * IDLE_S


def test_twenty_at_once_of_which_half_break_off_harm_no_one_else(either):
    chance, together, failed = random.Random(3), threading.Barrier(20), []
    breaks = [chance.choice(list(BROKEN.values())) for _ in range(20)]

    def visit(number):
        uids = [f"{INSTANCE}.{number}.{turn}" for turn in range(4)]
        together.wait()
        with Wire(either.port) as wire:
            for turn, uid in enumerate(uids):
                if number % 2 and turn == 2:
                    wire.send(breaks[number])
                    (wire.reset if number % 4 == 1 else wire.abort)()
                    return
                if wire.store(content_of(uid, 200_000), uid) != 0:
                    failed.append(uid)
            wire.release()

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    held = either.held()
    assert len(held) == 10 * 4 + 10 * 2
    assert all(either.bytes_of(instance) == content_of(uid, 200_000) for uid, instance in held.items())


@pytest.mark.parametrize("sent", [b"", message(CONTENT), BEGIN, pdu(COMMAND_PDV)[:40]], ids=["nothing", "a whole", "a part", "less"])
def test_the_listener_stops_whatever_a_sender_is_doing(sent, tmp_path):
    station = Station(tmp_path, idle_s=60.0).__enter__()
    with Wire(station.port) as wire:
        wire.send(sent)
        time.sleep(0.3)
        stopper = threading.Thread(target=station.__exit__, daemon=True)
        stopper.start()
        stopper.join(10)
        assert not stopper.is_alive(), "a role that does not stop by itself is killed"
