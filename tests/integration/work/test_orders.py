"""Orders of operators while real workers run: pause, resume, drain, cancel, another priority, by the real command line."""

import getpass
import os
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from node.core.job import Priority
from node.ledger import holds, orders
from node.ledger.engine import Ledger
from node.work.device import Device
from node.work.lease import Heart
from node.work.loop import Loop
from node.work.retry import RetryPolicy
from tests.integration.work import device_jobs
from tests.integration.work.test_device import child_of, wait_until_gone
from tests.peers import wait_until


@pytest.fixture
def radnode(node):
    """Run the real command on the node's database."""
    config = node.folder / "config.toml"
    config.write_text(f'[node]\ndata = "{node.folder}"\ndatabase = "{node.url}"\n[pipelines]\nenabled = ["quick"]\n')

    def run(*words, code=0):
        command = [sys.executable, "-m", "node", *words, "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def begun(worker):
    return [line.split()[1] for line in worker.log if line.startswith("begin")]


def test_what_is_paused_does_not_begin_and_what_is_resumed_does(node, radnode):
    node.enqueue("quick")
    assert "pipeline quick is paused" in radnode("pause", "pipeline", "quick", "--why", "new model")
    worker = node.worker("w")
    node.enqueue("other")
    node.wait_for("other", "done")
    assert begun(worker) == ["other"]
    assert "Paused: pipeline quick" in radnode("status")
    assert "There is no pipeline quack; there is quick." in radnode("pause", "pipeline", "quack", code=2)
    radnode("resume", "pipeline", "quick")
    node.wait_for("quick", "done")
    assert "was not paused" in radnode("resume", "pipeline", "quick", code=1)
    who = {row.detail["by"] for row in node.events(prefix="schedule.")}
    assert who == {f"{getpass.getuser()}@{os.uname().nodename}"}
    assert [row.event for row in node.events(prefix="schedule.")] == ["schedule.paused", "schedule.resumed"]


def test_drain_waits_for_what_runs_and_takes_nothing_new(node, radnode):
    node.enqueue("slow")
    worker = node.worker("w")
    worker.wait_for("begin slow 1")
    node.enqueue("quick")
    assert "1 still run" in radnode("drain", "--wait-s", "0.2", code=1)
    worker.go()
    assert "everything is drained" in radnode("drain", "everything", "--wait-s", "30")
    assert node.row("slow")["state"] == "done"
    assert node.row("quick")["state"] == "queued"
    radnode("resume", "everything")
    node.wait_for("quick", "done")


def test_a_study_is_cancelled_prioritised_and_replayed_by_the_command_line(node, radnode):
    node.enqueue("quick")
    assert "is stat now" in radnode("prioritise", node.job("quick").id, "stat")
    assert "is cancelled" in radnode("cancel", "1.2.3", "--why", "wrong patient")
    assert node.row("quick")["code"] == "CANCELLED"
    assert "Nothing of 1.2.3 waits or runs" in radnode("cancel", "1.2.3", code=2)
    assert "is queued again" in radnode("replay", "1.2.3")
    node.worker("w")
    node.wait_for("quick", "done")
    assert [row.event for row in node.events("quick", "job.")][:4] == ["job.queued", "job.prioritised", "job.cancelled", "job.replayed"]


def test_a_job_that_is_made_urgent_overtakes(node):
    node.enqueue("slow", *(f"q{number}" for number in range(12)))
    worker = node.worker("w")
    worker.wait_for("begin slow 1")
    with node.ledger.writing() as tx:
        orders.prioritise(tx, node.job("q11").id, Priority.STAT, "anna@ws1", node.engine.dispatch)
    worker.go()
    node.wait_for("q11", "done")
    for number in range(12):
        node.wait_for(f"q{number}", "done")
    assert begun(worker)[1] == "q11"
    assert len(begun(worker)) == 13, "each once"


def test_a_job_that_runs_is_stopped_for_good_with_its_process(node, tmp_path):
    node.enqueue("job")
    pid_file, device = tmp_path / "child.pid", Device(device_jobs.work)
    with closing(Ledger(node.url, actor="loop")) as ledger:
        heart = Heart(ledger, 2.0, device.cancel)
        policy = RetryPolicy(attempts=2, crashes=2, first_s=0.1, most_s=0.1)

        def do(work):
            return device.run(work.id, {"what": "compute", "pid": str(pid_file)}, 600)

        loop = Loop(ledger, node.engine, heart, policy, do, lambda *_: None, identity="host/b/n/1/x", lease_s=2.0)
        heart.start()
        runs = threading.Thread(target=loop.perform, args=(node.job("job").id, 1))
        runs.start()
        child = child_of(pid_file)
        with node.ledger.writing() as tx:
            orders.cancel(tx, node.job("job").id, "anna@ws1", "")
        wait_until_gone(child)
        runs.join(10)
        heart.stop()
    device.close()
    assert node.row("job")["state"] == "refused"
    assert [row.event for row in node.events("job", "job.")] == ["job.queued", "job.claimed", "job.cancelled", "job.fenced"]


def test_what_takes_three_workers_down_is_dead_with_its_reason_and_the_rest_is_done(node):
    rest = [f"q{number}" for number in range(20)]
    node.enqueue("poison", priority=Priority.STAT)
    node.enqueue(*rest)
    deaths = 0
    for number in range(8):
        process = node.worker(f"w{number}").process
        wait_until(lambda it=process: it.poll() or node.row("q19")["state"] == "done", seconds=60, sentence="neither died nor done")
        if process.poll() is None:
            break
        deaths += 1
    found = node.row("poison")
    assert (deaths, found["state"], found["code"]) == (2, "failed", "POISON.crashes")
    for name in rest:
        assert node.wait_for(name, "done")["crashes"] == 1
    assert sorted(pipeline for _, pipeline in node.results()) == sorted(rest)


def test_a_hundred_that_are_paused_hold_nothing_up(node):
    node.enqueue(*(f"held{number}" for number in range(100)))
    with node.ledger.writing() as tx:
        for number in range(100):
            holds.put(tx, "pipeline", f"held{number}", "anna@ws1", "")
    worker = node.worker("w")
    node.enqueue("quick")
    node.wait_for("quick", "done")
    assert begun(worker) == ["quick"]
