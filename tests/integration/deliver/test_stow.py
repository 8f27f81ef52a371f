"""Results by HTTP: to Orthanc's DICOMweb plugin, to ourselves, and to servers that answer what they are told to."""

import json
import re
import select
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from node.core.remote import WebDestination
from node.dimse.tls import client_context, server_context
from tests.certificates import Certificates
from tests.integration.deliver.post import Post
from tests.peers import HOST, Orthanc, free_port


@pytest.fixture(scope="module")
def dicomweb(tmp_path_factory):
    settings = {"AuthenticationEnabled": True, "RegisteredUsers": {"radnode": "open sesame"}}
    folder = tmp_path_factory.mktemp("orthanc")
    with WithUsers(folder, dicomweb=True, settings=settings) as peer:
        yield peer


class WithUsers(Orthanc):
    """Orthanc that wants a password for its REST API, ours as well."""

    def is_ready(self):
        import base64

        token = base64.b64encode(b"radnode:open sesame").decode()
        self._opener.addheaders = [("Authorization", f"Basic {token}")]
        return super().is_ready()


def web(url, **more):
    return WebDestination(name="pacs", url=url, **more)


def test_orthanc_takes_segmentation_and_report_and_finds_them(tmp_path, files, dicomweb):
    to = web(dicomweb.dicomweb_url, user="radnode", password="open sesame")
    with Post(tmp_path, files, to, confirm="query") as post:
        assert post.deliver()["state"] == "done"
        assert post.states() == ["found", "found"]
        for stored in post.objects:
            sent = post.spool.path(stored.key).read_bytes()
            assert dicomweb.file(stored.sop_instance_uid)[-5000:] == sent[-5000:]


def test_orthanc_that_has_lost_one_is_found_out(tmp_path, files, dicomweb):
    to = web(dicomweb.dicomweb_url, user="radnode", password="open sesame")
    with Post(tmp_path, files, to, confirm="query") as post:
        post.bring()
        (lost,) = dicomweb.instances(SOPInstanceUID=post.objects[0].sop_instance_uid)
        dicomweb.request("DELETE", f"/instances/{lost['ID']}")
        post.bring()
        assert post.states() == ["waiting", "found"]
        assert post.deliver()["state"] == "done"
        assert post.states() == ["found", "found"]


def test_a_wrong_password_is_refused_with_its_status(tmp_path, files, dicomweb):
    with Post(tmp_path, files, web(dicomweb.dicomweb_url, user="radnode", password="sesame"), confirm="query") as post:
        row = post.bring()
        assert row["state"] == "refused"
        assert "HTTP 401" in row["reason"]
        assert post.states() == ["refused", "refused"]


def test_a_server_that_is_away_is_tried_again(tmp_path, files):
    with Post(tmp_path, files, web(f"http://{HOST}:{free_port()}/dicom-web"), confirm="query") as post:
        row = post.bring()
        assert (row["state"], row["code"]) == ("queued", "PEER_UNAVAILABLE.no_connection")
        assert post.states() == ["waiting", "waiting"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


class Front:
    """TLS in front of a server, as a proxy does it: Debian's Orthanc 1.10 dies at the first request by HTTPS of its own."""

    def __init__(self, context, port):
        self._context, self._peer, self._server = context, port, socket.create_server((HOST, 0))
        self.url = f"https://{HOST}:{self._server.getsockname()[1]}/dicom-web"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._server.accept()[0],), daemon=True).start()

    def _serve(self, raw):
        with suppress(OSError), raw, socket.create_connection((HOST, self._peer)) as there:
            here = self._context.wrap_socket(raw, server_side=True)
            while piece := here.recv(1 << 16):  # one request after the other: of each comes one answer
                there.sendall(piece)
                while not here.pending() and select.select([here, there], [], [], 10)[0] == [there]:
                    here.sendall(there.recv(1 << 16))
            here.close()


@pytest.fixture
def secured(dicomweb, certificates):
    """Orthanc's DICOMweb by HTTPS, for clients that have a certificate of the hospital's."""
    with Front(server_context(*certificates.files("radnode"), certificates.files("hospital")[0]), dicomweb.http_port) as front:
        yield front


def tls_of(certificates, ours="ct1", authority="hospital"):
    own = certificates.files(ours) if ours else (None, None)
    return client_context(*own, certificates.files(authority)[0], check_name=True)


def secured_web(url):
    return web(url, user="radnode", password="open sesame")


def test_orthanc_by_https_with_an_authority_of_the_hospitals_own(tmp_path, files, dicomweb, secured, certificates):
    for one in dicomweb.instances():
        dicomweb.request("DELETE", f"/instances/{one['ID']}")
    with Post(tmp_path, files, secured_web(secured.url), confirm="query", tls=tls_of(certificates)) as post:
        assert post.deliver()["state"] == "done"
        assert post.states() == ["found", "found"]
        assert {one["SOPInstanceUID"] for one in dicomweb.instances()} == {stored.sop_instance_uid for stored in post.objects}


@pytest.mark.parametrize(
    ("tls", "host", "code", "said"),
    [
        (
            {"authority": "stranger"},
            HOST,
            "certificate",
            "pacs is not trusted at https://127.0.0.1:.* self-signed certificate",
        ),
        ({}, "localhost", "certificate", "pacs is not trusted at https://localhost:.* Hostname mismatch"),
        ({"ours": None}, HOST, "tls", "pacs speaks no TLS with us"),
        ({"ours": "thief"}, HOST, "tls", "pacs speaks no TLS with us"),
        (None, HOST, "certificate", "pacs is not trusted at"),  # by what the machine trusts
    ],
    ids=["another authority", "another name", "no certificate of ours", "one that it does not trust", "a public authority"],
)
def test_who_is_not_trusted_gets_nothing_and_the_state_says_why(tmp_path, files, dicomweb, secured, certificates, tls, host, code, said):
    context = None if tls is None else tls_of(certificates, **tls)
    url = secured.url.replace(HOST, host)
    before = len(dicomweb.instances())
    with Post(tmp_path, files, secured_web(url), confirm="query", tls=context, trip_after=1) as post:
        row = post.bring()
        assert (row["state"], row["code"]) == ("queued", f"PEER_UNAVAILABLE.{code}")
        assert re.search(said, row["reason"])
        assert post.states() == ["waiting", "waiting"]
        assert {one["reason"] for one in post.rows("delivery")} == {row["reason"]}
        assert [one["state"] for one in post.rows("circuit")] == ["open"]
    assert len(dicomweb.instances()) == before


def test_http_where_https_is_spoken_is_said_too(tmp_path, files, dicomweb, certificates):
    url = dicomweb.dicomweb_url.replace("http:", "https:")
    with Post(tmp_path, files, web(url), tls=tls_of(certificates)) as post:
        assert post.bring()["code"] == "PEER_UNAVAILABLE.tls"


class Server:
    """Answers each Store request with the next of ``replies``: a status and what becomes of the instance; after the last: stored."""

    def __init__(self, *replies: tuple[int, str, int]) -> None:
        self.requests: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        replying, seen, bodies = list(replies), self.requests, self.bodies

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                seen.append(dict(self.headers))
                status, how, reason = replying.pop(0) if replying else (200, "00081199", 0)
                uid = next(one for one in WANTED if one.encode() in bodies[-1])
                item = {"00081155": {"vr": "UI", "Value": [uid]}}
                item |= {"00081197": {"vr": "US", "Value": [reason]}} if how == "00081198" else {}
                item |= {"00081196": {"vr": "US", "Value": [reason]}} if how == "00081199" and reason else {}
                told = json.dumps({how: {"vr": "SQ", "Value": [item]}} if how else {}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/dicom+json")
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self.url = f"http://{HOST}:{self._server.server_port}/dicom-web"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


WANTED: list[str] = []
STORED, FAILED = "00081199", "00081198"


@pytest.mark.parametrize(
    ("reply", "state", "code", "states"),
    [
        ((200, STORED, 0), "done", None, ["sent", "sent"]),
        ((202, STORED, 0xB000), "done", None, ["sent", "sent"]),
        ((200, "", 0), "done", None, ["sent", "sent"]),
        ((202, "", 0), "queued", "PEER_UNAVAILABLE.no_answer", ["waiting", "waiting"]),
        ((409, FAILED, 0xA700), "queued", "PEER_UNAVAILABLE.0xA700", ["waiting", "waiting"]),
        ((409, FAILED, 0xC000), "refused", "PEER_REFUSED.0xC000", ["refused", "refused"]),
        ((200, FAILED, 0x0122), "refused", "PEER_REFUSED.0x0122", ["refused", "refused"]),
        ((409, "", 0), "refused", "PEER_REFUSED.no_answer", ["refused", "refused"]),
        ((503, "", 0), "queued", "PEER_UNAVAILABLE.no_answer", ["waiting", "waiting"]),
        ((415, "", 0), "refused", "PEER_REFUSED.no_answer", ["refused", "refused"]),
    ],
)
def test_each_instance_is_judged_by_what_is_said_of_it(tmp_path, files, reply, state, code, states):
    with Server(reply) as server, Post(tmp_path, files, web(server.url)) as post:
        WANTED[:] = [stored.sop_instance_uid for stored in post.objects]
        row = post.bring()
        assert (row["state"], row["code"], post.states()) == (state, code, states)
        assert len(server.requests) == (2 if state == "done" else 1), "no report behind a segmentation that was not taken"


def test_a_token_is_shown_and_every_byte_is_sent(tmp_path, files):
    with Server() as server, Post(tmp_path, files, web(server.url, token="a-token-of-sixteen")) as post:
        WANTED[:] = [stored.sop_instance_uid for stored in post.objects]
        assert post.bring()["state"] == "done"
        assert {request["Authorization"] for request in server.requests} == {"Bearer a-token-of-sixteen"}
        assert all(request["Accept"] == "application/dicom+json" for request in server.requests)
        for stored, body in zip(post.objects, server.bodies, strict=True):
            assert post.spool.path(stored.key).read_bytes() in body
