"""The role that sends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import structlog

from node.app.pledge import hear_of
from node.app.remotes import caller_of, destinations_of, remotes_of, tls_of
from node.app.retention import sweeping
from node.app.role import Role, policy_of, run_queue
from node.config import Config
from node.core.commitment import Reference
from node.core.errors import PeerRefused
from node.core.job import Work
from node.core.remote import Destination, Receiver, SenderDestination, WebDestination
from node.core.result import Answer, Delivery, StoredObject
from node.deliver.confirm import Confirmer, ConfirmPolicy
from node.deliver.courier import Courier
from node.deliver.stow import WebClient
from node.dimse import scu
from node.dimse.pledge import ask_for_commitment
from node.dimse.readback import find_instances
from node.dimse.status import judge
from node.ledger import spooled, studies
from node.ledger.circuits import CircuitPolicy
from node.work.lease import Heart
from node.work.loop import Loop, Outcome, Pause

log = structlog.get_logger(__name__)


def run(config: Config, stop: threading.Event) -> None:
    """Run a courier until ``stop`` is set."""
    with ExitStack() as stack:
        role = Role(config, "deliver", stack)
        role.spool.recover(lambda key: role.ledger.write(lambda tx: spooled.is_known(tx, key)))
        courier = courier_of(role)

        def do(task: Work) -> Outcome:
            parcel = courier.bring(task)
            pause = None if parcel.pause_s is None else Pause(delay_s=parcel.pause_s, sentence=parcel.sentence)
            return Outcome(settle=lambda tx: courier.settle(tx, task, parcel), error=parcel.error, pause=pause)

        section = config.deliver
        heart = Heart(role.ledger, section.lease_s, lambda work_id: log.warning("parcel.late", work_id=work_id))
        loop = Loop(
            role.ledger, role.engine, heart, policy_of(section), do, courier.give_up, identity=role.identity, lease_s=section.lease_s
        )
        stack.enter_context(sweeping(config, role.ledger, role.spool))
        run_queue(role, "deliver", heart, loop, section, stop)


def courier_of(role: Role) -> Courier:
    """The courier that a configuration asks for."""
    config, caller, secured = role.config, caller_of(role.config), tls_of(role.config)

    web = _web_of(config)

    def send(destination: Receiver, deliveries: Sequence[Delivery]) -> dict[str, Answer]:
        tls = secured.get(destination.name)
        with role.spool.holding(delivery.object.key for delivery in deliveries) as paths:
            if isinstance(destination, WebDestination):
                objects = [delivery.object for delivery in deliveries]
                return web.store(destination, list(zip(objects, paths, strict=True)), tls)
            files = [file for path in paths if (file := scu.read_outgoing(path)) is not None]
            return scu.store(caller, destination, files, tls=tls)

    return Courier(role.ledger, role.spool, destinations_of(config), send, _confirmer_of(role), _sender_finder(role), _circuit_of(config))


def _confirmer_of(role: Role) -> Confirmer:
    config, caller, secured = role.config, caller_of(role.config), tls_of(role.config)
    section = config.deliver
    policy = ConfirmPolicy(
        lost_after_s=section.lost_after_s,
        report_s=section.report_s,
        resend=section.resend,
        first_s=section.retry_first_s,
        most_s=section.retry_most_s,
    )

    hear = hear_of(role)

    def ask(destination: Destination, transaction_uid: str, references: Sequence[Reference]) -> None:
        tls = secured.get(destination.name)
        ask_for_commitment(caller, destination, transaction_uid, references, hear, wait_s=section.same_association_s, tls=tls)

    web = _web_of(config)

    def look(destination: Receiver, study_instance_uid: str, objects: Sequence[StoredObject]) -> frozenset[str]:
        if isinstance(destination, WebDestination):
            return web.find(destination, study_instance_uid, objects, secured.get(destination.name))
        return find_instances(caller, destination, study_instance_uid, objects, secured.get(destination.name))

    return Confirmer(role.ledger, policy, ask, look)


def _circuit_of(config: Config) -> CircuitPolicy:
    section = config.deliver
    # A probe is one association, and what is confirmed is asked for on another.
    probe_s = 2 * (section.connect_s + section.answer_s)
    return CircuitPolicy(trip_after=section.trip_after, first_s=section.probe_first_s, most_s=section.probe_most_s, probe_s=probe_s)


def _web_of(config: Config) -> WebClient:
    return WebClient(config.deliver.connect_s, config.deliver.answer_s, judge)


def _sender_finder(role: Role) -> Callable[[Work, SenderDestination], Receiver]:
    """What finds the sender of a study among the remote AEs of the configuration."""
    remotes = remotes_of(role.config)

    def sender_of(task: Work, destination: SenderDestination) -> Receiver:
        with role.ledger.reading() as tx:
            title = studies.sender_of(tx, task.job.study_instance_uid, task.job.revision)
        found = remotes.get(title or "")
        if found is None:
            who = title or "an AE that is not known"
            sentence = f"The study came from {who}, which is no [[peer]] and no [[destination]]; add it, then replay."
            raise PeerRefused(sentence, reason="unknown_sender")
        return Destination(name=found.name, ae_title=found.ae_title, host=found.host, port=found.port, confirm=destination.confirm)

    return sender_of
