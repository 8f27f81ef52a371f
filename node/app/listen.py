"""The role that receives: socket, assembling, routing."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import ExitStack

from node.app.desk import open_desk
from node.app.role import DRAIN_S, Role, read_catalog
from node.config import Config
from node.dimse.door import Door
from node.dimse.scp import Listener
from node.dimse.tls import server_context
from node.intake.assemble import Assembler
from node.intake.presence import Presence
from node.intake.receive import Receiver
from node.ledger import studies


def run(config: Config, stop: threading.Event, port: socket.socket | None = None) -> None:
    """Run a listener until ``stop`` is set, on a port of its own or on one that it shares."""
    # A thread that comes back from the disk or the network waits this long at most for one that computes. The default of 5 ms is longer
    # than a whole instance takes, and the scribe computes.
    sys.setswitchinterval(0.0001)
    with ExitStack() as stack:
        role, presence = Role(config, "listen", stack), Presence()
        desk = stack.enter_context(open_desk(role, presence))
        assembler = assembler_of(role, presence)
        listener = Listener(_door(config), Receiver(desk), port)
        listener.start()
        stack.callback(listener.stop)
        with role.ledger.beating() as tx:
            studies.hold_all_open(tx)
        assembler.run(stop, config.assemble.sweep_s)
        _drain(listener)
        assembler.sweep()


def assembler_of(role: Role, presence: Presence) -> Assembler:
    """The assembler that a configuration asks for."""
    config = role.config
    return Assembler(
        role.ledger,
        role.spool,
        presence,
        read_catalog(config),
        role.engine.dispatch,
        node_ae=config.node.ae_title,
        enabled=config.pipelines.enabled,
        quiet_s=config.assemble.quiet_s,
        reprocess=config.assemble.late == "reprocess",
    )


def _door(config: Config) -> Door:
    section = config.listen
    secured = section.tls
    return Door(
        host=section.host,
        port=section.port,
        ae_title=config.node.ae_title,
        called_ae=config.called_ae_titles,
        calling_ae=frozenset(section.calling_ae),
        addresses=section.addresses,
        certificate_names=frozenset(secured.names if secured else ()),
        unknown_storage=section.unknown_storage,
        max_associations=section.max_associations,
        max_per_peer=section.max_per_peer,
        max_pdu=section.max_pdu,
        idle_s=section.idle_s,
        slowest=section.slowest_bytes_per_s,
        largest=section.max_instance_bytes,
        fast=section.fast,
        tls=server_context(secured.certificate, secured.key, secured.authority) if secured else None,
    )


def _drain(listener: Listener) -> None:
    """Let associations that are open come to their end, for a while."""
    waited = threading.Event()
    for _ in range(int(DRAIN_S / 0.1)):
        if not listener.is_receiving():
            return
        waited.wait(0.1)
