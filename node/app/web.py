"""The role that receives by HTTP. What is complete is judged by the listeners; this one says what it still holds open."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack

import structlog

from node.app.desk import open_desk
from node.app.role import DRAIN_S, Role
from node.config import Config
from node.core.errors import ConfigError, StorageError
from node.dimse.tls import server_context
from node.intake.presence import Presence
from node.intake.receive import Receiver
from node.ledger import instances, studies
from node.ledger.engine import Ledger
from node.ledger.inquiry import Inquiry
from node.web.door import Client, Door
from node.web.server import Server

log = structlog.get_logger(__name__)


def run(config: Config, stop: threading.Event) -> None:
    """Receive by HTTP until ``stop`` is set.

    Raises
    ------
    ConfigError
        If the configuration does not ask for it.
    StorageError
        If the port cannot be had.
    """
    if not config.web.enabled:
        raise ConfigError("web.enabled is false: nothing may come in by HTTP.")
    sys.setswitchinterval(0.0001)  # as in the listener, for the same reason
    with ExitStack() as stack:
        role, presence = Role(config, "web", stack), Presence()
        desk = stack.enter_context(open_desk(role, presence))
        inquiry = Inquiry(role.ledger, instances.HELD)
        stack.callback(inquiry.close)
        server = Server(_door(config), Receiver(desk), desk.room.is_there, lambda: _is_well(inquiry), DRAIN_S)
        server.start()
        stack.callback(server.stop)
        with role.ledger.beating() as tx:
            studies.hold_all_open(tx)
        while server.is_running() and not stop.wait(config.assemble.sweep_s):
            hold_open(role.ledger, presence)


def hold_open(ledger: Ledger, presence: Presence) -> None:
    """Keep the listeners from completing what requests that are still open have brought something of."""
    held = presence.studies()
    if not held:
        return
    try:
        with ledger.beating() as tx:
            studies.hold_open(tx, held)
    except StorageError as error:
        log.warning("presence.not_recorded", code=error.full_code, sentence=error.sentence)


def _is_well(inquiry: Inquiry) -> bool:
    try:
        inquiry.ask(uid="")
    except StorageError:
        return False
    return True


def _door(config: Config) -> Door:
    section = config.web
    secured = section.tls
    return Door(
        host=section.host,
        port=section.port,
        ae_title=config.node.ae_title,
        clients=tuple(Client(name=one.name, token=one.token.get_secret_value()) for one in section.tokens),
        certificate_names=frozenset(secured.names if secured else ()),
        max_requests=section.max_requests,
        largest_request=section.max_request_bytes,
        largest_instance=config.listen.max_instance_bytes,
        idle_s=section.idle_s,
        slowest=section.slowest_bytes_per_s,
        tls=server_context(secured.certificate, secured.key, secured.authority) if secured else None,
    )
