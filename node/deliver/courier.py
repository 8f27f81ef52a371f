"""One parcel: a job's objects, in one association, to one destination, until it has them, or all that can be known of that is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from node.core.errors import CodedError, DeliveryError, PeerRefused, PeerUnavailable, StorageError
from node.core.job import Work
from node.core.remote import Receiver, SenderDestination
from node.core.result import Answer, Delivery
from node.deliver.confirm import NOT_ASKED, Confirmed, Confirmer
from node.ledger import circuits, outbox, receipts
from node.ledger.circuits import CircuitPolicy
from node.ledger.engine import Ledger, Transaction
from node.spool.spool import Spool

#: Reasons of errors that the destination itself had no part in.
_TRANSPORT = frozenset({"no_connection", "no_answer", "aborted", "rejected", "certificate", "tls"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What became of a parcel: what to write down, and why it is not done.

    Attributes
    ----------
    called : str
        The destination that was called, whatever came of it; empty when none was.
    pause_s : float or None
        When it goes on, although nothing is wrong; ``sentence`` says what it waits for.
    """

    answers: Mapping[str, Answer] = field(default_factory=dict)
    confirmed: Confirmed = field(default_factory=Confirmed)
    error: CodedError | None = None
    called: str = ""
    pause_s: float | None = None
    sentence: str = ""


class Courier:
    """Brings parcels.

    Parameters
    ----------
    destinations : mapping
        By name, as configured now.
    sender_of : callable
        Who sent the study of a parcel, as a destination.
    send : callable
        Sends deliveries, in order, in one association; what it does not name was not reached.
    confirmer : Confirmer
        Finds out what became of what was sent.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        destinations: Mapping[str, Receiver | SenderDestination],
        send: Callable[[Receiver, Sequence[Delivery]], dict[str, Answer]],
        confirmer: Confirmer,
        sender_of: Callable[[Work, SenderDestination], Receiver],
        circuit: CircuitPolicy,
    ) -> None:
        self._ledger, self._spool, self._destinations, self._send = ledger, spool, destinations, send
        self._confirmer, self._sender_of, self._circuit = confirmer, sender_of, circuit

    def bring(self, work: Work) -> Parcel:
        """Bring one parcel, or find out about one that was sent.

        Raises
        ------
        PeerRefused
            If the destination is no longer configured, or nobody knows where the sender is.
        StorageError
            If an object is not what was stored: then nothing is sent.
        """
        destination = self._destinations.get(work.destination or "")
        if destination is None:
            raise PeerRefused(f"There is no destination {work.destination} in the configuration; add it, then replay.", reason="unknown")
        if isinstance(destination, SenderDestination):
            destination = self._sender_of(work, destination)
        wait_s = self._wait_s(destination.name)
        if wait_s > 0:
            return Parcel(pause_s=wait_s, sentence=f"{destination.name} could not be reached, and is left alone until it is tried again.")
        owed = self._ledger.write(lambda tx: outbox.start(tx, work))
        return self._send_all(destination, owed) if owed else self._confirm(work, destination)

    def settle(self, tx: Transaction, work: Work, parcel: Parcel) -> None:
        """Write down what became of a parcel, and whether its destination was reached."""
        outbox.answer(tx, work, parcel.answers)
        receipts.keep(tx, work, parcel.confirmed.learned, resend=self._confirmer.policy.resend)
        if parcel.confirmed.unsure:
            receipts.leave(tx, work, parcel.confirmed.unsure)
        if parcel.called and isinstance(parcel.error, PeerUnavailable) and parcel.error.reason in _TRANSPORT:
            circuits.fail(tx, parcel.called, parcel.error.sentence, self._circuit)
        elif parcel.called:
            circuits.succeed(tx, parcel.called, str(work.destination))

    def _wait_s(self, name: str) -> float:
        with self._ledger.reading() as tx:
            if circuits.is_closed(tx, name):
                return 0.0
        return self._ledger.write(lambda tx: circuits.enter(tx, name, self._circuit))

    def _send_all(self, destination: Receiver, owed: Sequence[Delivery]) -> Parcel:
        for delivery in owed:
            self._check(delivery)
        try:
            answers = self._send(destination, owed)
        except DeliveryError as error:
            event = Answer(event="retry", dimse_status=None, sentence=error.sentence)
            return Parcel(answers={delivery.object.sop_instance_uid: event for delivery in owed}, error=error, called=destination.name)
        return _judge(destination, owed, answers)

    def _confirm(self, work: Work, destination: Receiver) -> Parcel:
        with self._ledger.reading() as tx:
            refusal, sent = outbox.refusal(tx, work), receipts.unconfirmed(tx, work)
        if refusal is not None:
            raise PeerRefused(refusal, reason="lost")
        if not sent:
            return Parcel()
        try:
            found = self._confirmer.confirm(work, destination, sent)
        except DeliveryError as error:
            return Parcel(error=error, called=destination.name)
        return Parcel(confirmed=found, called=destination.name, pause_s=found.pause_s, sentence=found.sentence)

    def give_up(self, tx: Transaction, work: Work, error: CodedError) -> None:
        """Park what was not accepted, and let be what was sent and not confirmed, with the reason."""
        outbox.give_up(tx, work, error.sentence)
        receipts.leave(tx, work, f"Nothing but its Success is known. {error.sentence}")

    def _check(self, delivery: Delivery) -> None:
        try:
            intact = self._spool.sha256(delivery.object.key) == delivery.object.sha256
        except OSError as error:
            raise StorageError(f"An object cannot be read from the spool ({error.strerror}).", reason="spool") from error
        if not intact:
            raise StorageError("An object in the spool is not what was encoded; nothing is sent.", reason="digest")


def _judge(destination: Receiver, owed: Sequence[Delivery], answers: Mapping[str, Answer]) -> Parcel:
    """Complete the answers, and decide what the parcel's fate is: done, again, or refused."""
    not_reached = Answer(event="retry", dimse_status=None, sentence="Not sent: what comes before it was not stored.")
    complete = {delivery.object.sop_instance_uid: answers.get(delivery.object.sop_instance_uid, not_reached) for delivery in owed}
    refusals = [answer for answer in complete.values() if answer.event == "refuse"]
    if refusals:
        return Parcel(answers=complete, error=PeerRefused(refusals[0].sentence, reason=_reason(refusals[0])), called=destination.name)
    postponed = [answer for answer in complete.values() if answer.event == "retry"]
    if postponed:
        error = PeerUnavailable(f"{destination.name}: {postponed[0].sentence}", reason=_reason(postponed[0]))
        return Parcel(answers=complete, error=error, called=destination.name)
    if destination.confirm == "none":
        return Parcel(answers=complete, confirmed=Confirmed(unsure=NOT_ASKED), called=destination.name)
    # What was sent is looked for in a turn of its own: first it is written down that it was sent.
    return Parcel(answers=complete, called=destination.name, pause_s=0.0, sentence="Sent; now the destination is asked whether it has it.")


def _reason(answer: Answer) -> str:
    return "no_answer" if answer.dimse_status is None else f"0x{answer.dimse_status:04X}"
