"""Is it there? What a destination is asked behind its Success: to commit itself, or to answer a question with what it was sent."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from node.core.commitment import Pledge, Reference
from node.core.errors import DeliveryError, PeerRefused, PeerUnavailable
from node.core.job import Work
from node.core.remote import Destination, Receiver
from node.core.result import Receipt, StoredObject, Unconfirmed
from node.ledger import pledges, receipts
from node.ledger.engine import Ledger

#: What is said of an object whose destination is not asked.
NOT_ASKED = "Nothing but its Success is known: the destination is not asked (confirm is none)."
#: Failure reasons that may pass: processing failure, resource limitation (PS3.3 section C.14.1.1).
_TRANSIENT = frozenset({0x0110, 0x0213})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmPolicy:
    """How patient we are with a destination that has said Success.

    Attributes
    ----------
    lost_after_s : float
        What a question does not find this long after it was sent is lost.
    report_s : float
        A report on storage commitment that has not come after this does not count on coming.
    resend : int
        So often an object that was lost is sent again.
    first_s, most_s : float
        Between two looks; each waits as long as has been waited already.
    """

    lost_after_s: float
    report_s: float
    resend: int
    first_s: float
    most_s: float

    def wait_s(self, age_s: float, end_s: float) -> float:
        """How long to wait before the next look at something that is ``age_s`` old, and will be judged when it is ``end_s`` old."""
        return min(max(self.first_s, age_s), self.most_s, max(end_s - age_s, 0.0) + self.first_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """What was learned: what to write down, and how it goes on.

    Attributes
    ----------
    learned : mapping
        SOP Instance UID -> Receipt.
    unsure : str
        Why nothing more can be learned; empty when more can, or all is known.
    pause_s : float or None
        When to look again, although nothing is wrong; ``sentence`` says why.
    """

    learned: Mapping[str, Receipt] = field(default_factory=dict)
    unsure: str = ""
    pause_s: float | None = None
    sentence: str = ""


class Confirmer:
    """Finds out whether destinations have what they said Success to.

    Parameters
    ----------
    ask : callable
        Asks a destination to commit itself to instances, under a Transaction UID; its report goes to the ledger.
    look : callable
        Asks a destination for instances of a study; returns the SOP Instance UIDs of those that it has.
    """

    def __init__(
        self,
        ledger: Ledger,
        policy: ConfirmPolicy,
        ask: Callable[[Destination, str, Sequence[Reference]], None],
        look: Callable[[Receiver, str, Sequence[StoredObject]], frozenset[str]],
    ) -> None:
        self._ledger, self.policy, self._ask, self._look = ledger, policy, ask, look

    def confirm(self, work: Work, destination: Receiver, sent: Sequence[Unconfirmed]) -> Confirmed:
        """Find out about what was sent.

        Raises
        ------
        PeerUnavailable
            If the destination could not be asked now.
        """
        if destination.confirm == "none":
            return Confirmed(unsure=NOT_ASKED)
        refused = ""
        if destination.confirm == "commitment" and isinstance(destination, Destination):
            try:
                return self._by_commitment(work, destination)
            except PeerRefused as error:
                refused = f"{error.sentence} "
        try:
            return self._by_query(work, destination, sent, refused)
        except PeerRefused as error:
            return Confirmed(unsure=f"Nothing but its Success is known. {refused}{error.sentence}")

    def _by_query(self, work: Work, destination: Receiver, sent: Sequence[Unconfirmed], refused: str) -> Confirmed:
        found = self._look(destination, work.job.study_instance_uid, [one.delivery.object for one in sent])
        learned, waiting = {}, 0.0
        for one in sent:
            uid = one.delivery.object.sop_instance_uid
            if uid in found:
                learned[uid] = Receipt(event="find", sentence=f"{refused}The destination was asked, and has it.")
            elif one.age_s >= self.policy.lost_after_s:
                learned[uid] = Receipt(event="lose", sentence=f"It is not found {one.age_s:.0f} s after it was sent.")
            else:
                waiting = max(waiting, one.age_s)
        if any(receipt.event == "lose" for receipt in learned.values()):
            return Confirmed(learned=learned, pause_s=0.0, sentence="The destination has lost what it said Success to.")
        if len(learned) < len(sent):
            pause_s = self.policy.wait_s(waiting, self.policy.lost_after_s)
            return Confirmed(learned=learned, pause_s=pause_s, sentence="The destination does not find everything yet.")
        return Confirmed(learned=learned)

    def _by_commitment(self, work: Work, destination: Destination) -> Confirmed:
        with self._ledger.reading() as tx:
            pledge, sent = pledges.latest(tx, work), receipts.unconfirmed(tx, work)
        if pledge is None:
            self._request(work, destination, sent)
            with self._ledger.reading() as tx:  # it may have reported on the same association
                pledge, left = pledges.latest(tx, work), receipts.unconfirmed(tx, work)
            if not left or len(left) < len(sent):
                return Confirmed(pause_s=0.0, sentence="The destination has reported.")
        return self._judge(work, destination, pledge)

    def _judge(self, work: Work, destination: Destination, pledge: Pledge | None) -> Confirmed:
        """Go by what became of the request of this attempt."""
        if pledge is not None and pledge.state == "asked" and pledge.age_s < self.policy.report_s:
            pause_s = self.policy.wait_s(pledge.age_s, self.policy.report_s)
            return Confirmed(pause_s=pause_s, sentence="Asked for storage commitment; the report has not come yet.")
        if pledge is not None and pledge.state == "reported":
            reasons = sorted(set(pledge.failed.values()))
            said = ", ".join(f"0x{reason:04X}" for reason in reasons) or "nothing of it"
            kind = PeerUnavailable if set(reasons) <= _TRANSIENT else PeerRefused
            raise kind(f"{destination.name} does not commit itself to everything: it reports {said}.", reason="not_committed")
        sentence = f"{destination.name} has not reported on storage commitment."
        if pledge is not None:
            self._expire(work, pledge.transaction_uid, sentence)
        raise PeerUnavailable(sentence, reason="no_report")

    def _request(self, work: Work, destination: Destination, sent: Sequence[Unconfirmed]) -> None:
        transaction_uid = f"2.25.{uuid.uuid4().int}"  # drawn: who could guess it could report in another's name
        objects = [one.delivery.object for one in sent]
        self._ledger.write(lambda tx: pledges.begin(tx, work, transaction_uid, [stored.sop_instance_uid for stored in objects]))
        try:
            self._ask(destination, transaction_uid, [Reference(stored.sop_class_uid, stored.sop_instance_uid) for stored in objects])
        except DeliveryError as error:
            self._expire(work, transaction_uid, error.sentence)
            raise
        self._ledger.write(lambda tx: pledges.asked(tx, work, transaction_uid))

    def _expire(self, work: Work, transaction_uid: str, sentence: str) -> None:
        self._ledger.write(lambda tx: pledges.expire(tx, work, transaction_uid, sentence))
