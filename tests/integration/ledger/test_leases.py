"""A lease belongs to one token until it is not renewed; then exactly one reaper takes the work away, and the old token is worth nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from node.core.errors import GeometryError, TimedOut
from node.ledger import jobs, leases
from node.ledger.engine import Ledger
from tests.integration.ledger.made import JOB, Tickets, claim, claimed, events, ready, row, rows, snapshot


def renew(ledger, held, lease_s=60.0):
    with ledger.beating() as tx:
        return leases.renew(tx, held, lease_s)


def rescue(ledger, work, token, why, tickets):
    return ledger.write(lambda tx: leases.rescue(tx, work, token, why, tickets))


def until(ledger):
    return row(ledger, "work")["lease_until_at"]


def clock(ledger):
    with ledger.reading() as tx:
        return jobs.clock(tx)


def test_a_claim_is_for_a_time_by_the_databases_clock(ledger):
    held = claimed(ledger, Tickets(), lease_s=90)
    found = row(ledger, "work")
    assert (found["state"], found["lease_token"], found["crashes"]) == ("running", "worker/1", 1)
    assert 80 < (found["lease_until_at"] - clock(ledger)).total_seconds() <= 90
    assert held.work.crashes == 1, "counted when it begins, because a worker that dies cannot count"


@pytest.mark.parametrize("dispatch", [0, 2])
def test_a_hand_over_that_is_out_of_date_claims_nothing(dispatch, ledger):
    ready(ledger, Tickets())
    before = snapshot(ledger)
    assert claim(ledger, JOB.id, dispatch, "worker/1") is None
    assert claim(ledger, "none", 1, "worker/1") is None
    assert snapshot(ledger) == before


def test_two_cannot_hold_the_same_work(ledger):
    claimed(ledger, Tickets(), lease_s=-1)
    before = snapshot(ledger)
    assert claim(ledger, JOB.id, 1, "worker/2") is None, "not even when the lease has run out: that is the reaper's to say"
    assert snapshot(ledger) == before


def test_of_many_that_claim_at_once_one_has_it(ledger):
    ready(ledger, Tickets())
    barrier = threading.Barrier(6)

    def try_to(number):
        with closing(Ledger(ledger.url, actor=f"worker{number}")) as mine:
            barrier.wait(10)
            return claim(mine, JOB.id, 1, f"worker/{number}")

    with ThreadPoolExecutor(6) as pool:
        found = [held for held in pool.map(try_to, range(6)) if held]
    assert len(found) == 1
    assert row(ledger, "work")["lease_token"] == found[0].token
    assert events(ledger, "job.claimed") == ["job.claimed"]


@pytest.mark.parametrize("error", [None, GeometryError("A gap.")])
def test_settled_work_cannot_be_claimed(error, ledger):
    held = claimed(ledger, Tickets())
    ledger.write(lambda tx: jobs.settle(tx, held.work, held.token, error, {}))
    assert claim(ledger, JOB.id, 1, "worker/1") is None
    assert claim(ledger, JOB.id, 1, "worker/2") is None


def test_renewing_moves_the_end_and_writes_no_audit_row(ledger):
    held = claimed(ledger, Tickets(), lease_s=-5)
    before, said = until(ledger), rows(ledger, "audit")
    assert renew(ledger, {JOB.id: held.token}) == set()
    assert (until(ledger) - before).total_seconds() > 60
    assert rows(ledger, "audit") == said


def test_what_is_no_longer_ours_cannot_be_renewed(ledger):
    held = claimed(ledger, Tickets())
    before = snapshot(ledger)
    assert renew(ledger, {JOB.id: "worker/9", "none": "worker/1"}) == {JOB.id, "none"}
    assert snapshot(ledger) == before
    ledger.write(lambda tx: jobs.settle(tx, held.work, held.token, None, {}))
    assert renew(ledger, {JOB.id: held.token}) == {JOB.id}
    assert until(ledger) is None
    assert renew(ledger, {}) == set()


def test_work_whose_lease_has_run_out_is_handed_over_once_more(ledger):
    tickets = Tickets()
    held = claimed(ledger, tickets, lease_s=-1)
    assert rescue(ledger, held.work, held.token, "lease expired", tickets) is True
    found = row(ledger, "work")
    assert (found["state"], found["dispatch"], found["attempt"], found["crashes"]) == ("queued", 2, 1, 1)
    assert (found["lease_token"], found["lease_until_at"]) == (None, None)
    assert tickets[-1].workflow_id == f"{JOB.id}:2"
    (said,) = [audit for audit in rows(ledger, "audit") if audit["event"] == "job.rescued"]
    assert said["detail"] == {"why": "lease expired", "from": held.token, "attempt": 1, "crashes": 1}


def test_a_lease_that_runs_protects_its_work(ledger):
    tickets = Tickets()
    held = claimed(ledger, tickets)
    before = snapshot(ledger)
    assert rescue(ledger, held.work, held.token, "lease expired", tickets) is False
    assert snapshot(ledger) == before
    assert len(tickets) == 1


def test_a_lease_that_runs_does_not_protect_a_process_that_is_known_to_be_dead(ledger):
    tickets = Tickets()
    held = claimed(ledger, tickets)
    assert rescue(ledger, held.work, held.token, "process gone", tickets) is True


def test_a_holder_that_came_back_in_time_keeps_its_work(ledger):
    tickets = Tickets()
    held = claimed(ledger, tickets, lease_s=-1)
    renew(ledger, {JOB.id: held.token})
    assert rescue(ledger, held.work, held.token, "lease expired", tickets) is False
    assert ledger.write(lambda tx: jobs.settle(tx, held.work, held.token, None, {})) is True


def test_of_two_reapers_exactly_one_wins(ledger):
    tickets = Tickets()
    held = claimed(ledger, tickets, lease_s=-1)
    barrier = threading.Barrier(4)

    def reap(number):
        with closing(Ledger(ledger.url, actor=f"reaper{number}")) as mine:
            barrier.wait(10)
            return rescue(mine, held.work, held.token, "lease expired", tickets)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(reap, range(4))) == [False, False, False, True]
    assert [ticket.dispatch for ticket in tickets] == [1, 2]
    assert events(ledger, "job.rescued") == ["job.rescued"]


def test_a_reaper_that_looked_long_ago_cannot_take_it_from_the_next_holder(ledger):
    tickets = Tickets()
    held = claimed(ledger, tickets, lease_s=-1)
    rescue(ledger, held.work, held.token, "lease expired", tickets)
    claim(ledger, JOB.id, 2, "worker/2", lease_s=-1)
    before = snapshot(ledger)
    assert rescue(ledger, held.work, held.token, "process gone", tickets) is False
    assert rescue(ledger, held.work, "worker/2", "process gone", tickets) is False, "it saw another hand-over"
    assert snapshot(ledger) == before


def test_the_token_of_a_rescued_holder_is_worth_nothing(ledger):
    tickets = Tickets()
    held = claimed(ledger, tickets, lease_s=-1)
    rescue(ledger, held.work, held.token, "lease expired", tickets)
    before = snapshot(ledger)
    assert renew(ledger, {JOB.id: held.token}) == {JOB.id}
    assert ledger.write(lambda tx: jobs.settle(tx, held.work, held.token, None, {})) is False
    assert ledger.write(lambda tx: jobs.try_again(tx, held.work, held.token, TimedOut("Late."), 1.0, tickets)) is False
    assert claim(ledger, JOB.id, 1, held.token) is None
    with ledger.reading() as tx:
        assert jobs.still_ours(tx, held.work, held.token) is None
        assert jobs.settled_by(tx, held.work, held.token) is False
    assert snapshot(ledger) == before


def test_work_that_the_engine_lost_is_handed_over_once_more(ledger):
    tickets = Tickets()
    ready(ledger, tickets)
    with ledger.reading() as tx:
        work = jobs.find(tx, JOB.id)
    assert rescue(ledger, work, None, "engine lost it", tickets) is True
    assert rescue(ledger, work, None, "engine lost it", tickets) is False
    assert row(ledger, "work")["crashes"] == 0, "nobody crashed"
    assert [ticket.dispatch for ticket in tickets] == [1, 2]


@pytest.mark.parametrize("why", ["process gone", "never claimed"])
def test_work_that_was_claimed_since_the_reaper_looked_stays_with_its_holder(why, ledger):
    tickets = Tickets()
    ready(ledger, tickets)
    with ledger.reading() as tx:
        work = jobs.find(tx, JOB.id)
    held = claim(ledger, JOB.id, 1, "worker/1", lease_s=-1)
    assert rescue(ledger, work, None, why, tickets) is False
    assert ledger.write(lambda tx: jobs.settle(tx, held.work, held.token, None, {})) is True


@pytest.mark.parametrize("error", [None, GeometryError("A gap.")])
def test_settled_work_cannot_be_rescued(error, ledger):
    tickets = Tickets()
    held = claimed(ledger, tickets)
    ledger.write(lambda tx: jobs.settle(tx, held.work, held.token, error, {}))
    before = snapshot(ledger)
    assert rescue(ledger, held.work, held.token, "process gone", tickets) is False
    assert snapshot(ledger) == before


def test_crashes_are_counted_over_rescues_and_forgotten_after_an_orderly_end(ledger):
    tickets = Tickets()
    held = claimed(ledger, tickets, lease_s=-1)
    for number in (2, 3):
        rescue(ledger, held.work, held.token, "lease expired", tickets)
        held = claim(ledger, JOB.id, number, f"worker/{number}", lease_s=-1)
    assert held.work.crashes == 3
    ledger.write(lambda tx: jobs.try_again(tx, held.work, held.token, TimedOut("Late."), 1.0, tickets))
    assert claim(ledger, JOB.id, 4, "worker/4").work.crashes == 1
