"""Storage commitment, put together: who is asked, who judges, and who reports."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager, suppress

from node.app.remotes import caller_of, remotes_of, tls_of
from node.app.role import Role
from node.core.commitment import CommitmentRequest, Refusal, Report
from node.core.errors import NotEnoughDisk, StorageError
from node.core.remote import RemoteAE
from node.core.study import Peer
from node.deliver.reporter import Reporter, ReportPolicy
from node.dimse.commitment import CommitmentService, report_to
from node.intake.receive import Desk
from node.intake.scribe import Fact
from node.intake.vouch import vouch
from node.ledger import commitments
from node.ledger.engine import Transaction
from node.work.identity import is_gone

#: A requester hears by then whether its request is written down.
_PATIENCE_S = 10.0
#: How long after a report is due nobody but the listener that was asked may bring it, unless that listener is gone.
_KEEP_S = 10.0


class Register:
    """Writes requests down, behind everything that this listener has answered Success for: the scribe keeps the order.

    Parameters
    ----------
    home : str
        This listener.
    report_in_s : float
        When a report is due.
    """

    def __init__(self, desk: Desk, home: str, report_in_s: float) -> None:
        self._desk, self._home, self._report_in_s = desk, home, report_in_s

    def ask(self, request: CommitmentRequest) -> None:
        """Write a request down; it is durable when this returns.

        Raises
        ------
        NotEnoughDisk
            If too much waits to be written.
        StorageError
            If the database does not answer; then the request is not written later either.
        """
        too_late = threading.Event()

        def write(tx: Transaction) -> None:
            if not too_late.is_set():
                commitments.ask(tx, request, self._home, report_in_s=self._report_in_s, keep_s=_KEEP_S)

        try:
            self._desk.scribe.hand_over(Fact(write=write)).result(_PATIENCE_S)
        except NotYet as error:
            too_late.set()
            raise StorageError("The database did not answer in time; ask again.", reason="database") from error

    def refuse(self, peer: Peer, association_id: str, refusal: Refusal) -> None:
        """Note that a request was answered a failure."""
        with suppress(NotEnoughDisk):  # the log has it
            self._desk.scribe.hand_over(Fact(write=lambda tx: commitments.refuse(tx, peer, association_id, refusal)))


@contextmanager
def open_commitment(role: Role, desk: Desk) -> Iterator[CommitmentService]:
    """The service for a listener; as long as it is open, what is owed is reported."""
    section, caller, secured = role.config.commitment, caller_of(role.config), tls_of(role.config)
    register = Register(desk, role.identity, section.same_association_s)
    service = CommitmentService(register.ask, register.refuse)
    # Twice: once on the requester's association, once on one of ours.
    lease_s = 2 * (caller.connect_s + caller.answer_s) + _KEEP_S
    policy = ReportPolicy(
        first_s=section.retry_first_s, most_s=section.retry_most_s, give_up_s=section.give_up_s, lease_s=lease_s, answer_s=caller.answer_s
    )

    def on_line(association_id: str, report: Report) -> bool:
        return section.same_association_s > 0 and service.report(association_id, report, policy.answer_s)

    def call(remote: RemoteAE, called_ae: str, report: Report) -> None:
        report_to(caller, remote, called_ae, report, secured.get(remote.name))

    reporter = Reporter(
        role.ledger,
        policy,
        role.identity,
        is_gone,
        lambda references: vouch(role.ledger, role.spool, references),
        on_line,
        remotes_of(role.config),
        call,
    )
    reporter.start()
    try:
        yield service
    finally:
        reporter.stop()
