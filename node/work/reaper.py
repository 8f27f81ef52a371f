"""Finding work whose worker is gone, and handing it to another: the failure detector."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from node.core.errors import StorageError
from node.core.job import Work
from node.ledger import jobs, leases, schedule
from node.ledger.engine import Ledger
from node.work.engine import Dispatched, Engine
from node.work.identity import is_gone

log = structlog.get_logger(__name__)

PROCESS_GONE = "process gone"
CLOCK_STEPPED_BACK = "clock stepped back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Longest:
    """What no time in the ledger can be ahead of its clock by, unless the clock was stepped back since.

    Attributes
    ----------
    lease_s : float
        The longest lease of any role.
    delay_s : float
        The longest delay before an attempt.
    """

    lease_s: float
    delay_s: float


class Reaper:
    """Compares the work table with the engine and with the leases, for ever.

    Parameters
    ----------
    is_steady : callable
        Whether we are fit to judge others; see ``Heart.is_steady``.
    longest : Longest
        By which a clock is noticed that was stepped back.
    """

    def __init__(self, ledger: Ledger, engine: Engine, lease_s: float, is_steady: Callable[[], bool], longest: Longest) -> None:
        self._ledger, self._engine, self._lease_s, self._is_steady, self._longest = ledger, engine, lease_s, is_steady, longest

    def run(self, stop: threading.Event) -> None:
        """Sweep four times a lease, but at least once in five seconds, until ``stop`` is set."""
        while not stop.wait(min(self._lease_s / 4, 5.0)):
            try:
                self.sweep()
            except StorageError as error:
                log.warning("reaper.postponed", code=error.full_code, sentence=error.sentence)

    def sweep(self) -> int:
        """Rescue what needs it; return how many were rescued."""
        with self._ledger.reading() as tx:
            found = jobs.in_hand(tx)
            waiting = next(schedule.lines(tx), None) is not None
            now = jobs.clock(tx)  # behind the rows: a lease that was renewed meanwhile must not look as if it were ahead of the clock
        tickets = {work.id: jobs.ticket_of(work).workflow_id for work, *_ in found}
        known = self._engine.look(tickets.values())
        self._shorten(now, [until for _, state, until, _ in found if state == "running" and until is not None])
        rescued = 0
        for work, state, until, token in found:
            why = self._why(state, until, token, known.get(tickets[work.id]), now)
            if why is not None:
                rescued += self._rescue(work, token, why, tickets[work.id])
        if waiting:
            self._ledger.write(self._engine.refill_all, patience_s=self._lease_s)
        return rescued

    def _shorten(self, now: datetime, ends: Iterable[datetime]) -> None:
        """Cut leases back that were given before the clock was: a worker that died with one must not keep its work until then."""
        if any(end > now + timedelta(seconds=self._longest.lease_s) for end in ends):
            with self._ledger.beating() as tx:
                log.warning("clock.stepped_back", leases=leases.shorten(tx, self._longest.lease_s))

    def _why(self, state: str, until: datetime | None, token: str | None, known: Dispatched | None, now: datetime) -> str | None:
        """Why the work needs another worker, or None when it does not."""
        if state == "running":
            if token is not None and is_gone(token):
                return PROCESS_GONE
            return "lease expired" if until is not None and until < now and self._is_steady() else None
        if known is None:
            return "engine lost it" if self._is_steady() else None
        if known.waits:
            return CLOCK_STEPPED_BACK if known.due_at is not None and self._is_ahead(known.due_at, now, self._longest.delay_s) else None
        return self._why_never_claimed(known, now)

    def _why_never_claimed(self, known: Dispatched, now: datetime) -> str | None:
        """Why a ticket that left the queue has not led to a claim: its process died in between, or the answer to its dequeue was lost."""
        if is_gone(known.holder):
            return PROCESS_GONE
        if not self._is_steady():
            return None
        if known.given_at is None:
            return "engine lost it"
        if self._is_ahead(known.given_at, now, self._lease_s):
            return CLOCK_STEPPED_BACK
        late = datetime.fromtimestamp(known.given_at, tz=now.tzinfo) + timedelta(seconds=self._lease_s)
        return "never claimed" if late < now else None

    @staticmethod
    def _is_ahead(epoch: float, now: datetime, most_s: float) -> bool:
        return epoch - now.timestamp() > most_s

    def _rescue(self, work: Work, token: str | None, why: str, workflow_id: str) -> bool:
        self._engine.cancel(workflow_id)
        rescued = self._ledger.write(lambda tx: leases.rescue(tx, work, token, why, self._engine.dispatch))
        if rescued:
            log.warning("work.rescued", work_id=work.id, why=why, holder=token)
        return rescued
