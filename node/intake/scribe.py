"""The scribe: what the listener's threads have made durable on disk is written into the ledger, many rows in one transaction.

A file that lies fsynced and sealed in ``incoming/`` is the journal. Its final name and its row follow within milliseconds, and are made up
for before the port opens again should the process die in between (``adopt``). So a commit of the database never stands between a
sender and its answer, and a database that is away for a while holds nobody up.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby

import structlog

from node.core.errors import NotEnoughDisk, StorageError
from node.core.study import Accepted
from node.ledger import instances
from node.ledger.engine import Ledger, Transaction
from node.spool.draft import Draft

log = structlog.get_logger(__name__)

_MOST_IN_ONE = 500
#: How many facts may wait for a database that is away, before senders are told to come again.
_MOST_WAITING = 20_000
#: A batch may gather for this long: long enough to share a commit, short against everything that waits for the rows.
_GATHER_S = 0.05
#: While so many more come in that time, it gathers on, for so long at most: the rows of a stream wait for its end in any case.
_MANY, _GATHER_AT_MOST_S = 16, 0.25
#: A disk that gives no names is asked again after this.
_DISK_AGAIN_S = 1.0


def _nothing(_tx: Transaction) -> None:
    """Write nothing: the fact is an accepted instance, and these are written together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fact:
    """Something that is to be written down, and what to do when it is.

    Attributes
    ----------
    accepted : Accepted or None
        An instance that was answered Success; all of a batch are written by few statements.
    write : callable
        For any other fact.
    draft : Draft or None
        Bytes that belong to it: they get their final name before, and leave ``incoming/`` behind, the commit.
    """

    accepted: Accepted | None = None
    write: Callable[[Transaction], None] = _nothing
    draft: Draft | None = None
    done: Future[None] = field(default_factory=Future)


class Scribe(threading.Thread):
    """Writes facts in the order in which they were handed over.

    Parameters
    ----------
    keep : callable
        Has drafts lie durably where they are to stay; it may be asked again.
    """

    def __init__(self, ledger: Ledger, keep: Callable[[Sequence[Draft]], None]) -> None:
        super().__init__(name="scribe", daemon=True)
        self._ledger, self._keep = ledger, keep
        self._pause = threading.Event()
        self._facts: queue.Queue[Fact | None] = queue.Queue()

    def check_room(self) -> None:
        """Ask before anything is made durable: what is handed over is never refused.

        Raises
        ------
        NotEnoughDisk
            If too many facts wait already, because the database does not answer.
        """
        if self._facts.qsize() >= _MOST_WAITING:
            raise NotEnoughDisk("The database has not answered for too long; mend it, then send again.", reason="database")

    def hand_over(self, fact: Fact) -> Future[None]:
        """Have ``fact`` written soon; the future says when it is."""
        self._facts.put(fact)
        return fact.done

    def stop(self, patience_s: float = 20.0) -> None:
        """Write what was handed over, then end; when the database stays away, leave it to the next start."""
        self._facts.put(None)
        self.join(patience_s)

    def run(self) -> None:
        """Write batch after batch."""
        while (first := self._facts.get()) is not None:
            self._gather()
            batch = [first]
            while len(batch) < _MOST_IN_ONE and not self._facts.empty():
                fact = self._facts.get()
                if fact is None:
                    self._write(batch)
                    return
                batch.append(fact)
            self._write(batch)

    def _gather(self) -> None:
        """Wait for what shares the commit."""
        until, waiting = time.monotonic() + _GATHER_AT_MOST_S, 0
        while time.monotonic() < until and waiting < _MOST_IN_ONE:
            self._pause.wait(_GATHER_S)
            before, waiting = waiting, self._facts.qsize()
            if waiting - before < _MANY:
                return

    def _write(self, batch: Sequence[Fact]) -> None:
        drafts = [fact.draft for fact in batch if fact.draft is not None]
        while True:
            try:
                self._keep(drafts)
                self._ledger.write(lambda tx: _write_down(tx, batch))
                break
            except StorageError as error:
                log.warning("scribe.waiting", code=error.full_code, sentence=error.sentence, facts=len(batch))
                self._pause.wait(_DISK_AGAIN_S)
            except Exception as error:  # noqa: BLE001 - the boundary: one fact that cannot be written must not take the others with it
                if not isinstance(error, OSError) or isinstance(error, FileNotFoundError):
                    self._write_apart(batch, error)
                    return
                log.warning("scribe.waiting", error=type(error).__name__, sentence=error.strerror, facts=len(batch))
                self._pause.wait(_DISK_AGAIN_S)
        for fact in batch:
            try:
                if fact.draft is not None:
                    fact.draft.settle()
            except OSError as error:  # the link stays, and is taken away at the next start: the row is what counts
                log.warning("scribe.unsettled", error=type(error).__name__)
            fact.done.set_result(None)

    def _write_apart(self, batch: Sequence[Fact], error: Exception) -> None:
        if len(batch) > 1:
            for fact in batch:
                self._write([fact])
            return
        # The file stays in incoming/: whoever mends the cause starts the listener again, and the fact is written then.
        log.error("scribe.failed", error=type(error).__name__, exc_info=error)
        batch[0].done.set_exception(error)


def _write_down(tx: Transaction, batch: Sequence[Fact]) -> None:
    for together, facts in groupby(batch, key=lambda fact: fact.accepted is not None):
        if together:
            instances.accept_all(tx, [fact.accepted for fact in facts if fact.accepted is not None])
        else:
            for fact in facts:
                fact.write(tx)
