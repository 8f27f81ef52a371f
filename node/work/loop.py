"""One piece of work from claim to settlement."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import structlog

from node.core.errors import CodedError, StorageError, Verdict
from node.core.job import Work
from node.ledger import jobs, leases
from node.ledger.engine import Ledger, Transaction
from node.work.engine import Engine
from node.work.lease import Heart
from node.work.retry import RetryPolicy

log = structlog.get_logger(__name__)


class Crashed(CodedError):
    """Something broke that nobody had thought of; the traceback is in the log."""

    code: ClassVar[str] = "CRASHED"
    verdict: ClassVar[Verdict] = Verdict.RETRY


class Poison(CodedError):
    """The work took its worker down too often."""

    code: ClassVar[str] = "POISON"
    verdict: ClassVar[Verdict] = Verdict.FAIL


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """The work goes well, and goes on later: the same attempt, after ``delay_s`` seconds; ``sentence`` says what it waits for."""

    delay_s: float
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a station made of a piece of work, still to be written down.

    Attributes
    ----------
    settle : callable
        Run in the transaction that settles the work. It may run twice when the answer to a COMMIT is lost, and never when the
        lease was lost.
    settled, dropped : callable
        Run after that transaction, when it was committed or when the result came too late.
    error : CodedError or None
        Why the work is not done; its verdict says what happens next.
    pause : Pause or None
        Why it is not done yet, although nothing is wrong.
    summary : mapping
        For the audit log.
    """

    settle: Callable[[Transaction], None] = lambda _tx: None
    settled: Callable[[], None] = lambda: None
    dropped: Callable[[], None] = lambda: None
    error: CodedError | None = None
    pause: Pause | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)


class Loop:
    """Claims work, has it done, settles it.

    Parameters
    ----------
    do : callable
        The station: given the work, it returns an Outcome or raises a CodedError.
    give_up : callable
        Run in the transaction that closes work for good without its being done.
    """

    def __init__(
        self,
        ledger: Ledger,
        engine: Engine,
        heart: Heart,
        policy: RetryPolicy,
        do: Callable[[Work], Outcome],
        give_up: Callable[[Transaction, Work, CodedError], None],
        *,
        identity: str,
        lease_s: float,
    ) -> None:
        self._ledger, self._engine, self._heart, self._policy, self._do, self._give_up = ledger, engine, heart, policy, do, give_up
        self._identity, self._lease_s = identity, lease_s

    def perform(self, work_id: str, dispatch: int) -> None:
        """Do one piece of work; whatever happens to it ends in the ledger, never in an exception."""
        token = f"{self._identity}/{dispatch}"
        work = self._ledger.write(lambda tx: self._claim(tx, work_id, dispatch, token), patience_s=self._lease_s)
        if work is None:
            return
        with self._heart.holding(work.id, token):
            outcome = self._attempt(work)
            self._settle(work, token, outcome)

    def _claim(self, tx: Transaction, work_id: str, dispatch: int, token: str) -> Work | None:
        if not self._engine.admit(tx, work_id, dispatch):
            return None
        work = leases.claim(tx, work_id, dispatch, token, self._lease_s)
        if work is not None:
            self._engine.refill(tx, work.kind, work.destination)
        return work

    def _attempt(self, work: Work) -> Outcome:
        if self._policy.is_poison(work.crashes):
            return Outcome(
                error=Poison(f"The work took its worker down {work.crashes - 1} times; look at its input, then replay.", reason="crashes")
            )
        try:
            return self._do(work)
        except CodedError as error:
            log.warning("work.not_done", kind=work.kind, work_id=work.id, code=error.full_code, sentence=error.sentence)
            return Outcome(error=error)
        except Exception as error:  # the boundary: a traceback for the log, a code for the ledger, and another attempt
            log.exception("work.crashed", kind=work.kind, work_id=work.id)
            return Outcome(
                error=Crashed(f"{type(error).__name__} in {type(error).__module__}; the log has the traceback.", reason="unexpected")
            )

    def _settle(self, work: Work, token: str, outcome: Outcome) -> None:
        delay = self._policy.delay(outcome.error, work.attempt, random.random()) if outcome.error else None  # noqa: S311 - spreads load
        try:
            ours = self._ledger.write(lambda tx: self._write_down(tx, work, token, outcome, delay))
        except StorageError as error:
            # The lease runs out, and another does the work again: it makes the same objects.
            log.error("work.not_settled", kind=work.kind, work_id=work.id, code=error.full_code, sentence=error.sentence)
            return
        (outcome.settled if ours else outcome.dropped)()

    def _write_down(self, tx: Transaction, work: Work, token: str, outcome: Outcome, delay: float | None) -> bool:
        if jobs.settled_by(tx, work, token):
            return True
        if jobs.still_ours(tx, work, token) is None:
            jobs.record_fenced(tx, work)
            return False
        outcome.settle(tx)
        if outcome.error is None and outcome.pause is not None:
            return jobs.put_off(tx, work, token, outcome.pause.sentence, outcome.pause.delay_s, self._engine.dispatch)
        if outcome.error is None or delay is None:
            if outcome.error is not None:
                self._give_up(tx, work, outcome.error)
            settled = jobs.settle(tx, work, token, self._final(work, outcome.error), outcome.summary)
            self._engine.refill(tx, work.kind, work.destination)
            return settled
        return jobs.try_again(tx, work, token, outcome.error, delay, self._engine.dispatch)

    def _final(self, work: Work, error: CodedError | None) -> CodedError | None:
        """Say so when an error that could have passed was given up for the number of its attempts."""
        if error is None or error.verdict is not Verdict.RETRY:
            return error
        # Another error, not this one changed: the transaction may run twice.
        sentence = f"{error.sentence} Given up after {work.attempt} attempts; radnode replay brings it back."
        return type(error)(sentence, reason=error.reason)
