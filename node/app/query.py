"""What is held, for those who ask: the Query and Retrieve services of the listener."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from node.app.remotes import caller_of, remotes_of, tls_of
from node.config import Config
from node.core.errors import StorageError
from node.core.query import Asked, Holding, Subject
from node.dimse.query import QueryService
from node.dimse.retrieve import Destinations, RetrieveService
from node.dimse.scu import Outgoing, read_outgoing
from node.dimse.visit import Service
from node.ledger.engine import Ledger
from node.query.desk import Desk
from node.query.headers import Headers
from node.query.search import Search
from node.spool.spool import Spool

_EXPLICIT = "1.2.840.10008.1.2.1"


def query_services(config: Config, ledger: Ledger, spool: Spool) -> Sequence[Service]:
    """The services that a configuration asks for."""
    if not config.query.enabled:
        return []
    search = Search(ledger, Headers(spool.path), config.node.ae_title)
    desk = Desk(ledger, search, calling_ae=config.query.calling_ae, most_matches=config.query.most_matches)
    destinations = Destinations(caller=caller_of(config), remotes=remotes_of(config), tls=tls_of(config))

    def select(asked: Asked, identifier: Dataset) -> tuple[Subject, Sequence[Outgoing]]:
        subject, found = desk.select(asked, identifier)
        return subject, [_outgoing(spool, holding) for holding in found]

    return [QueryService(desk.find), RetrieveService(select, desk.finish, destinations)]


def _outgoing(spool: Spool, holding: Holding) -> Outgoing:
    """What is to be sent; where the ledger does not know the transfer syntax, the file does."""
    syntax = holding.transfer_syntax_uid or _syntax_of(spool, holding.key)
    return Outgoing(
        path=Path(holding.key),
        sop_class_uid=holding.sop_class_uid,
        sop_instance_uid=holding.sop_instance_uid,
        transfer_syntax_uid=syntax,
        locate=lambda: spool.path(holding.key),
    )


def _syntax_of(spool: Spool, key: str) -> str:
    try:
        found = read_outgoing(spool.path(key))
    except (OSError, StorageError):
        return _EXPLICIT  # sending it will fail, and say so
    return found.transfer_syntax_uid if found else _EXPLICIT
