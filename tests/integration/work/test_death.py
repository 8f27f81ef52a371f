"""Whatever happens to a worker, its job is done by another, once, and what comes too late is dropped."""

import signal
import time

import pytest

from tests.integration.work.conftest import LEASE_S
from tests.peers import wait_until


@pytest.mark.parametrize("host", [None, "another-machine"], ids=["same machine", "another machine"])
def test_the_job_of_a_killed_worker_is_done_by_another_within_two_leases(host, node):
    node.enqueue("slow")
    first = node.worker("first", host)
    first.wait_for("begin slow 1")
    second = node.worker("second")
    second.wait_for("ready")
    second.go()
    time.sleep(LEASE_S)  # nobody is fit to judge another before it has lived for one lease
    assert node.row("slow")["state"] == "running"
    assert node.row("slow")["dispatch"] == 1, "while the first lives nobody takes its job"
    first.kill()
    killed_at = time.monotonic()
    found = node.wait_for("slow", "done")
    assert time.monotonic() - killed_at < 2 * LEASE_S
    assert (found["dispatch"], found["crashes"], found["attempt"]) == (2, 2, 1)
    assert node.results() == [("second", "slow")]
    (rescued,) = node.events("slow", "job.rescued")
    assert rescued.detail["why"] == ("lease expired" if host else "process gone")


def test_the_late_result_of_a_frozen_worker_is_dropped(node):
    node.enqueue("slow")
    first = node.worker("first")
    first.wait_for("begin slow 1")
    second = node.worker("second")
    second.wait_for("ready")
    first.send(signal.SIGSTOP)
    second.wait_for("begin slow 2")
    first.go()
    first.send(signal.SIGCONT)
    first.wait_for("dropped slow")
    assert node.row("slow")["state"] == "running", "the second still works on it"
    second.go()
    node.wait_for("slow", "done")
    second.wait_for("settled slow")
    assert node.results() == [("second", "slow")]
    assert [row.event for row in node.events("slow", "job.")] == [
        "job.queued",
        "job.claimed",
        "job.rescued",
        "job.claimed",
        "job.fenced",
        "job.finished",
    ]
    assert not any(line.startswith("settled") for line in first.log)


def test_a_worker_that_was_frozen_is_told_that_it_has_lost_its_job(node):
    node.enqueue("slow")
    first = node.worker("first")
    first.wait_for("begin slow 1")
    second = node.worker("second")
    second.wait_for("ready")
    first.send(signal.SIGSTOP)
    second.wait_for("begin slow 2")
    first.send(signal.SIGCONT)
    first.wait_for(f"lost {node.job('slow').id}")
    second.go()
    node.wait_for("slow", "done")


def test_work_that_kills_its_worker_each_time_is_given_up(node):
    node.enqueue("poison", "quick")
    deaths = []
    for number in range(6):
        process = node.worker(f"w{number}").process
        wait_until(
            lambda it=process: it.poll() or node.row("poison")["state"] == "failed", seconds=30, sentence="it neither died nor gave up"
        )
        if process.poll() is None:
            break
        deaths.append(process.returncode)
    assert deaths == [-signal.SIGKILL] * 2, "as often as the policy allows"
    found = node.row("poison")
    assert (found["state"], found["code"]) == ("failed", "POISON.crashes")
    assert "took its worker down 2 times" in found["reason"]
    node.wait_for("quick", "done")
    assert [row.event for row in node.events("poison", "job.failed")] == ["job.failed"]
