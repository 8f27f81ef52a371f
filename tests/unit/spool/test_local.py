"""A file is put whole or not at all, under its key and nowhere else."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core.errors import NotEnoughDisk, StorageError
from node.spool.local import LocalSpool

WRITER = Path(__file__).with_name("writer.py")
UID = "2.25." + "9" * 39


@pytest.fixture
def spool(tmp_path):
    with LocalSpool(tmp_path / "spool", "listen") as spool:
        yield spool


def everything(spool):
    return sorted(path.relative_to(spool.root).as_posix() for path in spool.root.rglob("*") if path.is_file() and path.name[0] != ".")


def test_the_parts_lie_one_behind_the_other_under_the_key(spool):
    spool.put_atomic("results/1/a.dcm", b"meta", b"", b"data").settle()
    assert spool.path("results/1/a.dcm").read_bytes() == b"metadata"
    assert spool.path("results/1/a.dcm") == spool.root / "results" / "1" / "a.dcm"
    assert everything(spool) == ["results/1/a.dcm"]


def test_a_draft_is_there_at_once_and_stays_when_it_is_settled(spool):
    draft = spool.put_atomic("a", b"1")
    assert spool.path("a").read_bytes() == b"1"
    assert len(everything(spool)) == 2, "and waits in incoming"
    draft.settle()
    draft.settle()
    assert everything(spool) == ["a"]


def test_a_draft_that_is_withdrawn_was_never_there(spool):
    draft = spool.put_atomic("a", b"1")
    draft.withdraw()
    draft.withdraw()
    assert everything(spool) == []


def test_a_draft_that_is_settled_can_no_longer_be_withdrawn(spool):
    draft = spool.put_atomic("a", b"1")
    draft.settle()
    draft.withdraw()
    assert spool.path("a").read_bytes() == b"1"


def test_withdrawing_leaves_what_another_has_put_since(spool):
    first = spool.put_atomic("a", b"first")
    second = spool.put_atomic("a", b"second")
    first.withdraw()
    assert spool.path("a").read_bytes() == b"second"
    second.settle()
    assert everything(spool) == ["a"]


def test_a_reader_of_the_old_file_keeps_it_whole(spool):
    spool.put_atomic("a", b"old").settle()
    with spool.path("a").open("rb") as reader:
        spool.put_atomic("a", b"new").settle()
        assert reader.read() == b"old"
    assert spool.path("a").read_bytes() == b"new"


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".",
        "/",
        "/etc/passwd",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "./../a",
        ".hidden",
        "a/.b",
        "incoming",
        "incoming/x",
        "a/incoming",
        "a+b",
        "a\0b",
    ],
)
def test_a_key_that_leads_elsewhere_is_refused(key, spool, tmp_path):
    with pytest.raises(StorageError) as caught:
        spool.put_atomic(key, b"x")
    assert caught.value.full_code == "STORAGE.key"
    for ask in (spool.path, spool.sha256, spool.delete):
        with pytest.raises(StorageError):
            ask(key)
    assert everything(spool) == []
    assert sorted(tmp_path.iterdir()) == [spool.root]


@given(st.text(alphabet=st.sampled_from("ab./\\~+\0 "), max_size=12))
def test_no_key_ever_leads_out(tmp_path_factory, key):
    root = tmp_path_factory.getbasetemp() / "keys"
    with LocalSpool(root, "listen") as spool:
        try:
            path = spool.path(key)
        except StorageError:
            return
        assert Path(os.path.normpath(path)).is_relative_to(root)
        assert "incoming" not in path.relative_to(root).parts


@pytest.mark.parametrize("prefix", ["..", "../..", "/", "incoming", "a/../.."])
def test_a_listing_does_not_lead_elsewhere_either(prefix, spool):
    with pytest.raises(StorageError):
        list(spool.list(prefix))


def test_the_longest_names_that_uids_can_make_fit(spool):
    uid = "1." + "2" * 62
    spool.put_atomic(f"instances/{uid}/{uid}-{'f' * 16}.dcm", b"x").settle()
    key = f"results/{'0' * 36}/1000000/SEG-{uid}.dcm"
    spool.put_atomic(key, b"x").settle()
    assert len(list(spool.list())) == 2


def test_a_listing_names_every_file_that_is_not_waiting(spool):
    for key in ("b/2", "b/1", "a", "b/c/3"):
        spool.put_atomic(key, b"x").settle()
    spool.put_atomic("z", b"x")
    assert sorted(spool.list()) == ["a", "b/1", "b/2", "b/c/3", "z"]
    assert sorted(spool.list("b")) == ["b/1", "b/2", "b/c/3"]
    assert list(spool.list("none")) == []


def test_deleting_twice_is_deleting_once(spool):
    spool.put_atomic("a/1", b"x").settle()
    spool.delete("a/1")
    spool.delete("a/1")
    assert list(spool.list()) == []


def test_the_digest_can_leave_out_what_we_put_before_the_data_set(spool):
    spool.put_atomic("a", b"preamble", b"data set").settle()
    assert spool.sha256("a") == hashlib.sha256(b"preambledata set").hexdigest()
    assert spool.sha256("a", skip=8) == hashlib.sha256(b"data set").hexdigest()
    with pytest.raises(FileNotFoundError):
        spool.sha256("none")


def test_a_file_where_a_folder_must_be_is_an_error_and_leaves_nothing(spool):
    spool.put_atomic("a", b"x").settle()
    with pytest.raises(NotEnoughDisk) as caught:
        spool.put_atomic("a/b", b"y")
    assert caught.value.verdict == "refuse"
    assert caught.value.status == 0xA700
    assert everything(spool) == ["a"]
    assert spool.path("a").read_bytes() == b"x"


def test_room_is_reported_in_bytes(spool):
    found = os.statvfs(spool.root)
    assert abs(spool.free_bytes() - found.f_bavail * found.f_frsize) < 1 << 30


def test_two_spools_in_one_folder_do_not_meet(tmp_path):
    with LocalSpool(tmp_path, "listen") as one, LocalSpool(tmp_path, "listen") as other:
        drafts = [one.put_atomic("a", b"1"), other.put_atomic("b", b"2")]
        assert sorted(one.list()) == sorted(other.list()) == ["a", "b"]
        for draft in drafts:
            draft.settle()
    assert [path for path in (tmp_path / "incoming").iterdir() if path.is_dir()] == []


def test_bytes_and_names_are_on_disk_before_the_answer(tmp_path):
    program = [sys.executable, WRITER, "trace", tmp_path, "instances/1/2.dcm", "text"]
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    steps = done.stdout.splitlines()
    assert steps[: steps.index("end")] == [
        "rename .new .part",
        "fsync .part",
        "mkdir instances",
        "fsync .",
        "mkdir instances/1",
        "fsync instances",
        "link .part instances/1/2.dcm",
        "fsync instances/1",
        "answer",
        "unlink .part",
        "rename .new .part",
        "fsync .part",
        "link .part instances/1/2.dcm",  # fails: what lies there may have been answered for, and is replaced by durable bytes only
        "link .part .link",
        "replace .link instances/1/2.dcm",
        "fsync instances/1",
        "answer",
        "unlink .part",
    ]


def test_what_is_sealed_costs_one_fsync_before_the_answer(tmp_path):
    program = [sys.executable, WRITER, "seal", tmp_path, "instances/1/2.dcm", "text"]
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    steps = done.stdout.splitlines()
    assert steps[: steps.index("end")] == [
        "fsync incoming",  # the names of many slots
        "fsync .slot",
        "answer",
        "mkdir instances",
        "fsync .",
        "mkdir instances/1",
        "fsync instances",
        "link .slot instances/1/2.dcm",
        "fsync instances/1",
        "unlink .slot",
        "fsync .slot",
        "answer",
        "link .slot instances/1/2.dcm",  # fails: another has put the same there
        "link .slot .link",
        "replace .link instances/1/2.dcm",
        "fsync instances/1",
        "unlink .slot",
    ]
