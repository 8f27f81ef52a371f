"""Several models on one device: let in by what they were measured to need, and sent away when another needs the room."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from node.core.errors import DeviceLost, OutOfMemory, TimedOut
from node.core.memory import Memory, Need
from node.work.device import Device
from node.work.seat import Limits
from tests.integration.work import device_jobs
from tests.peers import wait_until

MB = 1_000_000
TINY = Need(held=Memory(), peak=Memory(host=1))
SIX_OF_TEN = Need(held=Memory(device=4), peak=Memory(device=6))


@pytest.fixture
def opened():
    """Opens devices, and closes them at the end."""
    devices = []

    def open_one(limits=None, **more):
        devices.append(Device(device_jobs.work, limits or Limits(), **more))
        return devices[-1]

    yield open_one
    for device in devices:
        device.close()


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ask(device, what, model="a", seconds=60, work_id="job", **more):
    return device.run(work_id, {"what": what, **more}, seconds, model)


def test_each_model_has_a_process_of_its_own_and_keeps_it(opened):
    device = opened()
    first = {model: ask(device, "answer", model).made for model in ("a", "b", "c")}
    assert len(set(first.values())) == 3
    assert {model: ask(device, "answer", model).made for model in ("c", "a", "b")} == {model: first[model] for model in ("c", "a", "b")}


def test_what_a_job_needs_is_measured(opened):
    device = opened()
    before = ask(device, "answer")
    found = ask(device, "swell", bytes=300 * MB)
    assert found.peak.host - before.held.host > 290 * MB
    assert found.held.host - before.held.host < 50 * MB


def test_jobs_run_side_by_side_once_their_models_were_measured(opened):
    device = opened(Limits(at_once=2), needs=lambda _model: TINY)
    for model in ("a", "b"):
        ask(device, "answer", model)
    begun = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        pids = {ran.made for ran in pool.map(lambda model: ask_to_rest(device, model), ("a", "b"))}
    assert len(pids) == 2
    assert time.monotonic() - begun < 1.9


def ask_to_rest(device, model):
    return device.run(model, {"what": "rest", "seconds": 1.0}, 60, model)


@pytest.mark.parametrize(("limits", "needs"), [(Limits(at_once=1), lambda _model: TINY), (Limits(at_once=2), lambda _model: None)])
def test_one_after_the_other_where_no_more_are_allowed_or_a_model_was_never_measured(limits, needs, opened):
    device = opened(limits, needs=needs)
    begun = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda model: ask_to_rest(device, model), ("a", "b")))
    assert time.monotonic() - begun > 2.0


def test_the_model_that_was_not_used_for_the_longest_time_makes_room(opened):
    told = []
    device = opened(
        gauge=device_jobs.gauge, needs=lambda _model: SIX_OF_TEN, tell=lambda model, detail: told.append((model, detail["why"]))
    )
    device.allot(10)
    pids = {model: ask(device, "answer", model).made for model in ("a", "b")}
    # Of 10 the first holds 4, and the second takes 6: there is room. For a third there is none.
    assert told == []
    ask(device, "answer", "a")
    ask(device, "answer", "c")
    assert told == [("b", "room")]
    assert not psutil.pid_exists(pids["b"])
    assert ask(device, "answer", "a").made == pids["a"]
    assert ask(device, "answer", "b").made != pids["b"]


def test_a_job_for_which_there_is_no_room_waits_until_there_is(opened):
    device = opened(Limits(at_once=2), gauge=device_jobs.gauge, needs=lambda _model: SIX_OF_TEN)
    device.allot(10)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask_to_rest, device, "a")
        time.sleep(0.2)
        second = pool.submit(ask_to_rest, device, "b")
        assert first.result(30).waited_s < 0.2
        assert second.result(30).waited_s > 0.5


def test_what_is_cancelled_while_it_waits_never_begins(opened, tmp_path):
    device = opened()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask_to_rest, device, "a")
        time.sleep(0.3)
        waits = pool.submit(device.run, "waits", {"what": "answer", "pid": str(tmp_path / "pid")}, 60, "b")
        time.sleep(0.1)
        device.cancel("waits")
        with pytest.raises(DeviceLost, match="before it began") as caught:
            waits.result(5)
        assert caught.value.full_code == "DEVICE_LOST.cancelled"
        assert first.result(30)
    assert not (tmp_path / "pid").exists()


def test_closing_ends_what_waits_and_what_runs(opened):
    device = opened()
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(device.run, name, {"what": "wait"}, 60, name) for name in ("a", "b")]
        time.sleep(0.5)
        device.close()
        for one in running:
            with pytest.raises(DeviceLost):
                one.result(5)


def test_a_child_that_leaks_is_replaced_between_two_jobs(opened):
    told = []
    device = opened(Limits(growth_bytes=25 * MB), tell=lambda _model, detail: told.append(detail["why"]))
    pids = [ask(device, "leak").made for _ in range(6)]
    assert told == ["grown"]
    assert len(set(pids)) == 2
    assert pids[0] == pids[2] != pids[5]


# What is taken little by little may be seen by the parent, with what libraries share, before the kernel refuses more.
@pytest.mark.parametrize(("what", "reasons"), [("take", {"host", "limit"}), ("share", {"limit"})])
def test_a_model_that_takes_too_much_is_stopped_and_the_next_one_runs(what, reasons, opened, tmp_path):
    device = opened(Limits(child_bytes=400 * MB))
    with pytest.raises(OutOfMemory) as caught:
        ask(device, what, pid=str(tmp_path / "pid"))
    assert (caught.value.code, caught.value.verdict) == ("OUT_OF_MEMORY", "retry")
    assert caught.value.reason in reasons
    taken_by = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(taken_by)
    assert ask(device, "answer").made != taken_by


def test_what_the_model_has_started_dies_with_it(opened, tmp_path):
    device = opened()
    ask(device, "answer")
    with pytest.raises(TimedOut):
        ask(device, "leave a child", seconds=1, other=str(tmp_path / "other"))
    other = int((tmp_path / "other").read_text())
    wait_until(lambda: not is_alive(other), seconds=5, sentence="what it started lives on")


def test_what_only_the_child_knows_does_not_reach_the_parent(opened):
    device = opened()
    with pytest.raises(RuntimeError, match="OnlyHere"):
        ask(device, "strange")
    with pytest.raises(TypeError, match="cannot leave the process"):
        ask(device, "lambda")
    assert ask(device, "answer")


def test_a_model_is_loaded_before_the_first_job_and_its_child_is_the_one_that_was_examined(opened):
    device = opened()
    pid = device.examine("self-test", 60, device_jobs.work, {"what": "answer"})
    device.prepare("a", device_jobs.work, {"what": "rest", "seconds": 0.5})
    assert ask(device, "answer").made == pid


def test_an_examination_that_fails_or_is_cancelled_leaves_no_child(opened):
    device = opened()
    with pytest.raises(OutOfMemory):
        device.examine("self-test", 60, device_jobs.work, {"what": "fill"})
    threading.Timer(1.0, device.cancel, ["self-test"]).start()
    with pytest.raises(DeviceLost, match="cancelled"):
        device.examine("self-test", 60, device_jobs.work, {"what": "hold"})
    assert ask(device, "answer")
