"""The child process of a device: warm while it lives, really dead when it is killed, and never without its parent."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from node.core.errors import CodedError, DeviceLost, GeometryError, OutOfMemory, TimedOut
from node.work.device import Device
from tests.integration.work import device_jobs
from tests.peers import wait_until


@pytest.fixture
def device():
    before = set(psutil.Process().children())
    device = Device(device_jobs.work)
    yield device
    device.close()
    left = [child for child in psutil.Process().children() if child not in before and is_alive(child.pid)]
    assert [child for child in left if "spawn_main" in " ".join(child.cmdline())] == []


@pytest.fixture
def pid_file(tmp_path):
    return tmp_path / "child.pid"


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def child_of(pid_file):
    wait_until(pid_file.exists, seconds=30, sentence="the child has not begun")
    return int(pid_file.read_text())


def wait_until_gone(pid, seconds=5):
    wait_until(lambda: not is_alive(pid), seconds=seconds, sentence=f"the child {pid} still lives")


def ask(device, what, seconds=60, **more):
    return device.run("job", {"what": what, **more}, seconds).made


def test_one_child_answers_again_and_again(device):
    pids = {ask(device, "answer") for _ in range(3)}
    assert len(pids) == 1
    assert psutil.Process(pids.pop()).ppid() == psutil.Process().pid


@pytest.mark.parametrize("what", ["wait", "compute", "hold"])
def test_what_takes_too_long_is_killed_with_its_process(what, device, pid_file):
    ask(device, "answer")
    begun = time.monotonic()
    with pytest.raises(TimedOut, match=r"longer than 0\.5 s and was stopped; raise limits\.seconds") as caught:
        ask(device, what, 0.5, pid=str(pid_file))
    assert time.monotonic() - begun < 10
    assert caught.value.verdict == "retry"
    wait_until_gone(child_of(pid_file))
    assert is_alive(ask(device, "answer")), "the next request has a child of its own"


@pytest.mark.parametrize(
    ("what", "more", "code", "reason"),
    [
        ("leave", {"code": 3}, "3", "exited"),
        ("leave", {"code": 0}, "0", "exited"),
        ("exit", {"code": 0}, "0", "exited"),
        ("desert", {}, "0", "exited"),
        ("fault", {}, "-11", "crashed"),
        ("kill", {}, "-9", "killed"),
    ],
)
def test_a_child_that_dies_is_a_lost_device_at_once_and_the_next_request_has_another(what, more, code, reason, device, pid_file):
    ask(device, "answer")
    begun = time.monotonic()
    with pytest.raises(DeviceLost, match=rf"exit code {code}\b") as caught:
        ask(device, what, pid=str(pid_file), **more)
    assert time.monotonic() - begun < 5
    assert caught.value.full_code == f"DEVICE_LOST.{reason}"
    assert caught.value.verdict == "retry"
    wait_until_gone(child_of(pid_file))
    assert ask(device, "answer") != child_of(pid_file)


def test_a_child_that_is_killed_from_outside_is_a_lost_device(device, pid_file):
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, device, "wait", pid=str(pid_file))
        psutil.Process(child_of(pid_file)).send_signal(signal.SIGKILL)
        with pytest.raises(DeviceLost, match="exit code -9"):
            running.result(30)


def test_a_child_that_is_killed_while_it_waits_is_replaced(device, tmp_path):
    """The kernel takes the largest process when memory runs out, and that is the one with the warm models."""
    for _ in range(3):
        first = psutil.Process(ask(device, "answer"))
        first.kill()
        wait_until_gone(first.pid)
        try:
            again = ask(device, "answer")
        except DeviceLost:
            again = ask(device, "answer")
        assert again != first.pid


@pytest.mark.parametrize("what", ["wait", "compute", "hold"])
def test_what_is_cancelled_is_killed_with_its_process(what, device, pid_file):
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, device, what, pid=str(pid_file))
        child = child_of(pid_file)
        device.cancel("another job")
        assert not running.done()
        device.cancel("job")
        with pytest.raises(DeviceLost) as caught:
            running.result(30)
    assert caught.value.full_code == "DEVICE_LOST.cancelled"
    wait_until_gone(child)
    assert ask(device, "answer") != child


def test_cancelling_what_does_not_run_does_nothing(device):
    pid = ask(device, "answer")
    device.cancel("job")
    assert ask(device, "answer") == pid


@pytest.mark.parametrize(
    ("what", "kind", "code", "sentence"),
    [("refuse", GeometryError, "GEOMETRY.gap", "There is a gap of 5 mm."), ("fill", OutOfMemory, "OUT_OF_MEMORY", "8 GiB are too few.")],
)
def test_an_error_of_the_child_arrives_as_it_was_raised(what, kind, code, sentence, device):
    pid = ask(device, "answer")
    with pytest.raises(kind) as caught:
        ask(device, what)
    assert (caught.value.full_code, caught.value.sentence, caught.value.verdict) == (code, sentence, kind.verdict)
    same = ask(device, "answer") == pid
    assert same == (kind is GeometryError), "a child lives on and stays warm, unless its device has failed it"


def test_what_nobody_thought_of_arrives_too(device):
    with pytest.raises(ZeroDivisionError, match="nobody thought of it") as caught:
        ask(device, "break")
    assert not isinstance(caught.value, CodedError)


@pytest.mark.parametrize("what", ["wait", "compute", "hold"])
def test_a_child_does_not_outlive_its_parent(what, pid_file):
    program = [sys.executable, Path(device_jobs.__file__), what, str(pid_file)]
    with subprocess.Popen(program) as parent:
        child = child_of(pid_file)
        assert is_alive(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until_gone(child)


def test_closing_kills_the_child(pid_file):
    device = Device(device_jobs.work)
    pid = ask(device, "answer")
    device.close()
    wait_until_gone(pid)
