"""One Store request: its parts become instances at the same desk as those of a C-STORE association.

All of it runs in threads, for it waits for the disk; one piece of a request at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import structlog

from node.core.part10 import FileMeta, NoFileMeta, find_data_set, read_file_meta
from node.core.study import Arrival, Peer
from node.web.parts import Parts
from node.web.refused import Refused

log = structlog.get_logger(__name__)

#: PS3.18 Table I.2-2.
_PROCESSING_FAILURE = 0x0110
#: Each leaves an item in the answer.
_MOST_PARTS = 100_000
_DICOM = "application/dicom"


class Reception(Protocol):
    """One instance on its way in."""

    def write(self, fragment: memoryview) -> None:
        """Take the next bytes of the data set."""

    def finish(self) -> int:
        """Make it durable; return the status that a C-STORE would be answered."""

    def abandon(self) -> None:
        """The rest will not come."""


class Station(Protocol):
    """What the port needs from the station behind it. A request is to it what an association is."""

    def begin(self, arrival: Arrival) -> Reception:
        """Begin to take an instance."""

    def open(self, association_id: str, peer: Peer) -> None:
        """Note that a request was let in."""

    def reject(self, association_id: str, peer: Peer, reason: str) -> None:
        """Note that a request was turned away."""

    def close(self, association_id: str, peer: Peer, how: str, count: int) -> None:
        """Note that a request has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one part."""

    sop_class_uid: str
    sop_instance_uid: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What a request is about.

    Attributes
    ----------
    id : str
        The association's id, in the words of the ledger.
    study_instance_uid : str
        As its path says; empty when instances of any study may come.
    largest : int
        Bytes of one part.
    """

    id: str
    peer: Peer
    boundary: str
    study_instance_uid: str
    largest: int


class Submission:
    """Takes the body of one request.

    Attributes
    ----------
    outcomes : list of Outcome
        One for each part that came whole.
    """

    def __init__(self, station: Station, errand: Errand) -> None:
        self._station, self._errand = station, errand
        self._parts = Parts(errand.boundary, self)
        self._turn = threading.Lock()
        self._ending = "aborted"
        self._is_over = False
        self._front = bytearray()
        self._size = 0
        self._meta = FileMeta()
        self._reception: Reception | None = None
        self.outcomes: list[Outcome] = []

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the body.

        Raises
        ------
        Refused
            If the request must be given up.
        """
        with self._turn:
            if not self._is_over:
                self._parts.write(chunk)

    def finish(self) -> None:
        """The body has come whole.

        Raises
        ------
        Refused
            If it was none.
        """
        with self._turn:
            self._parts.finish()
            self._ending = "released"

    def close(self) -> None:
        """The request is over, whatever came of it; a part that was not whole is taken back."""
        with self._turn:
            self._is_over = True
            if self._reception is not None:
                self._reception.abandon()
            stored = sum(outcome.status == 0 for outcome in self.outcomes)
            self._station.close(self._errand.id, self._errand.peer, self._ending, stored)

    def begin_part(self, headers: Mapping[str, str]) -> None:
        """A part begins (PS3.18 section 8.7.1)."""
        kind = headers.get("content-type", _DICOM).partition(";")[0].strip().lower()
        if kind != _DICOM:
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"A part is not {_DICOM}; only whole DICOM files are taken.")
        if headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A part has a Content-Transfer-Encoding; DICOM files are sent as they are.")
        if len(self.outcomes) == _MOST_PARTS:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The request has more than {_MOST_PARTS} parts; send the rest in another.")
        self._front, self._size = bytearray(), 0

    def take(self, fragment: memoryview) -> None:
        """Take the next bytes of a DICOM file: its File Meta Information is read, its data set goes on as it comes."""
        self._size += len(fragment)
        if self._size > self._errand.largest:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A part is larger than {self._errand.largest} bytes.")
        if self._reception is not None:
            self._reception.write(fragment)
            return
        self._front += fragment
        try:
            offset = find_data_set(self._front)
        except NoFileMeta:
            self._begin(FileMeta(), 0)
        else:
            if offset is not None:
                self._begin(read_file_meta(self._front[:offset]), offset)

    def end_part(self) -> None:
        """The file is whole: have it made durable, or refused."""
        reception = self._reception or self._begin(FileMeta(), 0)
        status = self._finish(reception)
        self._reception = None
        meta = self._meta
        self.outcomes.append(Outcome(sop_class_uid=meta.sop_class_uid, sop_instance_uid=meta.sop_instance_uid, status=status))

    def _begin(self, meta: FileMeta, offset: int) -> Reception:
        """Begin an instance; what is no DICOM file says nothing of itself, and is refused by the desk, which writes that down."""
        self._meta = meta
        arrival = Arrival(
            peer=self._errand.peer,
            association_id=self._errand.id,
            sop_class_uid=meta.sop_class_uid,
            sop_instance_uid=meta.sop_instance_uid,
            transfer_syntax_uid=meta.transfer_syntax_uid,
            study_instance_uid=self._errand.study_instance_uid,
        )
        self._reception = reception = self._station.begin(arrival)
        front, self._front = self._front, bytearray()
        reception.write(memoryview(front)[offset:])
        return reception

    def _finish(self, reception: Reception) -> int:
        try:
            return reception.finish()
        except Exception:  # the boundary: a traceback for the log, the cautious answer for the sender
            log.exception("instance.crashed", association_id=self._errand.id, sop_instance_uid=self._meta.sop_instance_uid)
            reception.abandon()
            return _PROCESSING_FAILURE
