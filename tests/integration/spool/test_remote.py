"""Bytes in a store that several hosts reach: a bucket of a real S3 server, and a folder that is shared."""

import hashlib
import os
from dataclasses import replace

import obstore
import pytest

from node.core.errors import NotEnoughDisk, StorageError
from node.spool.bucket import Bucket
from node.spool.folder import SharedFolder
from node.spool.local import LocalSpool
from node.spool.remote import RemoteSpool
from tests.peers import free_port

CONTENT = b"meta" + bytes(range(256)) * 500


@pytest.fixture(params=["s3", "folder"])
def store(request, tmp_path):
    return request.getfixturevalue("bucket") if request.param == "s3" else SharedFolder(tmp_path / "shared")


def host(tmp_path, name, store, most_bytes=10**9, owner="listen"):
    return RemoteSpool(LocalSpool(tmp_path / name, owner), store, most_bytes)


def receive(spool, content=CONTENT, key="instances/1.2/1.2.3.dcm"):
    incoming = spool.open_incoming(b"")
    incoming.write(memoryview(content))
    incoming.seal(b"")
    return spool.leave(incoming, key)


def test_what_one_host_has_received_another_reads(tmp_path, store):
    with host(tmp_path, "a", store) as ours, host(tmp_path, "b", store) as theirs:
        draft = receive(ours)
        ours.keep([draft])
        draft.settle()
        assert theirs.path("instances/1.2/1.2.3.dcm").read_bytes() == CONTENT
        assert theirs.sha256("instances/1.2/1.2.3.dcm", skip=4) == hashlib.sha256(CONTENT[4:]).hexdigest()
        assert theirs.head("instances/1.2/1.2.3.dcm", 4) == (b"meta", len(CONTENT))
        assert list(theirs.list()) == list(theirs.list("instances/1.2")) == ["instances/1.2/1.2.3.dcm"]
        assert list(theirs.list("results")) == []


def test_a_draft_waits_on_the_local_disk_until_its_row_is_committed(tmp_path, store):
    with host(tmp_path, "a", store) as spool:
        draft = receive(spool)
        assert list(spool.unsettled()) == [draft.waiting]
        spool.keep([draft])
        assert draft.waiting.exists(), "the row is not there yet"
        spool.keep([draft])
        draft.settle()
        assert not draft.waiting.exists()
        assert list(spool.list()) == ["instances/1.2/1.2.3.dcm"]


def test_keeping_fails_while_the_store_is_away_and_loses_nothing(tmp_path, place):
    away = Bucket(replace(place, endpoint=f"http://127.0.0.1:{free_port()}", answer_s=0.5, connect_s=0.2))
    with host(tmp_path, "a", away) as spool:
        draft = receive(spool)
        with pytest.raises(StorageError) as caught:
            spool.keep([draft])
        assert caught.value.full_code == "STORAGE.store"
        assert place.secret_key not in str(caught.value.__cause__)
        assert draft.waiting.read_bytes() == CONTENT
        with pytest.raises(NotEnoughDisk):
            spool.put_atomic("results/1", b"1")
    with host(tmp_path, "a", Bucket(place)) as spool:
        adopted = []
        spool.recover(lambda _key: False, lambda slot: not adopted.append(slot.read_bytes()))
        assert adopted == [CONTENT]


def test_a_result_that_is_withdrawn_leaves_the_store(tmp_path, store):
    with host(tmp_path, "a", store) as spool:
        late, kept = spool.put_atomic("results/1/1/SEG.dcm", b"late"), spool.put_atomic("results/1/2/SEG.dcm", b"kept")
        kept.settle()
        late.withdraw()
        kept.withdraw()
        assert list(spool.list()) == ["results/1/2/SEG.dcm"]
        with pytest.raises(FileNotFoundError):
            spool.path("results/1/1/SEG.dcm")


def test_a_result_that_a_crash_has_left_leaves_the_store(tmp_path, store):
    crashed = host(tmp_path, "a", store, owner="work")
    crashed.put_atomic("results/1/1/SEG.dcm", b"unknown")
    crashed._local._lock.close()  # as its process's end would
    with host(tmp_path, "a", store, owner="work") as spool:
        spool.recover(lambda _key: False)
        assert list(spool.list()) == []


def test_what_is_deleted_is_gone_from_the_store_and_from_here(tmp_path, store):
    with host(tmp_path, "a", store) as spool:
        spool.put_atomic("a", b"1").settle()
        spool.delete("a")
        spool.delete("a")
        with pytest.raises(FileNotFoundError):
            spool.path("a")
        with pytest.raises(FileNotFoundError):
            spool.head("a", 1)


def test_a_file_that_is_held_outlives_its_copy(tmp_path, store):
    with host(tmp_path, "a", store) as spool:
        for name in "ab":
            spool.put_atomic(name, name.encode()).settle()
        with spool.holding(["a", "b"]) as paths:
            (tmp_path / "a" / "a").unlink()
            assert [path.read_bytes() for path in paths] == [b"a", b"b"]
        assert not any(path.exists() for path in paths)
        assert spool.path("a").read_bytes() == b"a", "fetched again"


def test_copies_are_bounded_and_the_least_recently_used_go_first(tmp_path, store):
    with host(tmp_path, "a", store) as writer:
        for number in range(8):
            writer.put_atomic(f"k/{number}", bytes(1000)).settle()
    with host(tmp_path, "b", store, most_bytes=4000) as reader:
        for number in range(8):
            path = reader.path(f"k/{number}")
            os.utime(path, (number, number))  # long ago, in this order
        reader.path("k/4")
        assert len(reader.path("k/0").read_bytes()) == 1000, "fetched again"
        left = sorted(path.name for path in (tmp_path / "b" / "k").iterdir())
        assert left == ["0", "4", "7"]


@pytest.mark.parametrize("sha256", [hashlib.sha256(b"true").hexdigest(), ""])
def test_an_object_that_is_not_what_was_put_is_refused(tmp_path, bucket, sha256):
    obstore.put(bucket._store, "k", b"fals", attributes={"sha256": sha256})
    with host(tmp_path, "b", bucket) as reader:
        with pytest.raises(StorageError) as caught:
            reader.path("k")
        assert caught.value.full_code == "STORAGE.digest"
        assert not (tmp_path / "b" / "k").exists()


def test_whose_bytes_lie_there_is_written_there(tmp_path, store):
    with host(tmp_path, "a", store) as ours, host(tmp_path, "b", store) as theirs:
        assert ours.marker() is None
        ours.mark("one")
        assert theirs.marker() == "one"
        assert list(theirs.list()) == []
