"""Retention, put together: what the ledger says may go is forgotten there first, and then goes from the spool."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from node.config import Config
from node.core.errors import StorageError
from node.core.retention import Ripe, Terms
from node.ledger import purges
from node.ledger.engine import Ledger
from node.spool.spool import Spool

log = structlog.get_logger(__name__)

_DAY_S = 86400.0


class Sweeper:
    """Lets go of what may go.

    Parameters
    ----------
    full, until : float
        When the spool is fuller than ``full`` (0 to 1), what was delivered goes before its time, until it is as full as ``until``; with
        0 never.
    """

    def __init__(self, ledger: Ledger, spool: Spool, terms: Terms, *, full: float, until: float) -> None:
        self._ledger, self._spool, self._terms, self._full, self._until = ledger, spool, terms, full, until

    def plan(self) -> list[Ripe]:
        """What would go now by its age."""
        with self._ledger.reading() as tx:
            return purges.ripe(tx, self._terms)

    def sweep(self) -> int:
        """Let go of it, and of more where the disk is full; return how many objects went.

        Raises
        ------
        StorageError
            If the ledger or the store does not answer; what was forgotten goes with the next sweep.
        """
        self._empty()
        count = sum(self._purge(one, emergency=False) for one in self.plan())
        return count + self._relieve()

    def _relieve(self) -> int:
        """The emergency order: study by study, what was delivered longest ago first."""
        if not self._full or not self._is_above(self._full):
            return 0
        log.warning("disk.full", above_percent=round(self._full * 100))
        with self._ledger.reading() as tx:
            delivered = purges.ripe(tx, self._terms, emergency=True)
        count = 0
        for one in delivered:
            if not self._is_above(self._until):
                return count
            count += self._purge(one, emergency=True)
        if self._is_above(self._full):
            log.error("disk.full", sentence="Nothing more may go: what is left is not delivered, or is younger than an hour.")
        return count

    def _is_above(self, level: float) -> bool:
        fill = self._spool.fill()
        return fill is not None and fill > level

    def _purge(self, one: Ripe, *, emergency: bool) -> int:
        count = self._ledger.write(lambda tx: purges.purge(tx, one, self._terms, emergency=emergency))
        self._empty()
        if count:
            log.info("bytes.purged", study_instance_uid=one.study_instance_uid, what=one.what, rule=one.rule, objects=count)
        return count

    def _empty(self) -> None:
        """Delete the bytes that the ledger has forgotten."""
        while True:
            with self._ledger.reading() as tx:
                keys = purges.waste(tx)
            if not keys:
                return
            for key in keys:
                self._spool.delete(key)
            with self._ledger.beating() as tx:
                purges.gone(tx, keys)


def sweeper_of(config: Config, ledger: Ledger, spool: Spool) -> Sweeper:
    """The sweeper that a configuration asks for."""
    section = config.retention
    days = {name: getattr(section, f"{name}_days") for name in ("source", "result", "unused", "failed", "quarantine")}
    # In this order each promises less than the one before; what is in shadow mode is owed to nobody.
    ways = ("committed", "found", "sent")
    confirmed = (*ways[: ways.index(section.confirmed) + 1], "shadow")
    terms = Terms(**{f"{name}_s": value * _DAY_S for name, value in days.items() if value}, confirmed=confirmed)
    return Sweeper(ledger, spool, terms, full=section.full_percent / 100, until=section.until_percent / 100)


@contextmanager
def sweeping(config: Config, ledger: Ledger, spool: Spool) -> Iterator[None]:
    """Sweep again and again, in a thread, while the block runs."""
    sweeper, stop = sweeper_of(config, ledger, spool), threading.Event()

    def run() -> None:
        while not stop.wait(config.retention.sweep_s):
            try:
                sweeper.sweep()
            except (StorageError, OSError) as error:
                log.warning("purge.postponed", error=type(error).__name__)

    thread = threading.Thread(target=run, name="retention", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
