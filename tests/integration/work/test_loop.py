"""One piece of work from claim to settlement, also when the database takes a commit and its answer is lost."""

from contextlib import closing, contextmanager

import pytest

from node.core.errors import BundleMissing, DeviceLost, GeometryError, StorageError
from node.ledger import leases
from node.ledger.audit import record
from node.ledger.engine import Ledger
from node.work.lease import Heart
from node.work.loop import Loop, Outcome
from node.work.retry import RetryPolicy


class Forgetful(Ledger):
    """A ledger that commits, and then says that it does not know: as often as ``lose`` was told to."""

    lost = lose_whole = 0

    @contextmanager
    def writing(self):
        with super().writing() as tx:
            yield tx
            if self.lose_whole:
                self.lose_whole -= 1
                raise StorageError("The COMMIT itself was lost.", reason="database")
        if self.lost:
            self.lost -= 1
            raise StorageError("The answer to the COMMIT was lost.", reason="database")


class Bench:
    """A loop around whatever a test wants done, and what it reported."""

    def __init__(self, node, ledger):
        self.node, self.ledger, self.said = node, ledger, []
        self.do = self.succeed
        heart = Heart(ledger, 60.0, self.said.append)
        policy = RetryPolicy(attempts=2, crashes=2, first_s=0.001, most_s=0.001)
        self.loop = Loop(ledger, node.engine, heart, policy, self.call, self.give_up, identity="host/b/n/1/x", lease_s=60.0)

    def call(self, work):
        return self.do(work)

    def succeed(self, work):
        return self.outcome()

    def give_up(self, tx, work, error):
        record(tx, "test.given_up", {"code": error.full_code})

    def outcome(self, **more):
        return Outcome(
            settle=lambda tx: record(tx, "test.result", {"by": "loop", "pipeline": "job"}),
            settled=lambda: self.said.append("settled"),
            dropped=lambda: self.said.append("dropped"),
            **more,
        )

    def perform(self, dispatch=1):
        self.loop.perform(self.node.job("job").id, dispatch)
        return self.node.row("job")

    def events(self):
        return [row.event for row in self.node.events() if row.work_id or row.event.startswith("test.")]


@pytest.fixture
def bench(node):
    node.enqueue("job")
    with closing(Forgetful(node.url, actor="loop")) as ledger:
        yield Bench(node, ledger)


def failing(error):
    def do(work):
        raise error

    return do


def test_what_is_done_is_settled_once(bench):
    assert bench.perform()["state"] == "done"
    assert bench.perform()["state"] == "done"
    assert bench.said == ["settled"]
    assert bench.events() == ["job.queued", "job.claimed", "test.result", "job.finished"]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_an_answer_to_a_commit_that_is_lost_changes_nothing(times, bench):
    bench.ledger.lost = times
    assert bench.perform()["state"] == "done"
    assert bench.said == ["settled"]
    assert bench.events() == ["job.queued", "job.claimed", "test.result", "job.finished"]


def test_the_answer_to_the_commit_of_the_settlement_may_be_lost(bench):
    def do(work):
        bench.ledger.lost = 2
        return bench.outcome()

    bench.do = do
    assert bench.perform()["state"] == "done"
    assert bench.said == ["settled"], "and the files of the result stay"
    assert bench.events().count("test.result") == 1


def test_the_answer_to_the_commit_of_a_retry_may_be_lost(bench):
    def do(work):
        bench.ledger.lost = 1
        raise DeviceLost("Gone.")

    bench.do = do
    found = bench.perform()
    assert (found["state"], found["attempt"], found["dispatch"]) == ("queued", 2, 2)
    assert bench.events() == ["job.queued", "job.claimed", "job.retried"]


@pytest.mark.parametrize(
    ("error", "state"), [(GeometryError("A gap.", reason="gap"), "refused"), (BundleMissing("None."), "failed")], ids=["refused", "failed"]
)
def test_what_would_not_get_better_is_given_up_at_once(error, state, bench):
    bench.do = failing(error)
    found = bench.perform()
    assert (found["state"], found["code"], found["reason"]) == (state, error.full_code, error.sentence)
    assert bench.events() == ["job.queued", "job.claimed", "test.given_up", f"job.{state}"]


def test_what_may_get_better_is_tried_as_often_as_the_policy_says(bench):
    bench.do = failing(DeviceLost("The process died.", reason="process"))
    assert bench.perform(1)["state"] == "queued"
    found = bench.perform(2)
    assert (found["state"], found["code"]) == ("failed", "DEVICE_LOST.process")
    assert found["reason"] == "The process died. Given up after 2 attempts; radnode replay brings it back."
    assert bench.events()[-3:] == ["job.claimed", "test.given_up", "job.failed"]


def test_the_reason_is_told_once_although_the_transaction_was_taken_back_and_tried_again(bench):
    def do(work):
        bench.ledger.lose_whole = work.attempt - 1
        raise DeviceLost("The process died.")

    bench.do = do
    bench.perform(1)
    found = bench.perform(2)
    assert bench.ledger.lose_whole == 0
    assert found["reason"] == "The process died. Given up after 2 attempts; radnode replay brings it back."


def test_what_nobody_thought_of_is_tried_again_under_a_code_of_its_own_and_quotes_nothing(bench):
    bench.do = failing(ZeroDivisionError("PATIENT^NAME"))
    found = bench.perform()
    assert (found["state"], found["code"]) == ("queued", "CRASHED.unexpected")
    assert "ZeroDivisionError" in found["reason"]
    assert "PATIENT" not in repr([bench.node.row("job"), bench.node.events()])


def test_a_result_that_is_too_late_is_dropped(bench):
    def do(work):
        with bench.node.ledger.writing() as tx:
            assert leases.rescue(tx, work, "host/b/n/1/x/1", "process gone", bench.node.engine.dispatch)
        return bench.outcome()

    bench.do = do
    assert bench.perform()["state"] == "queued"
    assert bench.said == ["dropped"]
    assert bench.events() == ["job.queued", "job.claimed", "job.rescued", "job.fenced"]


def test_an_outcome_with_an_error_is_written_down_with_what_it_brings(bench):
    bench.do = lambda work: bench.outcome(error=DeviceLost("Half of it."))
    assert bench.perform()["state"] == "queued"
    assert bench.events() == ["job.queued", "job.claimed", "test.result", "job.retried"]
    assert bench.said == ["settled"]


def test_what_took_its_workers_down_is_not_begun_again(bench):
    begun = []
    bench.do = begun.append
    work_id = bench.node.job("job").id
    for dispatch in (1, 2):
        with bench.node.ledger.writing() as tx:
            work = leases.claim(tx, work_id, dispatch, f"dead/{dispatch}", 60)
            assert leases.rescue(tx, work, f"dead/{dispatch}", "process gone", bench.node.engine.dispatch)
    found = bench.perform(3)
    assert begun == []
    assert (found["state"], found["code"]) == ("failed", "POISON.crashes")
