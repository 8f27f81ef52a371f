"""Who is let in, what is taken, and what a sender that breaks the rules leaves behind."""

import socket
import sqlite3
import ssl
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from node.dimse.tls import client_context, server_context
from node.intake.receive import Reception
from tests.integration.dimse.test_tls import Certificates
from tests.peers import HOST, wait_until
from tests.stow import BOUNDARY, END, MULTIPART, begin, body_of, part, post, status_on, store

CT, MR = (Path(str(get_testdata_file(name))) for name in ("CT_small.dcm", "MR_small.dcm"))
CT_UID, MR_UID = (str(dcmread(path).SOPInstanceUID) for path in (CT, MR))
TOKEN, OTHER = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection(HOST, port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


# What is taken


@pytest.mark.parametrize(
    "kind",
    [
        'multipart/related; type="application/dicom+json"; boundary=radnode-test',
        'multipart/related; type="application/dicom+xml"; boundary=radnode-test',
        "multipart/form-data; boundary=radnode-test",
        "application/dicom",
        "text/plain",
        "",
    ],
)
def test_another_media_type_is_415_with_a_sentence(station, kind):
    reply = store(station.web_port, CT, Content_Type=kind)
    assert reply.status == 415
    assert "multipart/related" in reply.json["sentence"]
    assert station.names() == ["association.rejected"]


@pytest.mark.parametrize(
    "kind", [f"multipart/related; type=application/dicom; boundary={BOUNDARY}", f'Multipart/Related;boundary="{BOUNDARY}"']
)
def test_the_media_type_may_be_written_in_any_way(station, kind):
    assert store(station.web_port, CT, Content_Type=kind).status == 200


@pytest.mark.parametrize("headers", [["Content-Type: application/dicom+json"], ["Content-Transfer-Encoding: base64"]])
def test_a_part_of_another_kind_is_415_and_the_ones_before_stay(station, headers):
    reply = post(station.web_port, part(CT.read_bytes()) + part(b"{}", *headers) + END)
    assert reply.status == 415
    assert reply.stored == [CT_UID]
    assert reply.headers["Warning"].startswith("299 radnode")
    assert list(station.held()) == [CT_UID]


@pytest.mark.parametrize(
    ("accept", "status"), [("application/dicom+xml", 406), ("text/html, */*;q=0.1", 200), ("application/dicom+json", 200)]
)
def test_the_answer_is_json_or_406(station, accept, status):
    assert store(station.web_port, CT, Accept=accept).status == status


def test_a_compressed_body_is_415(station):
    assert store(station.web_port, CT, Content_Encoding="gzip").status == 415


def test_a_study_in_the_path_that_is_none_is_400(station):
    assert store(station.web_port, CT, path="/studies/1.2.x").status == 400
    assert store(station.web_port, CT, path="/studies/..%2F..%2Fetc").status == 404
    assert station.held() == {}


@pytest.mark.parametrize("body", [b"", b"no multipart", END, part(CT.read_bytes()).replace(b"\r\n", b"\n", 3) + END])
def test_a_body_that_is_no_multipart_message_is_400(station, body):
    reply = post(station.web_port, body)
    assert reply.status == 400
    assert reply.json["sentence"]
    assert station.held() == {}
    assert station.names("association") == ["association.accepted", "association.aborted"]


def test_a_missing_closing_boundary_is_400_and_what_came_whole_stays(station):
    """The last part may be cut short: nobody can know, so it is not kept."""
    reply = post(station.web_port, part(CT.read_bytes()) + part(MR.read_bytes()))
    assert reply.status == 400
    assert reply.stored == [CT_UID]
    assert list(station.held()) == [CT_UID]


def test_a_boundary_that_is_none_is_400(station):
    assert store(station.web_port, CT, Content_Type='multipart/related; type="application/dicom"').status == 400


def test_a_request_that_is_too_large_is_413_before_its_body_comes(station_of):
    with station_of("small", largest_request=50_000) as station:
        with begin(station.web_port, b"", 50_001) as connection:
            assert status_on(connection) == 413
        assert store(station.web_port, CT).status == 200


def test_a_request_that_grows_too_large_is_413_and_what_came_whole_stays(station_of):
    with station_of("small", largest_request=1_000_000) as station:
        body = body_of([CT.read_bytes(), b"\0" * 3_000_000])
        reply = post(station.web_port, (body[at : at + 10_000] for at in range(0, len(body), 10_000)))
        assert reply.status == 413
        assert reply.stored == [CT_UID]
        station.check()


def test_a_part_that_is_too_large_is_413_and_nothing_of_it_stays(station_of):
    with station_of("small", largest_instance=CT.stat().st_size) as station:
        assert store(station.web_port, CT).status == 200
        reply = post(station.web_port, body_of([MR.read_bytes() + bytes(CT.stat().st_size)]))
        assert reply.status == 413
        assert list(station.held()) == [CT_UID]
        station.check()


# Senders that go, or dribble


@pytest.mark.parametrize("kept", [1, 150, 5_000])
def test_a_sender_cut_off_in_mid_part_leaves_the_parts_before_it_and_nothing_of_this_one(station, kept):
    body = part(CT.read_bytes()) + part(MR.read_bytes())[:-kept]
    connection = begin(station.web_port, body, len(body) + kept + len(END))
    wait_until(lambda: list(station.spool.list()), seconds=10, sentence="the first part was not taken")
    connection.close()
    [row] = station.wait_for("association.aborted")
    assert row.detail["instances"] == 1
    assert list(station.held()) == [CT_UID]


def test_a_sender_that_falls_silent_is_given_up(station_of):
    with station_of("idle", idle_s=0.5) as station:
        body = part(CT.read_bytes()) + part(MR.read_bytes())[:-10]
        with begin(station.web_port, body, 1 << 20) as connection:
            before = time.monotonic()
            assert status_on(connection) == 408
            assert 0.3 < time.monotonic() - before < 5
        station.wait_for("association.aborted")
        assert list(station.held()) == [CT_UID]
        station.check()


def test_a_sender_that_dribbles_is_given_up(station_of):
    with station_of("slow", idle_s=0.5, slowest=100_000) as station:
        content = part(MR.read_bytes())
        with begin(station.web_port, b"", 1 << 20) as connection:
            for at in range(30):
                connection.sendall(content[at * 20 : at * 20 + 20])
                time.sleep(0.05)
                if select_readable(connection):
                    break
            assert status_on(connection) == 408
            assert at > 5
        station.wait_for("association.aborted")
        station.check()


def select_readable(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(30)


def test_a_connection_on_which_no_request_comes_is_closed(station_of):
    with station_of("idle", idle_s=0.4) as station, socket.create_connection((HOST, station.web_port), timeout=10) as connection:
        connection.sendall(b"POST /studies HTTP/1.1\r\nHost: x\r\n")
        assert connection.recv(100) == b""


def test_a_sender_whose_body_is_refused_is_not_listened_to_for_ever(station_of):
    """It may send on, so that it comes to read its answer; but only for a while."""
    with station_of("idle", idle_s=0.4) as station, begin(station.web_port, b"", 1 << 30, Content_Type="x/y") as connection:
        before = time.monotonic()
        wait_until(lambda: not is_open(connection), seconds=10, sentence="the connection stays open", pause=0.05)
        assert time.monotonic() - before < 3


def is_open(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"x" * 1000)
    except OSError:
        return False
    return True


# Load


def test_more_requests_than_are_allowed_are_503_with_a_time_to_come_again(station_of):
    with station_of("busy", max_requests=2) as station:
        held = [begin(station.web_port, part(CT.read_bytes())[:-5], 1 << 20) for _ in range(2)]
        station.wait_for("association.accepted", 2)
        reply = store(station.web_port, MR)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "30")
        for connection in held:
            connection.close()
        station.wait_for("association.aborted", 2)
        assert store(station.web_port, MR).status == 200
        station.check()


def test_eight_senders_of_the_same_files_leave_one_of_each(station_of):
    with station_of("many", max_requests=8) as station:
        replies = []
        threads = [threading.Thread(target=lambda: replies.append(store(station.web_port, CT, MR))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [reply.status for reply in replies] == [200] * 8
        assert set(station.held()) == {CT_UID, MR_UID}
        assert len(station.events("instance.duplicate")) == 14
        station.check()


def test_a_full_disk_is_503_before_the_body_comes(station_of):
    with station_of("full", min_free_bytes=1 << 62) as station:
        with begin(station.web_port, b"", 1 << 20) as connection:
            assert status_on(connection) == 503
        assert store(station.web_port, CT).headers["Retry-After"] == "30"
        assert [row.detail["reason"].split(";")[0] for row in station.events("association.rejected")] == ["The disk is nearly full"] * 2


def test_while_the_database_is_away_nothing_is_taken_and_503_says_so(station_of, postgresql):
    with station_of("away", url=postgresql.create_database()) as station:
        assert store(station.web_port, CT).status == 200
        station.flush()
        postgresql.stop()
        try:
            reply = store(station.web_port, MR)
            assert (reply.status, reply.headers["Retry-After"]) == (503, "30")
            assert list(reply.failed.values()) == [0xA700]
            assert store(station.web_port, CT).status == 200, "these bytes are held, whatever the database says"
        finally:
            postgresql.start()
        assert store(station.web_port, MR).status == 200
        station.check()


def test_while_the_database_is_locked_nobody_waits_and_the_study_is_held_open(station):
    with sqlite3.connect(station.folder / "ledger.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert store(station.web_port, CT).status == 200
        assert station.presence.studies() == {str(dcmread(CT).StudyInstanceUID)}, "until its row is there"
        other.execute("ROLLBACK")
    other.close()
    wait_until(lambda: not station.presence.studies(), seconds=10, sentence="the request still holds its study open")


def test_health_says_whether_the_database_answers(station):
    assert get(station.web_port, "/health") == (200, b'{"database":"answers"}')
    station.is_well = False
    time.sleep(1.1)
    assert get(station.web_port, "/health") == (503, b'{"database":"away"}')


def test_an_answer_does_not_wait_for_an_acknowledgement(station):
    """Without TCP_NODELAY it would wait 40 ms for one that is delayed."""
    connection, took = HTTPConnection(HOST, station.web_port, timeout=10), []
    for _ in range(21):
        before = time.monotonic()
        connection.request("GET", "/none")
        connection.getresponse().read()
        took.append(time.monotonic() - before)
    connection.close()
    assert sorted(took)[10] < 0.03


def test_nothing_else_is_there(station):
    for path in ("/", "/docs", "/openapi.json", "/studies", "/studies/1.2.3"):
        assert get(station.web_port, path)[0] in (404, 405)


def test_a_crash_at_the_desk_is_a_processing_failure_and_nothing_stays(station, caplog):
    begin_reception = station.receiver.begin

    class Crashing:
        def __init__(self, reception: Reception) -> None:
            self.write, self.abandon = reception.write, reception.abandon

        def finish(self) -> int:
            raise ZeroDivisionError

    station.receiver.begin = lambda arrival: Crashing(begin_reception(arrival))
    reply = store(station.web_port, CT)
    assert (reply.status, reply.failed) == (409, {CT_UID: 0x0110})
    station.receiver.begin = begin_reception
    assert store(station.web_port, CT).status == 200


# Who is let in


def test_without_the_right_token_nobody_is_let_in(station_of):
    with station_of("closed", tokens={"GATEWAY": TOKEN, "OTHER": OTHER}) as station:
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": "Bearer "}):
            reply = store(station.web_port, CT, **given)
            assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert station.names() == ["association.rejected"] * 4
        assert store(station.web_port, CT, Authorization=f"Bearer {TOKEN}").status == 200
        assert store(station.web_port, MR, Authorization=f"bearer {OTHER}").status == 200
        accepted = station.events("association.accepted")
        assert [row.detail["calling_ae"] for row in accepted] == ["GATEWAY", "OTHER"]
        assert TOKEN not in str(station.events())


def test_with_an_authority_only_its_certificates_come_in(station_of, certificates):
    authority = certificates.files("hospital")[0]
    tls = server_context(*certificates.files("radnode"), authority)
    with station_of("tls", tls=tls, certificate_names=frozenset({"ct1.example"})) as station:

        def send(name: str) -> int:
            context = client_context(*certificates.files(name), authority, check_name=False)
            with socket.create_connection((HOST, station.web_port), timeout=10) as plain, context.wrap_socket(plain) as secured:
                body = body_of([CT.read_bytes()])
                lines = f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\nContent-Length: {len(body)}\r\n\r\n"
                secured.sendall(lines.encode() + body)
                return int((secured.recv(100) or b"HTTP/1.1 0").split()[1])

        assert send("ct1") == 200
        assert send("mr1") == 403
        with suppress(ssl.SSLError, ConnectionError):
            assert send("thief") == 0
        accepted, rejected = station.events("association.accepted"), station.events("association.rejected")
        assert accepted[0].detail["address"] == f"{HOST} ct1 ct1.example"
        assert rejected[0].detail["reason"] == "The client certificate is not one of web.tls.names."
        with pytest.raises(ConnectionError):
            post(station.web_port, body_of([CT.read_bytes()]))
