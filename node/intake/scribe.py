"""The scribe: what the listener's threads have made durable on disk is written into the ledger, many rows in one transaction.

A file that lies fsynced under its final name, with its second link in ``incoming/``, is the journal; the row follows within
milliseconds, and is rebuilt from the file before the port opens again should the process die in between (``adopt``). So a
commit of the database never stands between a sender and its answer, and a database that is away for a while holds nobody up.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby

import structlog

from node.core.errors import NotEnoughDisk, StorageError
from node.core.study import Accepted
from node.ledger import instances
from node.ledger.engine import Ledger, Transaction

log = structlog.get_logger(__name__)

_MOST_IN_ONE = 500
#: How many facts may wait for a database that is away, before senders are told to come again.
_MOST_WAITING = 20_000
#: A batch may gather for this long: long enough to share a commit, short against everything that waits for the rows.
_GATHER_S = 0.05


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
    written : callable
        Called when the transaction is committed.
    """

    accepted: Accepted | None = None
    write: Callable[[Transaction], None] = _nothing
    written: Callable[[], None] = lambda: None
    done: Future[None] = field(default_factory=Future)


class Scribe(threading.Thread):
    """Writes facts in the order in which they were handed over."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(name="scribe", daemon=True)
        self._ledger = ledger
        self._facts: queue.Queue[Fact | None] = queue.Queue(_MOST_WAITING)

    def hand_over(self, fact: Fact) -> Future[None]:
        """Have ``fact`` written soon; the future says when it is.

        Raises
        ------
        NotEnoughDisk
            If too many wait already, because the database does not answer.
        """
        try:
            self._facts.put_nowait(fact)
        except queue.Full as error:
            raise NotEnoughDisk("The database has not answered for too long; mend it, then send again.", reason="database") from error
        return fact.done

    def stop(self, patience_s: float = 20.0) -> None:
        """Write what was handed over, then end; when the database stays away, leave it to the next start."""
        with suppress(queue.Full):
            self._facts.put(None, timeout=patience_s)
            self.join(patience_s)

    def run(self) -> None:
        """Write batch after batch."""
        pause = threading.Event()
        while (first := self._facts.get()) is not None:
            pause.wait(_GATHER_S)
            batch = [first]
            while len(batch) < _MOST_IN_ONE and not self._facts.empty():
                fact = self._facts.get()
                if fact is None:
                    self._write(batch)
                    return
                batch.append(fact)
            self._write(batch)

    def _write(self, batch: Sequence[Fact]) -> None:
        while True:
            try:
                self._ledger.write(lambda tx: _write_down(tx, batch))
            except StorageError as error:
                log.warning("scribe.waiting", code=error.full_code, sentence=error.sentence, facts=len(batch))
            except Exception as error:  # noqa: BLE001 - the boundary: one fact that cannot be written must not take the others with it
                self._write_apart(batch, error)
                return
            else:
                break
        for fact in batch:
            try:
                fact.written()
            except OSError as error:  # the second link stays, and is taken away at the next start: the row is what counts
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
