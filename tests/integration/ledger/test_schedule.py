"""What is handed to the engine: the first few by rank, within the limits, and nothing that is held."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from node.core.job import Priority
from node.core.schedule import Limits
from node.ledger import holds, jobs, leases, schedule, schema
from node.ledger.schedule import WINDOW, Line
from tests.integration.ledger.made import JOB, Tickets, accept, complete, enqueue, events, execute, make_instance, row

INFER = Line(kind="infer")


def job(number, pipeline="ct_lungs", study="1.2.3"):
    return replace(JOB, study_instance_uid=study, series_instance_uids=(f"1.2.{number}",), pipeline=pipeline)


def put(ledger, *made, priority=Priority.ROUTINE):
    for one in made:
        enqueue(ledger, Tickets(), one, priority)
    return [one.id for one in made]


def release(ledger, limits=None, line=INFER):
    return [ticket.work_id for ticket in ledger.write(lambda tx: schedule.release(tx, line, limits or Limits()))]


def begin(ledger, work_id):
    """Claim as a worker does."""
    dispatch = row(ledger, "work", id=work_id)["dispatch"]
    return ledger.write(lambda tx: leases.claim(tx, work_id, dispatch, f"w/{work_id}", 60.0))


def admits(ledger, work_id, limits=None, device="host/cpu"):
    dispatch = row(ledger, "work", id=work_id)["dispatch"]
    return ledger.write(lambda tx: schedule.admits(tx, work_id, dispatch, limits or Limits(), device))


def set_source(ledger, work_id, source):
    execute(ledger, "UPDATE work SET lane = :lane WHERE id = :id", lane=f"ct_lungs|{source}", id=work_id)


def test_only_the_first_few_are_handed_over_and_the_next_when_one_begins(ledger):
    ids = put(ledger, *(job(number) for number in range(WINDOW + 3)))
    assert sorted(release(ledger)) == sorted(set(ids) - {row["id"] for row in waiting(ledger)})
    assert len(waiting(ledger)) == 3
    assert release(ledger) == []
    begun = next(work_id for work_id in ids if row(ledger, "work", id=work_id)["handed_at"])
    assert begin(ledger, begun)
    assert len(release(ledger)) == 1
    assert len(waiting(ledger)) == 2


def waiting(ledger):
    with ledger.reading() as tx:
        return [dict(one) for one in tx.execute(sa.select(schema.work).where(sa.text(schema.WAITING))).mappings()]


def test_what_is_more_urgent_overtakes_those_that_the_engine_has_already(ledger):
    put(ledger, *(job(number) for number in range(WINDOW + 3)))
    release(ledger)
    (stat,) = put(ledger, job("stat"), priority=Priority.STAT)
    (background,) = put(ledger, job("late"), priority=Priority.BACKGROUND)
    (ticket,) = ledger.write(lambda tx: schedule.release(tx, INFER, Limits()))
    assert ticket.work_id == stat
    assert 0 < ticket.priority < 2**31
    assert background in {one["id"] for one in waiting(ledger)}


def test_what_waits_longest_of_one_priority_goes_first_and_time_counts(ledger):
    old = replace(job("old"), queued_at=JOB.queued_at - timedelta(hours=5))
    (urgent,) = put(ledger, job("urgent"), priority=Priority.URGENT)
    put(ledger, old)
    (stat,) = put(ledger, job("stat"), priority=Priority.STAT)
    assert release(ledger) == [stat, old.id, urgent]


def test_a_pipeline_has_no_more_jobs_under_way_than_its_limit_and_the_others_go_on(ledger):
    first = put(ledger, *(job(number, "slow") for number in range(5)))
    other = put(ledger, job("x", "fast"))
    limits = Limits(pipelines={"slow": 2})
    released = release(ledger, limits)
    assert len(set(first) & set(released)) == 2
    assert set(other) <= set(released)
    assert begin(ledger, next(iter(set(first) & set(released))))
    assert release(ledger, limits) == [], "one runs and one is on its way"
    assert len(release(ledger)) == 3, "without the limit they would go"


def test_a_sender_has_no_more_jobs_under_way_than_its_limit(ledger):
    ids = put(ledger, *(job(number) for number in range(4)))
    for number, work_id in enumerate(ids):
        set_source(ledger, work_id, "CT1" if number < 3 else "CT2")
    released = release(ledger, Limits(per_source=1))
    assert len(released) == 2
    assert ids[3] in released


def test_what_was_handed_over_in_vain_is_refused_at_the_door_and_handed_over_later(ledger):
    accept(ledger, make_instance())
    complete(ledger)
    first, second = put(ledger, job(1), job(2))
    release(ledger)
    limits = Limits(per_pipeline=1)
    assert admits(ledger, first, limits)
    assert begin(ledger, first)
    before = row(ledger, "work", id=second)["dispatch"]
    assert admits(ledger, second, limits) is False
    found = row(ledger, "work", id=second)
    assert (found["handed_at"], found["dispatch"]) == (None, before + 1), "its old ticket claims nothing any more"
    assert release(ledger, limits) == []
    with ledger.writing() as tx:
        work = jobs.find(tx, first)
        assert jobs.settle(tx, work, f"w/{first}", None, {})
    assert release(ledger, limits) == [second]


def test_a_device_runs_no_more_than_its_limit(ledger):
    first, second = put(ledger, job(1), job(2))
    release(ledger)
    limits = Limits(per_device=1)
    assert admits(ledger, first, limits)
    assert begin(ledger, first)
    assert row(ledger, "work", id=first)["device"] == "host/cpu"
    assert admits(ledger, second, limits, "other/cpu") is True
    assert admits(ledger, second, limits) is None
    assert row(ledger, "work", id=second)["handed_at"] is None


@pytest.mark.parametrize(("kind", "name", "stopped"), [("everything", "", 2), ("pipeline", "slow", 1), ("pipeline", "none", 0)])
def test_nothing_of_what_is_held_is_handed_over_or_begun(kind, name, stopped, ledger):
    ids = put(ledger, job(1, "slow"), job(2, "fast"))
    with ledger.writing() as tx:
        assert holds.put(tx, kind, name, "anna@ws1", "maintenance")
        assert not holds.put(tx, kind, name, "anna@ws1", "again")
    assert len(release(ledger)) == 2 - stopped
    with ledger.writing() as tx:
        assert holds.lift(tx, kind, name, "anna@ws1")
        assert not holds.lift(tx, kind, name, "anna@ws1")
    release(ledger)
    assert all(row(ledger, "work", id=work_id)["handed_at"] for work_id in ids)
    with ledger.writing() as tx:
        holds.put(tx, kind, name, "anna@ws1", "")
        assert schedule.take_back(tx, holds.covers(kind, name)) == stopped
    assert [admits(ledger, work_id) for work_id in ids].count(True) == 2 - stopped or stopped == 0
    assert events(ledger, "schedule.") == ["schedule.paused", "schedule.resumed", "schedule.paused"]


def test_what_was_handed_over_before_the_hold_does_not_begin(ledger):
    (work_id,) = put(ledger, job(1))
    release(ledger)
    with ledger.writing() as tx:
        holds.put(tx, "pipeline", "ct_lungs", "anna@ws1", "")
    assert admits(ledger, work_id) is False


def test_what_is_put_off_is_in_hand_and_takes_no_place_of_those_that_are_due(ledger):
    ids = put(ledger, *(job(number) for number in range(WINDOW)))
    for work_id in ids:
        ticket = ledger.write(lambda tx, it=work_id: schedule.put_off(tx, it, 60.0))
        assert (ticket.work_id, ticket.delay_s) == (work_id, 60.0)
    assert ledger.write(lambda tx: schedule.put_off(tx, ids[0], 60.0)) is None
    later = put(ledger, job("later"))
    assert release(ledger) == later


def test_the_next_is_found_by_an_index_however_many_wait(ledger):
    put(ledger, job(1))
    question = f"SELECT rank FROM work WHERE kind = 'infer' AND lane = 'a|b' AND {schema.WAITING} ORDER BY rank LIMIT 1"
    in_hand = "SELECT rank FROM work WHERE kind = 'infer' AND state != 'running' AND work.handed_at IS NOT NULL"
    with ledger.writing() as tx:
        if not ledger.is_sqlite:
            tx.execute(sa.text("SET LOCAL enable_seqscan = off"))
        for text, index in ((question, "ix_work_waiting"), (in_hand, "ix_work_in_hand")):
            prefix = "EXPLAIN QUERY PLAN" if ledger.is_sqlite else "EXPLAIN"
            plan = " ".join(str(line) for line in tx.execute(sa.text(f"{prefix} {text}")).all())
            assert index in plan
            assert "Sort" not in plan
            assert "TEMP B-TREE" not in plan
