"""The Storage Commitment Push Model as SCU (PS3.4 Annex J): N-ACTION goes out, N-EVENT-REPORT comes in.

A destination may report on the association on which it was asked, or on one of its own to our listener, minutes or days later. Either way
what it says is written down before it is answered Success.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from ssl import SSLContext
from typing import TypeAlias

import structlog
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, evt
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.status import code_to_category

from node.core.commitment import Promise, Reference
from node.core.errors import CodedError, PeerRefused, PeerUnavailable
from node.core.remote import RemoteAE
from node.core.uids import is_valid_uid
from node.dimse.associate import Caller, associate
from node.dimse.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, SYNTAXES
from node.dimse.pause import steady
from node.dimse.visit import FindVisit, Handler

log = structlog.get_logger(__name__)

#: Writes down what a destination says; False when we have asked no such thing.
Hear: TypeAlias = Callable[[Promise], bool]

_REQUEST_STORAGE_COMMITMENT = 1
#: Statuses of the N-EVENT-REPORT response (PS3.7 section 10.1.1.1.8 and Annex C).
_PROCESSING_FAILURE, _NO_SUCH_EVENT, _INVALID_ARGUMENT = 0x0110, 0x0113, 0x0115
#: Failures of the N-ACTION response that may pass: processing failure, resource limitation.
_TRANSIENT = frozenset({0x0110, 0x0213})


class PledgeService:
    """What the listener offers: to be told what a destination commits itself to.

    Parameters
    ----------
    hear : callable
        See ``Hear``.
    """

    def __init__(self, hear: Hear) -> None:
        self._hear = hear

    def support(self, ae: AE) -> None:
        """Add nothing: ``CommitmentService`` has the presentation context, for both roles."""

    def handlers(self, visit_of: FindVisit) -> Sequence[Handler]:
        """Serve N-EVENT-REPORT."""
        return ((evt.EVT_N_EVENT_REPORT, lambda event: _take_report(event, self._hear)),)


def ask_for_commitment(
    caller: Caller,
    remote: RemoteAE,
    transaction_uid: str,
    references: Sequence[Reference],
    hear: Hear,
    *,
    wait_s: float,
    tls: SSLContext | None = None,
) -> None:
    """Ask ``remote`` to commit itself to instances, and give it ``wait_s`` seconds to report on the same association.

    Raises
    ------
    PeerUnavailable
        If it cannot be reached, or not now.
    PeerRefused
        If it does not offer storage commitment to us, or not for this.
    """
    handled, answered = threading.Event(), threading.Event()

    def on_report(event: evt.Event) -> tuple[int, None]:
        status = _take_report(event, hear)
        handled.set()
        return status

    def on_sent(event: evt.Event) -> None:
        if handled.is_set() and isinstance(event.pdu, P_DATA_TF):
            answered.set()

    handlers = [(evt.EVT_N_EVENT_REPORT, on_report), (evt.EVT_PDU_SENT, on_sent)]
    association = steady(associate(caller, remote, [build_context(PUSH_MODEL, SYNTAXES)], tls, handlers=handlers))
    try:
        answer, _ = association.send_n_action(
            _information(transaction_uid, references), _REQUEST_STORAGE_COMMITMENT, PUSH_MODEL, PUSH_MODEL_INSTANCE
        )
        if "Status" not in answer:
            raise PeerUnavailable(f"{remote.name} did not answer the request for storage commitment.", reason="no_answer")
        _check(int(answer.Status), remote)
        for _ in range(int(wait_s / 0.05)):
            if answered.wait(0.05) or not association.is_established:
                break
    except (RuntimeError, ValueError) as error:  # pynetdicom's words for an association that has ended, or for no such context
        raise PeerUnavailable(f"{remote.name} ended the association before it had answered.", reason="aborted") from error
    finally:
        if association.is_established:
            association.release()


def _check(status: int, remote: RemoteAE) -> None:
    if code_to_category(status) in ("Success", "Warning"):
        return
    refused = PeerUnavailable if status in _TRANSIENT else PeerRefused
    raise refused(f"{remote.name} answered the request for storage commitment with 0x{status:04X}.", reason=f"0x{status:04X}")


def _information(transaction_uid: str, references: Sequence[Reference]) -> Dataset:
    """Make the action information (PS3.4 Table J.3-2)."""
    information = Dataset()
    information.TransactionUID = transaction_uid
    items = []
    for reference in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference.sop_class_uid, reference.sop_instance_uid
        items.append(item)
    information.ReferencedSOPSequence = items
    return information


def _take_report(event: evt.Event, hear: Hear) -> tuple[int, None]:
    """Read a report, write it down, and answer it."""
    try:
        if event.event_type not in (1, 2):
            return _NO_SUCH_EVENT, None
        promise = _read_report(event)
        if promise is None or not hear(promise):
            log.warning("pledge.unknown", calling_ae=_caller_of(event), sentence="A report on what we have not asked for.")
            return _INVALID_ARGUMENT, None
    except CodedError as error:
        log.warning("pledge.not_written", code=error.full_code, sentence=error.sentence)
        return _PROCESSING_FAILURE, None
    except Exception:  # the boundary: anything can be in a data set, and nothing but what is durable is answered Success
        log.exception("pledge.crashed", calling_ae=_caller_of(event))
        return _PROCESSING_FAILURE, None
    return 0x0000, None


def _read_report(event: evt.Event) -> Promise | None:
    """Read the event information (PS3.4 Table J.3-4)."""
    information = event.event_information
    transaction_uid = str(information.get("TransactionUID") or "")
    if not is_valid_uid(transaction_uid):
        return None
    kept = frozenset(str(item.get("ReferencedSOPInstanceUID") or "") for item in information.get("ReferencedSOPSequence") or [])
    failed = {
        str(item.get("ReferencedSOPInstanceUID") or ""): int(item.get("FailureReason") or _PROCESSING_FAILURE)
        for item in information.get("FailedSOPSequence") or []
    }
    return Promise(transaction_uid=transaction_uid, committed=kept - set(failed), failed=failed, calling_ae=_caller_of(event))


def _caller_of(event: evt.Event) -> str:
    """Who reports: the other side of the association, whoever has requested it."""
    association = event.assoc
    other = association.requestor if association.is_acceptor else association.acceptor
    return str(other.ae_title).strip()
