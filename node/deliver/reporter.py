"""The reporter: brings what is owed to those who asked for storage commitment, until they have heard it (PS3.4 section J.3.3)."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from node.core.commitment import Commitment, Judged, Reference, Report
from node.core.errors import DeliveryError, PeerRefused, StorageError
from node.core.remote import RemoteAE
from node.ledger import commitments
from node.ledger.engine import Ledger

log = structlog.get_logger(__name__)

#: How often it is looked whether a report is due, and whether a row that is on its way has come.
_POLL_S = 0.25
#: So many requesters may keep us waiting at a time.
_THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPolicy:
    """When to try again, and when no more.

    Attributes
    ----------
    lease_s : float
        Longer than one attempt can take: of a listener that is cut off, others take the report over after this.
    answer_s : float
        How long a requester may take to answer on its own association.
    """

    first_s: float
    most_s: float
    give_up_s: float
    lease_s: float
    answer_s: float

    def wait_s(self, attempts: int) -> float:
        """How long to wait after so many attempts: twice as long each time."""
        return min(self.most_s, self.first_s * 2.0 ** min(attempts, 30))


class Reporter:
    """Brings reports.

    Parameters
    ----------
    home : str
        This process, which may report on the associations that it has.
    is_gone : callable
        Tells whether a process that holds a report is known to be gone.
    vouch : callable
        Judges instances; None when it is too early.
    on_line : callable
        Sends a report on the association on which it was asked for; False when that has ended.
    remotes : mapping
        Whom we may call, by AE title.
    call : callable
        Sends a report on an association of our own, under the title that the requester had called.
    """

    def __init__(
        self,
        ledger: Ledger,
        policy: ReportPolicy,
        home: str,
        is_gone: Callable[[str], bool],
        vouch: Callable[[Sequence[Reference]], Sequence[Judged] | None],
        on_line: Callable[[str, Report], bool],
        remotes: Mapping[str, RemoteAE],
        call: Callable[[RemoteAE, str, Report], None],
    ) -> None:
        self._ledger, self._policy, self._home, self._is_gone = ledger, policy, home, is_gone
        self._vouch, self._on_line, self._remotes, self._call = vouch, on_line, remotes, call
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, name=f"reporter-{number}", daemon=True) for number in range(_THREADS)]

    def start(self) -> None:
        """Begin to bring reports."""
        for thread in self._threads:
            thread.start()

    def stop(self, patience_s: float = 5.0) -> None:
        """Begin nothing new; what is under way and takes longer is taken over by the next start."""
        self._stop.set()
        for thread in self._threads:
            thread.join(patience_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                while not self._stop.is_set() and self.bring_one():
                    pass
            except StorageError as error:
                log.warning("report.waiting", code=error.full_code, sentence=error.sentence)
            except Exception:  # the boundary: one report must not hold up the others; when its lease has run out it is tried again
                log.exception("report.crashed")
            self._stop.wait(_POLL_S)

    def bring_one(self) -> bool:
        """Bring the report that has been due longest; False when none is due."""
        with self._ledger.reading() as tx:
            if not commitments.are_due(tx):
                return False
        token = f"{self._home}/{uuid.uuid4().hex[:8]}"
        with self._ledger.beating() as tx:
            commitment = commitments.claim(tx, self._home, token, self._policy.lease_s, self._is_gone)
        if commitment is None:
            return False
        report = commitment.report or self._judge(commitment, token)
        if report is not None:
            self._bring(commitment, report, token)
        return True

    def _judge(self, commitment: Commitment, token: str) -> Report | None:
        """Judge what was asked for; None when that must wait, or is another's by now."""
        judged = self._vouch(commitment.request.references)
        if judged is None:
            self._wait_for_rows(commitment, token)
            return None
        if not self._ledger.write(lambda tx: commitments.judge(tx, commitment, token, judged)):
            return None
        return Report(transaction_uid=commitment.request.transaction_uid, judged=tuple(judged))

    def _wait_for_rows(self, commitment: Commitment, token: str) -> None:
        if commitment.age_s < self._policy.give_up_s:
            with self._ledger.beating() as tx:
                commitments.defer(tx, commitment, token, self._home, _POLL_S)
            return
        sentence = "The rows of instances that were answered for did not come; start the listener that received them."
        self._ledger.write(lambda tx: commitments.give_up(tx, commitment, token, f"{StorageError.code}.unsettled", sentence))

    def _bring(self, commitment: Commitment, report: Report, token: str) -> None:
        try:
            told = self._tell(commitment, report)
        except DeliveryError as error:
            self._fail(commitment, token, error)
            return
        self._ledger.write(lambda tx: commitments.report(tx, commitment, token, told))
        log.info("commitment.reported", transaction_uid=report.transaction_uid, event_type=report.event_type, **told)

    def _tell(self, commitment: Commitment, report: Report) -> dict[str, str]:
        """Tell the requester; return how.

        Raises
        ------
        DeliveryError
            If it could not be told.
        """
        request = commitment.request
        try:
            if self._on_line(request.association_id, report):
                return {"on": "the requester's association"}
        except DeliveryError as error:
            # A requester that wants no report there may take it on an association of ours (PS3.4 section J.3.3.1.2).
            log.info("report.not_taken", code=error.full_code, sentence=error.sentence, association_id=request.association_id)
        remote = self._remotes.get(request.peer.calling_ae)
        if remote is None:
            sentence = f"There is no peer or destination with AE title {request.peer.calling_ae} in the configuration; add a [[peer]]."
            raise PeerRefused(sentence, reason="unknown")
        self._call(remote, request.peer.called_ae, report)
        return {"on": "an association of ours", "remote": remote.name}

    def _fail(self, commitment: Commitment, token: str, error: DeliveryError) -> None:
        """Write down why the requester was not told: to be tried again, whatever it was, until it is too old."""
        wait_s = self._policy.wait_s(commitment.attempts)
        is_last = commitment.age_s + wait_s > self._policy.give_up_s
        log.warning("commitment.not_reported", code=error.full_code, sentence=error.sentence, is_last=is_last)
        if is_last:
            self._ledger.write(lambda tx: commitments.give_up(tx, commitment, token, error.full_code, error.sentence))
        else:
            self._ledger.write(lambda tx: commitments.postpone(tx, commitment, token, error.full_code, error.sentence, wait_s=wait_s))
