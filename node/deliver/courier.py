"""One parcel: a job's objects, in one association, to one destination, until it has said Success to each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from node.core.errors import CodedError, DeliveryError, PeerRefused, PeerUnavailable, StorageError
from node.core.job import Work
from node.core.result import Answer, Delivery, Destination
from node.ledger import outbox
from node.ledger.engine import Ledger, Transaction
from node.spool.local import LocalSpool


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What became of a parcel: what to write down, and why it is not done."""

    answers: Mapping[str, Answer]
    error: CodedError | None


class Courier:
    """Brings parcels.

    Parameters
    ----------
    destinations : mapping
        By name, as configured now.
    send : callable
        Sends deliveries, in order, in one association; what it does not name was not reached.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: LocalSpool,
        destinations: Mapping[str, Destination],
        send: Callable[[Destination, Sequence[Delivery]], dict[str, Answer]],
    ) -> None:
        self._ledger, self._spool, self._destinations, self._send = ledger, spool, destinations, send

    def bring(self, work: Work) -> Parcel:
        """Bring one parcel.

        Raises
        ------
        PeerRefused
            If the destination is no longer configured.
        StorageError
            If an object is not what was stored: then nothing is sent.
        """
        destination = self._destinations.get(work.destination or "")
        if destination is None:
            raise PeerRefused(f"There is no destination {work.destination} in the configuration; add it, then replay.", reason="unknown")
        owed = self._ledger.write(lambda tx: outbox.start(tx, work))
        for delivery in owed:
            self._check(delivery)
        if not owed:
            return Parcel(answers={}, error=None)
        try:
            answers = self._send(destination, owed)
        except DeliveryError as error:
            event = Answer(event="retry", dimse_status=None, sentence=error.sentence)
            return Parcel(answers={delivery.object.sop_instance_uid: event for delivery in owed}, error=error)
        return _judge(destination, owed, answers)

    def give_up(self, tx: Transaction, work: Work, error: CodedError) -> None:
        """Park what was not accepted, with the reason."""
        outbox.give_up(tx, work, error.sentence)

    def _check(self, delivery: Delivery) -> None:
        try:
            intact = self._spool.sha256(delivery.object.key) == delivery.object.sha256
        except OSError as error:
            raise StorageError(f"An object cannot be read from the spool ({error.strerror}).", reason="spool") from error
        if not intact:
            raise StorageError("An object in the spool is not what was encoded; nothing is sent.", reason="digest")


def _judge(destination: Destination, owed: Sequence[Delivery], answers: Mapping[str, Answer]) -> Parcel:
    """Complete the answers, and decide what the parcel's fate is: done, again, or refused."""
    not_reached = Answer(event="retry", dimse_status=None, sentence="Not sent: what comes before it was not stored.")
    complete = {delivery.object.sop_instance_uid: answers.get(delivery.object.sop_instance_uid, not_reached) for delivery in owed}
    refusals = [answer for answer in complete.values() if answer.event == "refuse"]
    if refusals:
        return Parcel(answers=complete, error=PeerRefused(refusals[0].sentence, reason=_reason(refusals[0])))
    postponed = [answer for answer in complete.values() if answer.event == "retry"]
    if postponed:
        return Parcel(answers=complete, error=PeerUnavailable(f"{destination.name}: {postponed[0].sentence}", reason=_reason(postponed[0])))
    return Parcel(answers=complete, error=None)


def _reason(answer: Answer) -> str:
    return "no_answer" if answer.dimse_status is None else f"0x{answer.dimse_status:04X}"
