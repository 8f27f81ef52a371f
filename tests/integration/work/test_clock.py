"""The database's clock is stepped back by an hour: no time in the ledger that lies ahead of it may hold work up for that hour."""

from datetime import timedelta

import sqlalchemy as sa

from node.ledger import schema
from tests.integration.work.conftest import LEASE_S

STEP = timedelta(hours=1)


def put_ahead(node, pipeline):
    """Do to a lease what the step does: it ends an hour later than it would have."""
    with node.ledger.beating() as tx:
        mine = schema.work.c.id == node.job(pipeline).id
        until = tx.execute(sa.select(schema.work.c.lease_until_at).where(mine)).scalar_one()
        tx.execute(schema.work.update().where(mine).values(lease_until_at=until + STEP))


def test_the_lease_of_a_worker_that_died_before_the_step_ends_in_time(node):
    node.enqueue("slow")
    first = node.worker("first", "another-machine")
    first.wait_for("begin slow 1")
    first.kill()
    put_ahead(node, "slow")
    second = node.worker("second")
    second.go()
    found = node.wait_for("slow", "done", seconds=10 * LEASE_S)
    assert found["dispatch"] == 2
    assert [row.detail["why"] for row in node.events("slow", "job.rescued")] == ["lease expired"]


def test_a_worker_that_lives_keeps_its_work(node):
    node.enqueue("slow")
    first = node.worker("first", "another-machine")
    first.wait_for("begin slow 1")
    put_ahead(node, "slow")
    second = node.worker("second")
    second.wait_for("ready")
    second.go()
    first.go()
    assert node.wait_for("slow", "done")["dispatch"] == 1
    assert node.results() == [("first", "slow")]


def test_an_attempt_that_was_put_off_before_the_step_is_made_in_time(node):
    node.enqueue("quick", delay_s=STEP.total_seconds())
    node.worker("first")
    assert node.wait_for("quick", "done", seconds=10 * LEASE_S)["attempt"] == 1
    assert [row.detail["why"] for row in node.events("quick", "job.rescued")] == ["clock stepped back"]
