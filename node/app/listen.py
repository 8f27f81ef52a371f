"""The role that receives: socket, assembling, routing."""

from __future__ import annotations

import gc
import socket
import sys
import threading
from contextlib import ExitStack

from node.app.commit import open_commitment
from node.app.desk import open_desk
from node.app.pledge import pledge_service
from node.app.query import query_services
from node.app.role import DRAIN_S, Role, read_catalog
from node.app.rules import ask_of, pace_of, rule_book_of
from node.app.schedule import triage_of
from node.config import Config
from node.dimse.door import Door, Entrance
from node.dimse.mpps import PerformedSteps
from node.dimse.scp import Listener
from node.dimse.tls import server_context
from node.dimse.visit import Service
from node.intake.assemble import Assembler
from node.intake.census import Census
from node.intake.presence import Presence
from node.intake.receive import Receiver
from node.intake.steps import StepDesk
from node.ledger import studies

#: After so many sweeps every listener has renewed the studies that it is receiving.
_SETTLED_AFTER = 3


def run(config: Config, stop: threading.Event, port: socket.socket | None = None) -> None:
    """Run a listener until ``stop`` is set, on a port of its own or on one that it shares."""
    with ExitStack() as stack:
        role, presence = Role(config, "listen", stack), Presence()
        desk = stack.enter_context(open_desk(role, presence))
        assembler = assembler_of(role, presence)
        services: list[Service] = [PerformedSteps(StepDesk(role.ledger)), stack.enter_context(open_commitment(role, desk))]
        services.append(pledge_service(role))
        services += query_services(config, role.ledger, role.spool)
        listener = Listener(_door(config), Receiver(desk), port, services)
        make_threads_agile()
        listener.start()
        stack.callback(listener.stop)
        with role.ledger.beating() as tx:
            studies.hold_all_open(tx)
        assembler.run(stop, config.assemble.sweep_s)
        _drain(listener)
        assembler.sweep()


def make_threads_agile() -> None:
    """Set the interpreter up for many threads that wait for disk and network, and one, the scribe, that computes.

    A thread that comes back waits for a switch interval at most; the default of 5 ms is longer than a whole instance takes, and a tenth of
    ours costs more in switches than it gains. What is there now stays for good, so that the collector need not look at it again.
    """
    sys.setswitchinterval(0.001)
    gc.freeze()
    gc.set_threshold(2_000, 5, 5)


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
        book=rule_book_of(config),
        reprocess=config.assemble.late == "reprocess",
        settle_s=_SETTLED_AFTER * config.assemble.sweep_s,
        pace=pace_of(config),
        census=Census(ask_of(config)),
        triage=triage_of(config, role.ledger),
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
        entrances={
            called.ae_title: Entrance(calling_ae=frozenset(called.calling_ae), addresses=called.addresses) for called in config.called
        },
        unknown_storage=section.unknown_storage,
        max_associations=section.max_associations,
        max_per_peer=section.max_per_peer,
        max_strangers=section.max_strangers,
        max_pdu=section.max_pdu,
        idle_s=section.idle_s,
        slowest=section.slowest_bytes_per_s,
        fastest=section.max_bytes_per_s_per_peer,
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
