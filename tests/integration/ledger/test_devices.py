"""What is remembered of devices: their latest self-test, and what memory models were measured to need."""

from dataclasses import replace

from node.core.errors import DeviceLost
from node.core.memory import Memory, Need
from node.ledger import devices, jobs
from tests.integration.ledger.made import JOB, Tickets, claim, claimed, enqueue, rows

SMALL = Need(held=Memory(host=1, device=8), peak=Memory(host=4, device=9))
LARGE = Need(held=Memory(host=2, device=3), peak=Memory(host=3, device=20))


def settle(ledger, held, summary, error=None):
    ledger.write(lambda tx: jobs.settle(tx, held.work, held.token, error, summary))


def need(ledger, model="a" * 64, family="cuda"):
    with ledger.reading() as tx:
        return devices.need_of(tx, model, family)


def test_what_a_model_needs_is_the_most_that_its_latest_jobs_needed(ledger):
    tickets = Tickets()
    held = claimed(ledger, tickets)
    assert need(ledger) is None
    settle(ledger, held, {"memory": devices.written(SMALL, "cuda")})
    assert need(ledger) == SMALL
    further = replace(JOB, pipeline="other")
    enqueue(ledger, tickets, further)
    settle(ledger, claim(ledger, further.id, 1, "worker/2"), {"memory": devices.written(LARGE, "cuda")})
    assert need(ledger) == Need(held=Memory(host=2, device=8), peak=Memory(host=4, device=20))
    assert need(ledger, family="cpu") is None
    assert need(ledger, model="b" * 64) is None


def test_jobs_from_before_memory_was_measured_say_nothing(ledger):
    settle(ledger, claimed(ledger, Tickets()), {"device": "cpu"})
    assert need(ledger, family="cpu") is None


def test_the_latest_self_test_of_each_device_is_what_counts(ledger):
    broken = DeviceLost("It computes wrongly.", reason="wrong")
    for host, device, error in (("a", "cuda:0", None), ("a", "cuda:0", broken), ("b", "cuda:0", broken), ("b", "cuda:0", None)):
        ledger.write(lambda tx, host=host, device=device, error=error: devices.record_examined(tx, host, device, {"torch": "2"}, error))
    with ledger.reading() as tx:
        found = devices.examined(tx)
    assert [(event, code, detail["host"]) for _, event, code, detail in found] == [
        ("device.failed", "DEVICE_LOST.wrong", "a"),
        ("device.passed", None, "b"),
    ]
    assert found[0][3]["sentence"] == "It computes wrongly."


def test_that_a_model_was_unloaded_is_written_down(ledger):
    ledger.write(lambda tx: devices.record_unloaded(tx, "a", "cpu", "d" * 64, {"why": "room"}))
    (row,) = rows(ledger, "audit")
    assert (row["event"], row["detail"]["why"], row["detail"]["model_digest"]) == ("model.unloaded", "room", "d" * 64)
