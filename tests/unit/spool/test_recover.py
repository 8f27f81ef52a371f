"""What a dead process left behind: what the ledger does not know goes, everything else stays."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from node.spool.local import LocalSpool

WRITER = Path(__file__).with_name("writer.py")
#: What put_atomic does for the key "a/b" in an empty spool.
STEPS = ["rename", "fsync", "mkdir", "fsync", "link", "fsync"]


class Writer:
    """A real process that holds a draft."""

    def __init__(self, root, key, text):
        command = [sys.executable, WRITER, "hold", root, key, text]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, what):
        print(what, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "done\n"

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def waiting(root):
    return sorted(path.name.partition("~")[2] for path in (root / "incoming").rglob("*") if path.suffix in (".part", ".link"))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "spool"


@pytest.mark.parametrize("known", [True, False])
def test_a_killed_process_is_cleared_up_after(root, known):
    asked = []
    with Writer(root, "instances/1.2/3.4.dcm", "x") as writer:
        writer.kill()
    with LocalSpool(root, "listen") as spool:
        assert spool.recover(lambda key: asked.append(key) or known) == (0 if known else 1)
        assert list(spool.list()) == (["instances/1.2/3.4.dcm"] if known else [])
        assert spool.recover(lambda _: False) == 0
    assert asked == ["instances/1.2/3.4.dcm"]
    assert waiting(root) == []


def test_a_living_process_is_never_touched(root):
    with Writer(root, "a/b", "x") as writer, LocalSpool(root, "listen") as spool:
        assert spool.recover(lambda _: False) == 0
        assert list(spool.list()) == ["a/b"]
        assert waiting(root) == ["a+b.part"]
        writer.ask("settle")
        writer.kill()
        assert spool.recover(lambda _: False) == 0, "settled: nothing waits any more"
        assert list(spool.list()) == ["a/b"]


def test_a_stopped_process_lives(root):
    with Writer(root, "a", "x") as writer, LocalSpool(root, "listen") as spool:
        writer.process.send_signal(signal.SIGSTOP)
        assert spool.recover(lambda _: False) == 0
        writer.process.send_signal(signal.SIGCONT)
        writer.ask("withdraw")
        assert list(spool.list()) == []


def test_a_file_that_another_has_put_since_stays(root):
    with Writer(root, "a", "the first") as writer:
        writer.kill()
    with LocalSpool(root, "listen") as spool:
        draft = spool.put_atomic("a", b"the second")
        assert spool.recover(lambda _: False) == 0
        assert spool.path("a").read_bytes() == b"the second"
        draft.settle()
    assert waiting(root) == []


def test_our_own_drafts_are_not_cleared(root):
    with LocalSpool(root, "listen") as spool:
        draft = spool.put_atomic("a", b"x")
        assert spool.recover(lambda _: False) == 0
        draft.settle()
        assert list(spool.list()) == ["a"]


def test_a_process_that_left_in_order_leaves_nothing_to_do(root):
    with Writer(root, "a", "x") as writer:
        writer.ask("settle")
        print("close", file=writer.process.stdin, flush=True)
        assert writer.process.wait() == 0
    assert [path for path in (root / "incoming").iterdir() if path.is_dir()] == []


def test_a_draft_that_was_neither_settled_nor_withdrawn_waits_for_the_next_start(root):
    with LocalSpool(root, "listen") as spool:
        spool.put_atomic("kept", b"x")
        spool.put_atomic("lost", b"x")
    assert waiting(root) == ["kept.part", "lost.part"]
    with LocalSpool(root, "listen") as spool:
        assert spool.recover(lambda key: key == "kept") == 1
        assert list(spool.list()) == ["kept"]


def test_a_draft_without_its_file_is_cleared(root):
    with LocalSpool(root, "listen") as spool:
        spool.put_atomic("a", b"x")
        spool.delete("a")
    with LocalSpool(root, "listen") as spool:
        assert spool.recover(lambda _: False) == 0
    assert waiting(root) == []


def test_when_the_ledger_does_not_answer_nothing_is_removed(root):
    with LocalSpool(root, "listen") as spool:
        spool.put_atomic("a", b"x")

    def unreachable(key):
        raise ConnectionError

    with LocalSpool(root, "listen") as spool:
        with pytest.raises(ConnectionError):
            spool.recover(unreachable)
        assert list(spool.list()) == ["a"]
        assert waiting(root) == ["a.part"]
        assert spool.recover(lambda _: True) == 0


@pytest.mark.parametrize("nth", range(1, len(STEPS) + 2))
def test_dying_at_any_step_leaves_the_whole_file_or_none(root, nth):
    program = [sys.executable, WRITER, "exit", root, "a/b", "whole", str(nth)]
    done = subprocess.run(program, check=False, capture_output=True, text=True)
    survived = done.returncode == 0
    assert survived == (done.stdout == "answer\n") == (nth > len(STEPS)), done.stderr
    with LocalSpool(root, "listen") as spool:
        assert [spool.path(key).read_bytes() for key in spool.list()] == [b"whole"] * (nth > STEPS.index("link") + 1)
        spool.recover(lambda _: False)
        assert list(spool.list()) == []
    assert waiting(root) == []


def test_processes_may_come_and_go_while_others_clear_up(root):
    """Each thread stands for a process: a lock on a file belongs to whoever opened it."""

    def live(name):
        for turn in range(25):
            with LocalSpool(root, "listen") as spool:
                spool.recover(lambda _: False)
                spool.put_atomic(f"{name}/{turn}", b"x").settle()
        return name

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(live, "abcdef")) == list("abcdef")
    with LocalSpool(root, "listen") as spool:
        assert len(list(spool.list())) == 6 * 25
    assert waiting(root) == []
