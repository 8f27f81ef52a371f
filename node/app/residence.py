"""Where a node may live: one host for SQLite, a local disk for whatever relies on fsync and locks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from node.config import Config
from node.core.errors import StorageError, WrongPlace
from node.ledger import hosts
from node.ledger.engine import Ledger, file_of
from node.spool.mounts import network_file_system
from node.work.identity import machine

log = structlog.get_logger(__name__)

_MOUNTS = Path("/proc/self/mountinfo")


def check_place(config: Config, mounts: str = "") -> None:
    """Refuse a network file system for the ledger's file and for the journal; see `faults_of_place`.

    Raises
    ------
    WrongPlace
        If one of them lies there.
    """
    for fault in faults_of_place(config, mounts):
        raise fault


def faults_of_place(config: Config, mounts: str = "") -> Iterator[WrongPlace]:
    """Find whatever lies on a network file system and must not.

    Parameters
    ----------
    mounts : str, optional
        What the kernel says is mounted, if that was read already.
    """
    mounts = mounts or _MOUNTS.read_text(encoding="utf-8", errors="replace")
    file = file_of(config.database_url)
    if file is not None and (kind := network_file_system(file, mounts)):
        sentence = (
            f"SQLite would lie on a network file system ({kind}), where it loses data: put {file} on a local disk, or use PostgreSQL."
        )
        yield WrongPlace(sentence, reason="network_file_system")
    if kind := network_file_system(config.node.data, mounts):
        yield WrongPlace(
            f"Instances would be received on a network file system ({kind}), which may not keep what it said it had. Put node.data "
            f"({config.node.data}) on a local disk, and what several hosts need into [store].",
            reason="network_file_system",
        )


@contextmanager
def resident(ledger: Ledger) -> Iterator[None]:
    """Say that this host uses the ledger, again and again while the block runs.

    Raises
    ------
    WrongPlace
        If another host uses it that it cannot be shared with.
    """
    name, boot, _ = machine()
    ledger.write(lambda tx: hosts.enter(tx, name, boot, alone=ledger.is_sqlite))
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(hosts.LEASE_S / 4):
            try:
                with ledger.beating() as tx:
                    hosts.renew(tx, name)
            except StorageError as error:
                log.warning("host.not_renewed", code=error.full_code, sentence=error.sentence)

    thread = threading.Thread(target=renew, name="residence", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
