"""The Storage Commitment Push Model as SCP (PS3.4 Annex J): N-ACTION comes in, N-EVENT-REPORT goes out.

What a request means and when its report is due is decided elsewhere. This module reads the one, and sends the other: on the association
on which it was asked for, or on one of our own.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO
from ssl import SSLContext
from typing import cast

import structlog
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import N_EVENT_REPORT_RQ, N_EVENT_REPORT_RSP
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.status import code_to_category

from node.core.commitment import CommitmentRequest, Reference, Refusal, Report
from node.core.errors import NotEnoughDisk, PeerRefused, PeerUnavailable
from node.core.remote import RemoteAE
from node.core.study import Peer
from node.core.uids import is_valid_uid
from node.dimse.associate import Caller, associate
from node.dimse.line import Line
from node.dimse.visit import FindVisit, Handler, Visit

log = structlog.get_logger(__name__)

PUSH_MODEL = "1.2.840.10008.1.20.1"
#: There is one instance of it, and everyone knows its name (PS3.4 section J.3.5).
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
_REQUEST_STORAGE_COMMITMENT = 1

#: Statuses of the N-ACTION response (PS3.7 section 10.1.4.1.10 and Annex C).
_PROCESSING_FAILURE, _NO_SUCH_INSTANCE, _INVALID_ARGUMENT, _NO_SUCH_CLASS = 0x0110, 0x0112, 0x0115, 0x0118
_NO_SUCH_ACTION, _RESOURCE_LIMITATION = 0x0123, 0x0213
#: More in one request is answered as a resource limitation: the row, and the data set in memory, are in proportion to it.
_MOST_REFERENCES = 50_000


class CommitmentService:
    """The service class that the listener offers.

    Parameters
    ----------
    ask : callable
        Writes a request down; when it returns, the request is durable, and the requester is answered Success.
    refuse : callable
        Notes that a request was answered a failure.
    """

    def __init__(self, ask: Callable[[CommitmentRequest], None], refuse: Callable[[Peer, str, Refusal], None]) -> None:
        self._ask, self._refuse = ask, refuse
        self._lines: dict[Association, Line] = {}

    def support(self, ae: AE) -> None:
        """Add the presentation context: for those who ask us, and for those who report to us as SCP (PS3.7 section D.3.3.4)."""
        ae.add_supported_context(PUSH_MODEL, SYNTAXES, scu_role=True, scp_role=True)

    def handlers(self, visit_of: FindVisit) -> Sequence[Handler]:
        """Serve N-ACTION, and notice the answers to our reports."""
        return (
            (evt.EVT_N_ACTION, partial(self._on_action, visit_of)),
            (evt.EVT_DIMSE_RECV, self._on_message),
            (evt.EVT_CONN_CLOSE, self._on_closed),
        )

    def report(self, association_id: str, report: Report, answer_s: float) -> bool:
        """Send a report on the association on which it was asked for; False when that is no longer open.

        Raises
        ------
        PeerUnavailable, PeerRefused
            If the requester did not answer it with Success.
        """
        line = next((line for line in list(self._lines.values()) if line.id == association_id), None)
        if line is None:
            return False
        status = line.send(partial(_fragments, report=report), answer_s)
        if status is None:
            return False
        _check(status, "The requester")
        return True

    def _on_action(self, visit_of: FindVisit, event: evt.Event) -> tuple[int, None]:
        visit = visit_of(event.assoc)
        if visit is None:
            return _PROCESSING_FAILURE, None  # the connection broke behind the request: nobody is there to be answered
        line = self._lines.get(event.assoc)
        if line is None:  # one thread serves an association, so that there is never a second
            line = self._lines[event.assoc] = Line(event.assoc, visit.id, event.context.context_id)
        line.expect_answer()
        try:
            found = _read_request(event, visit)
            if isinstance(found, CommitmentRequest):
                self._ask(found)
                return 0x0000, None
        except NotEnoughDisk as error:
            found = Refusal(status=_RESOURCE_LIMITATION, sentence=error.sentence)
        except Exception as error:  # the boundary: anything can be in a data set, and nothing but what is durable is answered Success
            log.exception("commitment.crashed", association_id=visit.id)
            found = Refusal(status=_PROCESSING_FAILURE, sentence=f"{type(error).__name__} while the request was read or written down.")
        log.warning("commitment.refused", status=f"0x{found.status:04X}", sentence=found.sentence, association_id=visit.id)
        self._refuse(visit.peer, visit.id, found)
        return found.status, None

    def _on_message(self, event: evt.Event) -> None:
        if isinstance(event.message, N_EVENT_REPORT_RSP) and (line := self._lines.get(event.assoc)):
            command = event.message.command_set
            line.answered(int(command.get("MessageIDBeingRespondedTo", 0)), int(command.get("Status", _PROCESSING_FAILURE)))

    def _on_closed(self, event: evt.Event) -> None:
        if line := self._lines.pop(event.assoc, None):
            line.close()


def report_to(caller: Caller, remote: RemoteAE, called_ae: str, report: Report, tls: SSLContext | None = None) -> None:
    """Send a report on an association of our own, in which we are the SCP (PS3.4 section J.3.3, PS3.7 section D.3.3.4).

    Parameters
    ----------
    called_ae : str
        What the requester called us: by that title it knows us.

    Raises
    ------
    PeerUnavailable, PeerRefused
        If there is no association, or the report was not answered with Success.
    """
    roles = [build_role(PUSH_MODEL, scp_role=True)]
    ours = replace(caller, ae_title=called_ae)
    association = associate(ours, remote, [build_context(PUSH_MODEL, list(SYNTAXES))], tls, roles)
    try:
        answer, _ = association.send_n_event_report(_information(report), report.event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    except (RuntimeError, ValueError) as error:  # it ended in this moment, or the roles that it left us allow nothing
        raise PeerUnavailable(f"{remote.name} takes no report on this association.", reason="aborted") from error
    finally:
        if association.is_established:
            association.release()
    if "Status" not in answer:
        raise PeerUnavailable(f"{remote.name} did not answer the report.", reason="no_answer")
    _check(int(answer.Status), remote.name)


def _check(status: int, who: str) -> None:
    if code_to_category(status) not in ("Success", "Warning"):
        raise PeerRefused(f"{who} answered the report with status 0x{status:04X}.", reason=f"0x{status:04X}")


def _read_request(event: evt.Event, visit: Visit) -> CommitmentRequest | Refusal:
    """Read an N-ACTION request (PS3.4 Table J.3-2), or say what is wrong with it."""
    if fault := _fault_of(event):
        return fault
    information = event.action_information
    items = information.get("ReferencedSOPSequence") or []
    if len(items) > _MOST_REFERENCES:
        return Refusal(status=_RESOURCE_LIMITATION, sentence=f"At most {_MOST_REFERENCES} instances can be asked for at a time.")
    transaction_uid = str(information.get("TransactionUID") or "")
    pairs = [(str(item.get("ReferencedSOPClassUID") or ""), str(item.get("ReferencedSOPInstanceUID") or "")) for item in items]
    if not is_valid_uid(transaction_uid) or not pairs or not all(is_valid_uid(uid) for pair in pairs for uid in pair):
        return Refusal(status=_INVALID_ARGUMENT, sentence="Transaction UID or Referenced SOP Sequence is missing or malformed.")
    return CommitmentRequest(
        id=str(uuid.uuid4()),
        transaction_uid=transaction_uid,
        peer=visit.peer,
        association_id=visit.id,
        references=tuple(Reference(*pair) for pair in dict.fromkeys(pairs)),
    )


def _fault_of(event: evt.Event) -> Refusal | None:
    """What is wrong with the command, before its data set is looked at."""
    action = cast(N_ACTION, event.request)
    if action.RequestedSOPClassUID != PUSH_MODEL or event.context.abstract_syntax != PUSH_MODEL:
        return Refusal(status=_NO_SUCH_CLASS, sentence="The request is for another SOP class than its presentation context.")
    if action.RequestedSOPInstanceUID != PUSH_MODEL_INSTANCE:
        return Refusal(status=_NO_SUCH_INSTANCE, sentence=f"The requested instance is not {PUSH_MODEL_INSTANCE}.")
    if action.ActionTypeID != _REQUEST_STORAGE_COMMITMENT:
        return Refusal(status=_NO_SUCH_ACTION, sentence=f"There is no action of type {action.ActionTypeID}.")
    if action.ActionInformation is None:
        return Refusal(status=_INVALID_ARGUMENT, sentence="The request has no action information.")
    return None


def _information(report: Report) -> Dataset:
    """Make the event information (PS3.4 Table J.3-4)."""
    information = Dataset()
    information.TransactionUID = report.transaction_uid
    committed: list[Dataset] = []
    failed: list[Dataset] = []
    for judged in report.judged:
        item = Dataset()
        item.ReferencedSOPClassUID = judged.reference.sop_class_uid
        item.ReferencedSOPInstanceUID = judged.reference.sop_instance_uid
        if judged.reason:
            item.FailureReason = judged.reason
        (failed if judged.reason else committed).append(item)
    if committed:
        information.ReferencedSOPSequence = committed
    if failed:
        information.FailedSOPSequence = failed
    return information


def _fragments(association: Association, context_id: int, number: int, *, report: Report) -> Sequence[P_DATA]:
    """Encode a report as an N-EVENT-REPORT request (PS3.7 section 10.3.1.1)."""
    syntax = association._accepted_cx[context_id].transfer_syntax[0]  # noqa: SLF001 - by its ID, which pynetdicom's own list lacks
    request = N_EVENT_REPORT()
    request.MessageID, request.EventTypeID = number, report.event_type
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = PUSH_MODEL, PUSH_MODEL_INSTANCE
    encoded = encode(_information(report), syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    request.EventInformation = BytesIO(encoded or b"")
    message = N_EVENT_REPORT_RQ()
    message.primitive_to_message(request)
    return list(message.encode_msg(context_id, association.dimse.maximum_pdu_size))
