"""What is committed is run once, in order; what is rolled back is never run; what the engine lost is handed to it again."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from node.core.job import Priority, Ticket
from node.ledger import jobs


def test_a_ticket_that_is_rolled_back_is_never_run_and_one_that_is_committed_is_run_once(node):
    def enqueue_and_fail(tx):
        jobs.enqueue(tx, node.job("lost"), 1, node.engine.dispatch)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        node.ledger.write(enqueue_and_fail)
    for _ in range(2):
        node.enqueue("kept")
    ticket = Ticket(work_id=node.job("kept").id, kind="infer", dispatch=1, priority=100)
    node.ledger.write(lambda tx: node.engine.dispatch(tx, ticket))
    assert node.engine.look([f"{node.job('lost').id}:1"]) == {}
    assert node.engine.look([ticket.workflow_id])[ticket.workflow_id].waits
    worker = node.worker("w")
    node.wait_for("kept", "done")
    node.enqueue("last")
    node.wait_for("last", "done")
    worker.wait_for("settled last")  # said behind the transaction that the ledger shows
    assert worker.log == ["ready", "begin kept 1", "settled kept", "begin last 1", "settled last"]
    assert node.results() == [("w", "kept"), ("w", "last")]


def test_the_urgent_come_first(node):
    for priority in (Priority.BACKGROUND, Priority.ROUTINE, Priority.STAT, Priority.URGENT):
        node.enqueue(priority.name.lower(), priority=priority)
    worker = node.worker("w")
    node.wait_for("background", "done")
    assert [line.split()[1] for line in worker.log if line.startswith("begin")] == ["stat", "urgent", "routine", "background"]


def test_what_is_delayed_is_not_begun_before_its_time(node):
    worker = node.worker("w")
    worker.wait_for("ready")
    node.enqueue("later", delay_s=2.0)
    node.enqueue("now")
    node.wait_for("later", "done")
    (queued,), (claimed,) = node.events("later", "job.queued"), node.events("later", "job.claimed")
    assert timedelta(seconds=1.9) < claimed.at - queued.at < timedelta(seconds=8)
    assert [line for line in worker.log if line.startswith("begin")] == ["begin now 1", "begin later 1"]


def test_a_ticket_that_was_cancelled_waits_no_longer(node):
    node.enqueue("job")
    workflow_id = f"{node.job('job').id}:1"
    node.engine.cancel(workflow_id)
    assert not node.engine.look([workflow_id])[workflow_id].waits
    node.engine.cancel("unknown")
    assert node.engine.look([]) == node.engine.look(["unknown"]) == {}


@pytest.mark.parametrize("how", ["deleted", "cancelled"])
def test_what_the_engine_lost_is_handed_to_it_again(how, node):
    node.enqueue("quick")
    workflow_id = f"{node.job('quick').id}:1"
    if how == "cancelled":
        node.engine.cancel(workflow_id)
    else:
        table = "workflow_status" if node.ledger.is_sqlite else "dbos.workflow_status"
        with node.ledger.writing() as tx:
            assert tx.execute(sa.text(f"DELETE FROM {table} WHERE workflow_uuid = :id"), {"id": workflow_id}).rowcount == 1
        assert node.engine.look([workflow_id]) == {}
    worker = node.worker("w")
    found = node.wait_for("quick", "done")
    assert (found["dispatch"], found["crashes"]) == (2, 1)
    assert [row.detail["why"] for row in node.events("quick", "job.rescued")] == ["engine lost it"]
    assert node.results() == [("w", "quick")]
    assert "begin quick 1" not in worker.log
