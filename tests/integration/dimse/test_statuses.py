"""What a sender hears, and what is written down: each status of the conformance statement, once for real."""

import io
import json
import logging
import os
import re
import signal
import socket
import sqlite3
import time

import pytest
import structlog
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from node.ledger import views
from node.logs import configure_logs
from tests.integration.dimse.station import Station, data_set_bytes, write_file
from tests.peers import HOST, PostgreSQL, StoreScu, store_scu, wait_until
from tests.unit.intake.arrivals import INSTANCE, encode, make_data_set, sent

PRIVATE = "1.2.826.0.1.3680043.9.7433.1.999"
CT, MR = (str(get_testdata_file(name)) for name in ("CT_small.dcm", "MR_small.dcm"))
#: When the other side closes first, pynetdicom 3.0.4 leaves its socket to be closed by the collector (transport.py, _shutdown_socket).
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*Invalid value for VR UI:UserWarning:pydicom"),
]


def statuses(answers):
    return [answer.dimse_status for answer in answers.values()]


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_without_identity_an_instance_is_not_understood(station, tmp_path, keyword):
    path = write_file(tmp_path, "x", make_data_set(**{keyword: None}))
    assert statuses(station.send(path)) == [0xC000]
    (row,) = station.wait_for("instance.refused")
    assert (row.code, row.sop_instance_uid) == ("NOT_UNDERSTOOD.missing_identity", INSTANCE)
    assert station.held() == {}


def test_a_malformed_uid_is_not_understood(station, tmp_path):
    path = write_file(tmp_path, "x", make_data_set(StudyInstanceUID="1.02.x"))
    assert statuses(station.send(path)) == [0xC000]
    assert station.wait_for("instance.refused")[0].code == "NOT_UNDERSTOOD.malformed_uid"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("instance", ["1.2.03", "../../etc/passwd", "1.2.x"])
def test_a_malformed_uid_in_the_command_is_not_understood(station, tmp_path, instance):
    path = write_file(tmp_path, "x", make_data_set(), instance=instance)
    assert statuses(station.send(path)) == [0xC000]
    assert station.held() == {}
    assert not list(tmp_path.parent.rglob("passwd*"))


@pytest.mark.parametrize("claim", [{"instance": "1.2.3.4"}, {"sop_class": "1.2.840.10008.5.1.4.1.1.4"}])
def test_a_command_that_contradicts_its_data_set_is_told_so(station, tmp_path, claim):
    path = write_file(tmp_path, "x", make_data_set(), **claim)
    assert statuses(station.send(path)) == [0xA900]
    assert station.wait_for("instance.refused")[0].code == "DOES_NOT_MATCH.command"


def test_the_same_bytes_again_are_welcome(station):
    for _ in range(3):
        assert store_scu(HOST, station.port, [CT]).statuses == [0]
    assert station.names("instance") == ["instance.received", "instance.duplicate", "instance.duplicate"]


def test_other_bytes_under_a_known_uid_are_refused_and_change_nothing(station, tmp_path):
    first = write_file(tmp_path, "first", make_data_set(PatientID="P1"))
    other = write_file(tmp_path, "other", make_data_set(PatientID="P2"))
    assert statuses(station.send(first)) == [0]
    assert statuses(station.send(other)) == [0xC001]
    assert statuses(station.send(first)) == [0]
    (held,) = station.held().values()
    assert station.bytes_of(held) == data_set_bytes(first)
    (refused,), (conflict,) = station.wait_for("instance.refused"), station.wait_for("instance.conflict")
    assert refused.code == conflict.code == "CONFLICTING_DUPLICATE"
    assert data_set_bytes(station.spool.path(conflict.detail["key"])) == data_set_bytes(other), "both are kept"
    assert conflict.detail["key"].startswith("quarantine/")


def test_the_same_bytes_in_another_transfer_syntax_are_other_bytes(station):
    """Else the file that is held would be told another syntax than it is written in, and nobody could read it any more."""
    content = encode(make_data_set())
    assert sent(content).to(station.receiver) == 0
    assert sent(content, syntax=JPEGBaseline8Bit).to(station.receiver) == 0xC001
    (held,) = station.held().values()
    assert dcmread(station.spool.path(held.key)).file_meta.TransferSyntaxUID == held.transfer_syntax_uid == ExplicitVRLittleEndian


def test_a_nearly_full_disk_takes_nothing(station_of):
    with station_of("full", min_free_bytes=1 << 60) as station:
        assert store_scu(HOST, station.port, [CT]).statuses == [0xA700]
        assert station.wait_for("instance.refused")[0].code == "NOT_ENOUGH_DISK.watermark"
        assert list(station.spool.list()) == []


@pytest.mark.parametrize(("unknown", "expected"), [(True, [0]), (False, [0x0122])])
def test_a_private_class_is_taken_when_configured(station_of, tmp_path, unknown, expected):
    """Where it is not, the context is rejected, and our own sender says 0x0122 for that."""
    path = write_file(tmp_path, "private", make_data_set(SOPClassUID=PRIVATE))
    with station_of("node", unknown_storage=unknown) as station:
        assert statuses(station.send(path, get_other(tmp_path))) == [*expected, 0]
        station.check()


def get_other(folder):
    """An ordinary instance, without which the association would not come about."""
    return write_file(folder, "ordinary", make_data_set(SOPInstanceUID=f"{INSTANCE}.2"))


def test_a_sender_that_is_killed_in_the_middle_leaves_nothing(station, tmp_path):
    big = write_file(tmp_path, "big", make_data_set(PixelData=os.urandom(120_000_000)))
    for attempt in range(3):
        with StoreScu(HOST, station.port, [big], "STORESCU", "RADNODE", program="storescu") as sender:
            wait_until(station.in_incoming, seconds=10, sentence="nothing comes in", pause=0.001)
            os.kill(sender.process.pid, signal.SIGKILL)
        station.wait_for("association.lost", attempt + 1)
    assert station.held() == {}
    assert list(station.spool.list()) == station.in_incoming() == []
    assert station.presence.studies() == frozenset()
    assert store_scu(HOST, station.port, [CT]).statuses == [0]


def test_a_sender_that_does_not_wait_for_the_answer_leaves_no_orphan(station, tmp_path):
    """The request is complete and the connection breaks behind it: the instance is kept or not, but never half."""
    for number in range(10):
        path = write_file(tmp_path, f"x{number}", make_data_set(SOPInstanceUID=f"{INSTANCE}.{number}"))
        with StoreScu(HOST, station.port, [path], program="storescu") as sender:
            station.wait_for("association.accepted", number + 1)
            sender.kill()
    wait_until(lambda: not station.listener.is_receiving(), seconds=10, sentence="threads are left behind")
    station.check()
    assert station.presence.studies() == frozenset()
    assert station.listener._visits == {}


def test_while_the_database_is_away_what_cannot_be_looked_up_is_refused_in_time(tmp_path):
    """What was answered before is not lost, what is known is welcome again, and all is taken when the database is back."""
    with PostgreSQL(durable=True) as server, Station(tmp_path / "node", url=server.create_database()) as station:
        assert store_scu(HOST, station.port, [CT]).statuses == [0]
        server.crash()
        before = time.monotonic()
        sending = store_scu(HOST, station.port, [MR])
        took = time.monotonic() - before
        assert sending.statuses == [0xA700]
        assert took < 20, "senders give up after 30 s"
        assert store_scu(HOST, station.port, [CT]).statuses == [0], "these bytes are held, whatever the database says"
        server.start()
        assert store_scu(HOST, station.port, [MR]).statuses == [0]
        assert {instance.modality for instance in station.held().values()} == {"CT", "MR"}
        assert [row.code for row in station.wait_for("instance.refused")] == ["NOT_ENOUGH_DISK.database"]
        station.check()


def test_while_the_database_is_locked_nobody_waits_and_nothing_is_lost(station):
    """Another process holds SQLite's write lock: what comes is looked up and taken, and its row follows."""
    with sqlite3.connect(station.folder / "ledger.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        before = time.monotonic()
        assert store_scu(HOST, station.port, [CT, MR]).statuses == [0, 0]
        assert time.monotonic() - before < 5
        assert len(station.in_incoming()) == 2, "they are durable where they lie"
        with station.ledger.reading() as tx:
            assert views.all_rows(tx, "instance") == []
        other.execute("ROLLBACK")
    other.close()
    assert len(station.held()) == 2
    assert station.names("instance") == ["instance.received"] * 2


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_nul_within_an_identity_is_refused_on_either_database(postgresql_url, station_of, tmp_path):
    """PostgreSQL stores no NUL in a text; what it cannot hold must be refused with a reason and not with a crash."""
    odd = make_data_set(PatientID="P1")
    path = write_file(tmp_path, "nul", odd)
    path.write_bytes(path.read_bytes().replace(b"LO\x02\x00P1", b"LO\x04\x00P\x001 "))
    for name, url in (("sqlite", ""), ("postgresql", postgresql_url)):
        with station_of(name, url=url) as station:
            assert statuses(station.send(path)) == [0xC000]
            assert sent(b"", instance="1.2\0.3", sop_class="1.2\0").to(station.receiver) == 0xC000
            codes = [row.code for row in station.wait_for("instance.refused", 2)]
            assert codes == ["NOT_UNDERSTOOD.malformed", "NOT_UNDERSTOOD.malformed_uid"]
            station.check()


@pytest.fixture
def json_logs(capsys):
    """Everything that would stand on standard error in production, as lines."""
    root, before = logging.getLogger(), logging.getLogger().handlers
    levels = {name: logging.getLogger(name).level for name in ("", "node", "pydicom", "pynetdicom", "dbos")}
    configured = structlog.get_config()
    configure_logs("debug", "json", "listen")
    captured = io.StringIO()
    root.handlers[0].setStream(captured)
    structlog.configure(cache_logger_on_first_use=False)
    yield captured
    root.handlers = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()
    structlog.configure(**configured)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:pynetdicom")
def test_no_log_names_a_patient(json_logs, station, test_data, tmp_path):
    paths = sorted((test_data / "odd" / "charsets").glob("*.dcm")) + sorted((test_data / "multi_study_tiny").rglob("*.dcm"))
    named = write_file(tmp_path, "named", make_data_set(PatientName="Secret^Person", PatientID="SECRET-7", StudyInstanceUID=None))
    conflict = [write_file(tmp_path, name, make_data_set(PatientName="Secret^Person", PatientID=f"SECRET-{name}")) for name in "ab"]
    for path in [*paths, named, *conflict]:
        station.send(path)
    raw = socket.create_connection((HOST, station.port))
    raw.sendall(b"Secret^Person" * 100)
    raw.close()
    lines = json_logs.getvalue().splitlines()
    assert any(json.loads(line)["event"] == "instance.refused" for line in lines), "the log was captured"
    secrets = {"Secret", "SECRET-7", "SECRET-a", "Archibald", "98890234", "Peter"}
    for path in paths:
        secrets |= {word for word in re.split(r"[\^= ]", str(dcmread(path).get("PatientName", ""))) if len(word) > 3}
    text = json_logs.getvalue()
    assert {secret for secret in secrets if secret in text} == set()
