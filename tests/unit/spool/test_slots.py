"""What comes in lies in a slot: an empty file whose name is durable before anything is written into it."""

import os
import shutil

import pytest

from node.core.errors import NotEnoughDisk
from node.spool.draft import name_all
from node.spool.local import LocalSpool
from node.spool.slots import Slots
from tests.peers import wait_until

PREFACE = b"preface" + bytes(8)


def receive(spool, content, *, seal=b"sealed!!"):
    incoming = spool.open_incoming(PREFACE)
    incoming.write(memoryview(content))
    incoming.seal(seal)
    return incoming


def used_slots(root):
    return sorted(path for path in (root / "incoming").rglob("*.slot") if path.stat().st_size)


def test_the_seal_stands_at_the_end_of_the_preface(tmp_path):
    with LocalSpool(tmp_path, "listen") as spool:
        draft = spool.leave(receive(spool, b"data set"), "a/b")
        assert draft.waiting.read_bytes() == b"prefacesealed!!data set"
        assert list(spool.list()) == [], "it has no final name yet"
        name_all([draft])
        draft.settle()
        assert spool.path("a/b").read_bytes() == b"prefacesealed!!data set"
    assert [path for path in (tmp_path / "incoming").iterdir() if path.is_dir()] == [], "the slots that were not used are gone"


def test_a_seal_may_be_written_anew(tmp_path):
    with LocalSpool(tmp_path, "listen") as spool:
        incoming = receive(spool, b"x")
        incoming.seal(b"evidence")
        assert spool.leave(incoming, "a").waiting.read_bytes() == b"prefaceevidencex"


def test_many_come_and_each_has_a_slot_of_its_own(tmp_path):
    with LocalSpool(tmp_path, "listen") as spool:
        drafts = [spool.leave(receive(spool, str(number).encode()), f"a/{number}") for number in range(200)]
        assert len({draft.waiting for draft in drafts}) == 200
        name_all(drafts)
        assert all(spool.path(f"a/{number}").read_bytes().endswith(str(number).encode()) for number in range(200))


def test_names_may_be_given_again(tmp_path):
    """The row could not be written behind the names: both are tried again."""
    with LocalSpool(tmp_path, "listen") as spool:
        drafts = [spool.leave(receive(spool, b"x"), "a/1"), spool.leave(receive(spool, b"y"), "a/2")]
        for _ in range(3):
            name_all(drafts)
        assert {path.suffix for path in (tmp_path / "incoming").rglob("*.*") if path.suffix} == {".slot"}


def test_slots_are_made_ahead(tmp_path):
    """Whoever comes when few are left does not wait for more."""
    folder = tmp_path / "slots"
    folder.mkdir()
    slots = Slots(folder)
    taken = {slots.take() for _ in range(10)}
    wait_until(lambda: len(list(folder.iterdir())) == 128, seconds=5, sentence="no more were made")
    taken |= {slots.take() for _ in range(118)}
    assert len(taken) == 128
    assert all(path.stat().st_size == 0 for path in taken)
    slots.remove()
    assert set(folder.iterdir()) == taken, "what was not taken is gone"


def test_slots_that_cannot_be_made_ahead_are_asked_for_again(tmp_path):
    folder = tmp_path / "slots"
    folder.mkdir()
    slots = Slots(folder)
    for _ in range(64):
        slots.take()
        shutil.rmtree(folder, ignore_errors=True)
    slots.remove()
    with pytest.raises(FileNotFoundError):
        slots.take()
    folder.mkdir()
    assert slots.take().parent == folder
    slots.remove()


def test_what_is_given_up_leaves_nothing(tmp_path):
    with LocalSpool(tmp_path, "listen") as spool:
        incoming = spool.open_incoming(PREFACE)
        incoming.write(memoryview(b"x"))
        incoming.discard()
        assert used_slots(tmp_path) == []


@pytest.mark.parametrize("can_be_adopted", [True, False])
def test_a_used_slot_of_a_dead_process_is_offered_for_adoption(tmp_path, can_be_adopted):
    offered = []
    with LocalSpool(tmp_path, "listen") as spool:
        spool.leave(receive(spool, b"x"), "a")
        with LocalSpool(tmp_path, "listen") as other:
            assert other.recover(lambda _: False, offered.append) == 0
            assert offered == [], "its process lives"

    def adopt(path):
        offered.append(path.read_bytes())
        return can_be_adopted

    with LocalSpool(tmp_path, "listen") as spool:
        assert spool.recover(lambda _: False, adopt) == (0 if can_be_adopted else 1)
        assert offered == [b"prefacesealed!!x"]
        assert used_slots(tmp_path) == []


def test_without_anyone_to_adopt_them_used_slots_stay(tmp_path):
    with LocalSpool(tmp_path, "listen") as spool:
        spool.leave(receive(spool, b"x"), "a")
    with LocalSpool(tmp_path, "listen") as spool:
        assert spool.recover(lambda _: False) == 0
        assert len(used_slots(tmp_path)) == 1


def test_when_slots_cannot_be_made_senders_are_told_to_come_again(tmp_path):
    with LocalSpool(tmp_path, "listen") as spool:
        (folder,) = (path for path in (tmp_path / "incoming").iterdir() if path.is_dir())
        moved = folder.rename(tmp_path / "elsewhere")
        with pytest.raises(NotEnoughDisk):
            spool.open_incoming(PREFACE)
        moved.rename(folder)
        receive(spool, b"x").discard()


def test_a_disk_that_does_not_take_the_seal_leaves_nothing(tmp_path):
    with LocalSpool(tmp_path, "listen") as spool:
        incoming = spool.open_incoming(PREFACE)
        incoming.write(memoryview(b"x"))
        os.close(incoming._file)
        incoming._file = os.open(os.devnull, os.O_RDONLY)  # as a disk that was mounted read-only meanwhile
        with pytest.raises(NotEnoughDisk):
            incoming.seal(b"sealed!!")
        assert used_slots(tmp_path) == []
