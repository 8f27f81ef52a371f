"""What a listener answered Success for and could not write into the ledger any more is written by the next one."""

import hashlib
import os
import sqlite3
import subprocess
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from node.core.errors import StorageError
from node.intake.adopt import adopt_all, read_sealed
from node.intake.header import SEAL_LENGTH, file_meta, seal_of
from node.intake.receive import describe
from node.ledger import audit, schema, spooled, views
from node.ledger.engine import Ledger
from node.spool.local import LocalSpool
from pipelines.phantom import write_datasets
from tests import invariants
from tests.databases import prepare_database
from tests.integration.intake.assembly import chest
from tests.nodes import Node
from tests.peers import HOST, find_tool, store_scu
from tests.unit.intake.arrivals import PEER, encode, header_of, make_data_set, sent


@pytest.fixture
def ledger(tmp_path, database):
    prepare_database(database)
    with closing(Ledger(database, actor="test")) as ledger:
        yield ledger
        with ledger.reading() as tx:
            assert list(audit.broken_rows(tx)) == []


@pytest.fixture
def root(tmp_path):
    return tmp_path / "spool"


def left(root, found, *, kept=None, is_evidence=False, is_sealed=True):
    """What a listener leaves that dies behind the answer; ``kept`` bytes of the file, all by default."""
    header = header_of(found)
    instance = describe(header, found.arrival.transfer_syntax_uid, hashlib.sha256(found.data_set).hexdigest(), len(found.data_set))
    with LocalSpool(root, "listen") as spool:
        incoming = spool.open_incoming(file_meta(found.arrival))
        incoming.write(memoryview(found.data_set))
        if is_sealed:
            incoming.seal(seal_of(instance.sha256, is_evidence=is_evidence))
        path = spool.leave(incoming, instance.key).waiting
    if kept is not None:
        os.truncate(path, kept if kept >= 0 else path.stat().st_size + kept)
    return instance, path


def adopt(ledger, root):
    with LocalSpool(root, "listen") as spool:
        adopted = adopt_all(ledger, spool)
        with ledger.reading() as tx:
            assert set(spool.list()) == spooled.known_keys(tx)
    assert [path for path in (root / "incoming").iterdir() if path.is_dir()] == []
    return adopted


def rows(ledger, table="instance"):
    with ledger.reading() as tx:
        return views.all_rows(tx, table)


def events(ledger):
    with ledger.reading() as tx:
        return [row.event for row in views.since(tx, 0)]


def test_the_file_alone_tells_everything(ledger, root):
    found = sent(encode(make_data_set()), association="3b1c6f0a-0000-4000-8000-000000000001")
    instance, _ = left(root, found)
    assert adopt(ledger, root) == 1
    (row,) = rows(ledger)
    assert {name: row[name] for name in type(instance).__dataclass_fields__} == {
        name: getattr(instance, name) for name in type(instance).__dataclass_fields__
    }
    assert (row["calling_ae"], row["association_id"]) == (PEER.calling_ae, found.arrival.association_id)
    assert (root / instance.key).read_bytes().endswith(found.data_set)
    assert events(ledger) == ["instance.received", "study.opened", "instance.adopted"]
    assert adopt(ledger, root) == 0, "once is enough"


def test_what_is_written_already_is_not_adopted_again(ledger, root):
    left(root, sent(encode(make_data_set())))
    adopt(ledger, root)
    left(root, sent(encode(make_data_set())))
    assert adopt(ledger, root) == 0
    assert events(ledger).count("instance.received") == 1


def test_the_same_bytes_left_behind_twice_are_adopted_once(ledger, root):
    for association in ("A1", "A2"):
        left(root, sent(encode(make_data_set()), association=association))
    assert adopt(ledger, root) == 1
    assert len(rows(ledger)) == 1


def test_a_conflict_that_was_left_behind_is_kept_as_evidence(ledger, root):
    left(root, sent(encode(make_data_set(PatientID="P1"))))
    adopt(ledger, root)
    other, _ = left(root, sent(encode(make_data_set(PatientID="P2"))), is_evidence=True)
    assert adopt(ledger, root) == 0
    assert events(ledger)[-1] == "instance.conflict"
    assert [row["patient_id"] for row in rows(ledger)] == ["P1"]
    assert other.key not in {row["key"] for row in rows(ledger)}
    assert (root / f"quarantine/{other.key.removeprefix('instances/')}").exists()


def test_what_had_lost_a_race_is_not_taken_for_what_had_won_it(ledger, root):
    """All lie in slots when the listener dies; only one was answered Success, and the seals of the others say so."""
    for patient, refused in (("P1", True), ("P2", False), ("P3", True)):
        left(root, sent(encode(make_data_set(PatientID=patient))), is_evidence=refused)
    assert adopt(ledger, root) == 1
    assert [row["patient_id"] for row in rows(ledger)] == ["P2"]
    assert events(ledger).count("instance.conflict") == 2


@pytest.mark.parametrize("kept", [1, 127, 132, 140, 200, 400, -1])
def test_a_file_that_is_not_whole_is_taken_away(ledger, root, kept):
    """After a power failure a seal may be there without all of the bytes; its sender was not answered."""
    left(root, sent(encode(make_data_set())), kept=kept)
    assert adopt(ledger, root) == 0
    assert rows(ledger) == []
    with LocalSpool(root, "listen") as spool:
        assert list(spool.list()) == []


def test_a_file_without_its_seal_is_taken_away(ledger, root):
    left(root, sent(encode(make_data_set())), is_sealed=False)
    assert adopt(ledger, root) == 0
    assert rows(ledger) == []


def test_zeros_in_the_place_of_bytes_are_taken_away(ledger, root):
    _, path = left(root, sent(encode(make_data_set())))
    path.write_bytes(bytes(path.stat().st_size))
    assert adopt(ledger, root) == 0


def test_a_disk_that_does_not_give_the_file_back_stops_the_start(ledger, root):
    """It may have been answered for: nothing is taken away on a guess."""
    _, path = left(root, sent(encode(make_data_set())))
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    (path / "something").touch()
    with LocalSpool(root, "listen") as spool, pytest.raises(StorageError, match="mend the disk") as caught:
        adopt_all(ledger, spool)
    assert caught.value.full_code == "STORAGE.unreadable"
    (path / "something").unlink()
    path.rmdir()
    path.write_bytes(content)
    assert adopt(ledger, root) == 1


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_no_damage_is_taken_for_what_was_answered(tmp_path_factory, data):
    found = sent(encode(make_data_set()))
    before = file_meta(found.arrival)
    seal = seal_of(hashlib.sha256(found.data_set).hexdigest(), is_evidence=False)
    content = bytearray(before[: -len(seal)] + seal + found.data_set)
    whole = bytes(content)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(len(before), len(content) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=6))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    path = tmp_path_factory.getbasetemp() / "damaged.dcm"
    path.write_bytes(content)
    assert read_sealed(path) is None or bytes(content) == whole


def test_the_file_meta_information_is_valid_and_says_who_sent_it(tmp_path):
    found = sent(encode(make_data_set()), association="3b1c6f0a-0000-4000-8000-000000000001")
    path = tmp_path / "instance.dcm"
    path.write_bytes(file_meta(found.arrival) + found.data_set)
    meta = dcmread(path).file_meta
    assert meta.FileMetaInformationGroupLength == len(file_meta(found.arrival)) - 144
    assert (meta.SourceApplicationEntityTitle, meta.ReceivingApplicationEntityTitle) == (PEER.calling_ae, PEER.called_ae)
    assert (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID) == (found.arrival.sop_class_uid, found.arrival.sop_instance_uid)
    assert meta.PrivateInformation[:-SEAL_LENGTH].decode().strip() == f"{found.arrival.association_id} {PEER.address}"
    storescu = find_tool("storescu")
    assert subprocess.run([storescu.replace("storescu", "dcmftest"), path], capture_output=True, check=False).returncode == 0
    dump = subprocess.run([storescu.replace("storescu", "dcmdump"), path], capture_output=True, check=False)
    assert dump.returncode == 0
    assert dump.stderr == b""


def left_behind(node, files):
    """Answer Success for files while the ledger is locked, and die: what was acknowledged."""
    path = node.config.database_url.removeprefix("sqlite:///")
    with node.role("listen") as listener, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        sending = store_scu(HOST, node.port, files, called="RADNODE")
        listener.kill()
        other.execute("ROLLBACK")
    assert set(sending.statuses) == {0}
    return sending.acknowledged


def test_a_file_that_the_disk_has_not_kept_whole_is_set_aside_and_told(ledger, root):
    """It has its key, so that its sender was answered; without a row, and damaged, it would vanish."""
    instance, _ = left(root, sent(encode(make_data_set())))
    (slot,) = (root / "incoming").rglob("*.slot")
    with LocalSpool(root, "other") as spool:
        spool.keep([spool.draft_of(slot, instance.key)])
    damaged = bytearray(slot.read_bytes())
    damaged[-1] ^= 1
    slot.write_bytes(damaged)
    assert adopt(ledger, root) == 0
    assert rows(ledger) == []
    with ledger.reading() as tx:
        (told,) = [row for row in views.since(tx, 0) if row.event == "instance.damaged"]
    assert (told.code, told.detail["was"]) == ("STORAGE.damaged", instance.key)
    assert (root / told.detail["key"]).read_bytes() == damaged
    left(root, sent(encode(make_data_set())))
    assert adopt(ledger, root) == 1, "it can be sent again"


def test_a_listener_that_is_killed_before_its_rows_are_written_loses_none_of_them(tmp_path):
    node = Node(tmp_path / "node", [], quiet_s=60)
    files = write_datasets(chest(8), tmp_path / "study")
    with node.role("listen"):
        pass  # makes the tables
    acknowledged = left_behind(node, files)
    assert len(acknowledged) == 8
    assert node.rows("instance") == []
    (whole, *_) = sorted(path for path in (node.config.node.data / "spool" / "incoming").rglob("*.slot") if path.stat().st_size)
    torn = whole.with_stem("torn")
    torn.write_bytes(whole.read_bytes()[:-100])  # as if the power had failed before one more was answered
    with node.role("listen"):
        node.wait_for("instance.adopted", count=8)
        assert [row.event for row in node.events()].count("instance.adopted") == 8
        assert not torn.exists()
        assert {row["sop_instance_uid"] for row in node.rows("instance")} == acknowledged
        assert node.rows("study")[0]["instances"] == 8
        invariants.i1_every_acknowledged_instance_is_on_disk(node, acknowledged)
        invariants.i7_no_orphan_files(node)
        assert set(store_scu(HOST, node.port, files, called="RADNODE").statuses) == {0}
        assert len(node.rows("instance")) == 8
    invariants.i5_every_state_is_explained_by_the_audit_log(node)
    with node.ledger() as ledger, ledger.reading() as tx:
        assert tx.execute(schema.instance.select()).all()
