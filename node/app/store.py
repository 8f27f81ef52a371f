"""The spool that a configuration asks for."""

from __future__ import annotations

from contextlib import AbstractContextManager

from node.config import Config
from node.ledger import hosts
from node.ledger.engine import Ledger
from node.spool.bucket import Bucket, Place
from node.spool.folder import SharedFolder
from node.spool.local import LocalSpool
from node.spool.remote import RemoteSpool, Store
from node.spool.spool import Spool


def open_spool(config: Config, owner: str) -> AbstractContextManager[Spool]:
    """Open the spool, with a place for ``owner`` in its journal."""
    section, local = config.store, LocalSpool(config.node.data / "spool", owner)
    if section.kind == "local":
        return local
    store: Store = Bucket(_place_of(config)) if section.kind == "s3" else SharedFolder(section.folder)
    return RemoteSpool(local, store, section.cache_bytes)


def settle_in(config: Config, ledger: Ledger, spool: Spool) -> None:
    """Make sure that the spool is the one in which the ledger's bytes lie.

    Raises
    ------
    WrongPlace
        If it is not.
    """
    found = spool.marker()  # asked before, so that a store which is away holds up nobody who writes

    def marker() -> str | None:
        return found if found is not None else spool.marker()

    ledger.write(lambda tx: hosts.settle_in(tx, config.store.kind, _words(config), marker, spool.mark))


def _words(config: Config) -> str:
    section = config.store
    if section.kind == "s3":
        return f"s3://{section.bucket}/{section.prefix}"[:255]
    return str(section.folder if section.kind == "folder" else config.node.data / "spool")[-255:]


def _place_of(config: Config) -> Place:
    section = config.store
    return Place(
        bucket=section.bucket,
        prefix=section.prefix,
        endpoint=section.endpoint,
        region=section.region,
        access_key=section.access_key.get_secret_value(),
        secret_key=section.secret_key.get_secret_value(),
        connect_s=section.connect_s,
        answer_s=section.answer_s,
    )
