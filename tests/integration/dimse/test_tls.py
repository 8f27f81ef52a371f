"""TLS with DCMTK on the other side: the right certificate comes in, everything else stays out, and the log of associations says so."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from node.core.errors import ConfigError, PeerUnavailable
from node.core.result import Destination
from node.dimse import scu
from node.dimse.tls import client_context, server_context
from tests.integration.dimse.station import OURS, Station
from tests.peers import HOST, StoreScp, echo_scu, find_tool, store_scu


class Certificates:
    """An authority, and certificates that it, or another, has signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for authority in ("hospital", "stranger"):
            self._run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={authority}", *self._out(authority))
        for name, authority in (("radnode", "hospital"), ("ct1", "hospital"), ("mr1", "hospital"), ("thief", "stranger")):
            self._sign(name, authority)

    def files(self, name: str) -> tuple[Path, Path]:
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def dcmtk(self, name: str, authority: str = "hospital") -> list[str]:
        certificate, key = self.files(name)
        return ["+tls", str(key), str(certificate), "+cf", str(self.files(authority)[0])]

    def _out(self, name: str) -> list[str]:
        certificate, key = self.files(name)
        return ["-out", str(certificate), "-keyout", str(key)]

    def _sign(self, name: str, authority: str) -> None:
        certificate, key = self.files(name)
        request, extension = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extension.write_text(f"subjectAltName=DNS:{name}.example,IP:127.0.0.1\n")
        self._run("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-out", str(request), "-keyout", str(key))
        signer = ["-CA", str(self.files(authority)[0]), "-CAkey", str(self.files(authority)[1]), "-CAcreateserial", "-days", "2"]
        self._run("x509", "-req", "-in", str(request), *signer, "-extfile", str(extension), "-out", str(certificate))

    def _run(self, *arguments: str) -> None:
        subprocess.run([find_tool("openssl"), *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def station(certificates: Certificates, tmp_path: Path) -> Iterator[Station]:
    """A listener that asks for a certificate of the hospital's."""
    tls = server_context(*certificates.files("radnode"), certificates.files("hospital")[0])
    with Station(tmp_path / "station", tls=tls, idle_s=5.0) as running:
        yield running


def test_a_sender_with_a_certificate_of_the_hospital_is_answered(station: Station, certificates: Certificates) -> None:
    assert echo_scu(HOST, station.port, "ECHOSCU", "RADNODE", *certificates.dcmtk("ct1"))
    path = Path(get_testdata_file("MR_small.dcm"))
    sending = store_scu(HOST, station.port, [path], "STORESCU", "RADNODE", *certificates.dcmtk("ct1"), program="storescu")
    assert set(sending.statuses) == {0}
    assert len(station.held()) == 1


def test_a_certificate_of_another_authority_stays_out(station: Station, certificates: Certificates) -> None:
    assert not echo_scu(HOST, station.port, "ECHOSCU", "RADNODE", *certificates.dcmtk("thief"))
    assert echo_scu(HOST, station.port, "ECHOSCU", "RADNODE", *certificates.dcmtk("ct1"))


def test_a_sender_without_a_certificate_stays_out(station: Station, certificates: Certificates) -> None:
    assert not echo_scu(HOST, station.port, "ECHOSCU", "RADNODE", "+tla", "+cf", str(certificates.files("hospital")[0]))


def test_a_sender_without_tls_stays_out(station: Station) -> None:
    assert not echo_scu(HOST, station.port, "ECHOSCU", "RADNODE")
    assert "association.accepted" not in station.names()


def test_only_the_named_certificates_come_in_and_the_audit_says_why(certificates: Certificates, tmp_path: Path) -> None:
    tls = server_context(*certificates.files("radnode"), certificates.files("hospital")[0])
    with Station(tmp_path / "station", tls=tls, certificate_names=frozenset({"ct1.example"})) as station:
        assert echo_scu(HOST, station.port, "CT", "RADNODE", *certificates.dcmtk("ct1"))
        assert not echo_scu(HOST, station.port, "MR", "RADNODE", *certificates.dcmtk("mr1"))
        [rejected] = station.wait_for("association.rejected")
    assert (rejected.detail["calling_ae"], rejected.detail["reason"]) == ("MR", "client certificate not allowed")


def test_a_handshake_that_never_comes_holds_nobody_up(station: Station, certificates: Certificates) -> None:
    with socket.create_connection((HOST, station.port)), socket.create_connection((HOST, station.port)) as garbage:
        garbage.sendall(b"\x16\x03\x01")
        assert echo_scu(HOST, station.port, "ECHOSCU", "RADNODE", *certificates.dcmtk("ct1"))


def test_tls_below_1_2_is_not_spoken(station: Station) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection((HOST, station.port)) as connection, pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(connection)


def test_we_call_a_destination_by_tls_and_believe_only_its_authority(certificates: Certificates, tmp_path: Path) -> None:
    with StoreScp(tmp_path / "pacs", *certificates.dcmtk("radnode")) as pacs:
        peer = Destination(name="pacs", ae_title=pacs.ae_title, host=HOST, port=pacs.port)
        hospital, stranger = (certificates.files(name)[0] for name in ("hospital", "stranger"))
        path = Path(get_testdata_file("MR_small.dcm"))
        file = scu.read_outgoing(path)
        assert file is not None
        answers = scu.store(OURS, peer, [file], tls=client_context(*certificates.files("ct1"), hospital, check_name=True))
        assert [answer.event for answer in answers.values()] == ["accept"]
        assert len(pacs.received()) == 1
        with pytest.raises(PeerUnavailable):
            scu.store(OURS, peer, [file], tls=client_context(*certificates.files("ct1"), stranger, check_name=True))
        elsewhere = Destination(name="pacs", ae_title=pacs.ae_title, host="localhost", port=pacs.port)
        with pytest.raises(PeerUnavailable):
            scu.store(OURS, elsewhere, [file], tls=client_context(*certificates.files("ct1"), hospital, check_name=True))


def test_files_that_cannot_be_used_are_a_fault_of_the_configuration(certificates: Certificates, tmp_path: Path) -> None:
    certificate, key = certificates.files("radnode")
    with pytest.raises(ConfigError, match=r"missing\.pem"):
        server_context(tmp_path / "missing.pem", key, None)
    with pytest.raises(ConfigError):
        server_context(certificate, certificates.files("ct1")[1], None)
