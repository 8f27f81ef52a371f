"""TLS with DCMTK on the other side: the right certificate comes in, everything else stays out, and the log of associations says so."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from node.core.errors import ConfigError, PeerUnavailable
from node.core.remote import Destination
from node.dimse import scu
from node.dimse.tls import client_context, server_context
from tests.certificates import Certificates
from tests.integration.dimse.station import OURS, Station
from tests.integration.dimse.test_fast_path import BEGIN, CONTENT, PACKED
from tests.integration.dimse.wire import COMMAND, ECHO, LAST, Wire, echo_command, pdu, pdv
from tests.peers import HOST, StoreScp, echo_scu, store_scu
from tests.unit.intake.arrivals import INSTANCE


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


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "pynetdicom"])
def test_what_comes_by_tls_is_kept_to_the_byte_however_it_is_cut(fast: bool, certificates: Certificates, tmp_path: Path) -> None:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    tls = server_context(*certificates.files("radnode"), None)
    with Station(tmp_path / "station", tls=tls, idle_s=5.0, fast=fast) as station, Wire(station.port, tls=client) as wire:
        for packed in PACKED.values():
            wire.send(packed)
            assert wire.answer() == (1, 0)
            wire.send(pdu(pdv(COMMAND | LAST, echo_command(), ECHO)))
            assert wire.answer() == (77, 0)
        wire.release()
        assert station.bytes_of(station.held()[INSTANCE]) == CONTENT


def test_what_breaks_off_beneath_tls_leaves_nothing(certificates: Certificates, tmp_path: Path) -> None:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    tls = server_context(*certificates.files("radnode"), None)
    with Station(tmp_path / "station", tls=tls, idle_s=1.0) as station:
        for end in (Wire.reset, Wire.abort, lambda wire: wire.was_ended()):
            with Wire(station.port, tls=client) as wire:
                wire.send(BEGIN)
                end(wire)
        station.wait_for("association", 6)
        assert station.held() == {}
        station.check()


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
