"""The role that sends."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from ssl import SSLContext

import structlog

from node.app.role import Role, destinations_of, policy_of, run_queue
from node.config import Config
from node.core.job import Work
from node.core.result import Answer, Delivery, Destination
from node.deliver.courier import Courier
from node.dimse import scu
from node.dimse.tls import client_context
from node.ledger import outbox
from node.work.lease import Heart
from node.work.loop import Loop, Outcome

log = structlog.get_logger(__name__)


def caller_of(config: Config) -> scu.Caller:
    """Who we are when we call a destination."""
    return scu.Caller(ae_title=config.node.ae_title, connect_s=config.deliver.connect_s, answer_s=config.deliver.answer_s)


def tls_of(config: Config) -> dict[str, SSLContext]:
    """How the connections to destinations are secured, by name, where they are.

    Raises
    ------
    ConfigError
        If a certificate cannot be used.
    """
    found = {destination.name: destination.tls for destination in config.destination}
    return {
        name: client_context(tls.certificate, tls.key, tls.authority, check_name=tls.check_name)
        for name, tls in found.items()
        if tls is not None
    }


def run(config: Config, stop: threading.Event) -> None:
    """Run a courier until ``stop`` is set."""
    with ExitStack() as stack:
        role = Role(config, "deliver", stack)
        caller, secured = caller_of(config), tls_of(config)

        def send(destination: Destination, deliveries: Sequence[Delivery]) -> dict[str, Answer]:
            files = [scu.read_outgoing(role.spool.path(delivery.object.key)) for delivery in deliveries]
            return scu.store(caller, destination, [file for file in files if file is not None], tls=secured.get(destination.name))

        courier = Courier(role.ledger, role.spool, destinations_of(config), send)

        def do(task: Work) -> Outcome:
            parcel = courier.bring(task)
            return Outcome(settle=lambda tx: outbox.answer(tx, task, parcel.answers), error=parcel.error)

        section = config.deliver
        heart = Heart(role.ledger, section.lease_s, lambda work_id: log.warning("parcel.late", work_id=work_id))
        loop = Loop(
            role.ledger, role.engine, heart, policy_of(section), do, courier.give_up, identity=role.identity, lease_s=section.lease_s
        )
        run_queue(role, "deliver", heart, loop, section, stop)
