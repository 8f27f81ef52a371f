"""The sub-operations of one C-MOVE or C-GET: how far they are, and what the requester is told (PS3.7 sections 9.1.3 and 9.1.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO

from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.dsutils import decode, encode
from pynetdicom.presentation import PresentationContext
from pynetdicom.status import code_to_category

from node.core.errors import IdentifierUnreadable, QueryRefused
from node.core.unreadable import UNREADABLE
from node.dimse.query import comment_of, is_gone, wait_for_room

_CANCELLED, _PENDING, _SOME_FAILED, _ALL_FAILED = 0xFE00, 0xFF00, 0xB000, 0xA702
#: A list of UIDs that is longer than 64 kB cannot be stated in Explicit VR (PS3.5 section 7.1.2).
_MOST_FAILED_UIDS = 1000


@dataclass(slots=True, kw_only=True)
class Progress:
    """How many sub-operations have come to which end."""

    remaining: int
    completed: int = 0
    failed: int = 0
    warned: int = 0
    failed_uids: list[str] = field(default_factory=list)
    cancelled: bool = False

    def count(self, sop_instance_uid: str, status: int | None) -> None:
        """Count one that has ended with ``status``; None when it was not, or could not be, sent."""
        category = "Failure" if status is None else code_to_category(status)
        self.remaining -= 1
        self.completed += category == "Success"
        self.warned += category == "Warning"
        if category not in ("Success", "Warning"):
            self.failed += 1
            self.failed_uids.append(sop_instance_uid)

    @property
    def status(self) -> int:
        """What the whole is answered, now that it is over (PS3.4 sections C.4.2.1.5 and C.4.3.1.4)."""
        if self.cancelled:
            return _CANCELLED
        if self.failed and not self.completed and not self.warned:
            return _ALL_FAILED
        return _SOME_FAILED if self.failed or self.warned else 0x0000


class Exchange:
    """One C-MOVE or C-GET request and its responses."""

    def __init__(self, association: Association, request: C_MOVE | C_GET, context: PresentationContext) -> None:
        self.association, self.request = association, request
        self.message_id = int(request.MessageID or 0)
        self._context_id, self._syntax = int(context.context_id or 0), context.transfer_syntax[0]

    def read_identifier(self) -> Dataset:
        """Decode the identifier.

        Raises
        ------
        IdentifierUnreadable
            If it cannot be.
        """
        try:
            return decode(self.request.Identifier or BytesIO(), self._syntax.is_implicit_VR, self._syntax.is_little_endian)
        except UNREADABLE as error:
            raise IdentifierUnreadable(f"The identifier cannot be decoded ({type(error).__name__}).") from error

    def is_cancelled(self) -> bool:
        """Whether a C-CANCEL for this request has come (PS3.7 section 9.3.2.3)."""
        return self.association.dimse.cancel_req.pop(self.message_id, None) is not None

    def is_gone(self) -> bool:
        """Whether nobody waits for a response any more."""
        return is_gone(self.association)

    def tell(self, progress: Progress) -> None:
        """Send a Pending response."""
        response = self._response(_PENDING)
        response.NumberOfRemainingSuboperations = progress.remaining
        self._send(response, progress)

    def end(self, progress: Progress) -> None:
        """Send the last response, with what has failed where something has."""
        response = self._response(progress.status)
        if progress.cancelled:
            response.NumberOfRemainingSuboperations = progress.remaining
        if progress.status:
            failed = Dataset()
            failed.FailedSOPInstanceUIDList = progress.failed_uids[:_MOST_FAILED_UIDS]
            response.Identifier = BytesIO(encode(failed, self._syntax.is_implicit_VR, self._syntax.is_little_endian) or b"")
        self._send(response, progress)

    def refuse(self, refusal: QueryRefused) -> None:
        """Send a failure."""
        response = self._response(refusal.status)
        response.ErrorComment = comment_of(refusal)  # type: ignore[assignment]
        self.association.dimse.send_msg(response, self._context_id)

    def _response(self, status: int) -> C_MOVE | C_GET:
        response = type(self.request)()
        response.MessageIDBeingRespondedTo = self.message_id
        response.AffectedSOPClassUID = self.request.AffectedSOPClassUID
        response.Status = status
        return response

    def _send(self, response: C_MOVE | C_GET, progress: Progress) -> None:
        response.NumberOfCompletedSuboperations = progress.completed
        response.NumberOfFailedSuboperations = progress.failed
        response.NumberOfWarningSuboperations = progress.warned
        wait_for_room(self.association)
        self.association.dimse.send_msg(response, self._context_id)
