"""Modality Performed Procedure Step SCP (PS3.4 section F.7): what modalities say of the steps that they perform.

Of Table F.7.2-1 the attributes that we use are held to what it demands. The others, all that names the patient among them, are not
looked at; that one of type 2 is absent is no reason to lose what the modality says.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, cast

import structlog
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import N_CREATE, N_SET

from node.core.errors import StepRefused, StorageError
from node.core.step import COMPLETED, DISCONTINUED, IN_PROGRESS, Statement
from node.core.uids import is_valid_uid
from node.dimse.visit import FindVisit, Handler, Visit

log = structlog.get_logger(__name__)

MPPS = "1.2.840.10008.3.1.2.3.3"
TRANSFER_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")

#: Why we refuse -> what is answered (PS3.7 sections 10.1.3.1.9 and 10.1.5.1.6).
STATUS: Mapping[str, int] = {
    "invalid_value": 0x0106,
    "final": 0x0110,
    "duplicate": 0x0111,
    "unknown": 0x0112,
    "other_class": 0x0118,
    "missing_attribute": 0x0120,
    "missing_value": 0x0121,
}
#: An N-SET has no status for an attribute that is absent, only for one without a value.
STATUS_OF_SET: Mapping[str, int] = {**STATUS, "missing_attribute": STATUS["missing_value"]}
_PROCESSING_FAILURE, _RESOURCE_LIMITATION = 0x0110, 0x0213
_FINAL_ERROR_ID = 0xA710  # PS3.4 Table F.7.2-2

_TIME = re.compile(r"[0-9.:]{1,16}")  # DA and TM (PS3.5 section 6.2), with the separators of ACR-NEMA
_CODE_STRING = re.compile(r"[A-Z0-9 _]{1,16}")


class StepStation(Protocol):
    """What the service needs from the station behind it. Each returns when the fact is durable."""

    def create(self, statement: Statement) -> None:
        """Enter a step that has begun, or raise StepRefused."""

    def set_(self, statement: Statement) -> None:
        """Change a step, or raise StepRefused."""

    def refuse(self, sop_instance_uid: str, association_id: str, error: StepRefused) -> None:
        """Note that a statement was refused; the answer does not depend on it."""


class PerformedSteps:
    """The service: N-CREATE and N-SET."""

    def __init__(self, station: StepStation) -> None:
        self._station = station

    def support(self, ae: AE) -> None:
        """Add the presentation context of the SOP class."""
        ae.add_supported_context(MPPS, list(TRANSFER_SYNTAXES))

    def handlers(self, visit_of: FindVisit) -> Sequence[Handler]:
        """Serve N-CREATE and N-SET."""

        def create(event: evt.Event) -> tuple[Dataset, Dataset | None]:
            request = cast(N_CREATE, event.request)
            asked = str(request.AffectedSOPInstanceUID or "")
            uid = asked or f"2.25.{uuid.uuid4().int}"  # the SCP makes one, and must say which (PS3.7 section 10.1.5.1.4)

            def take(visit: Visit) -> None:
                blank = _begin(visit, str(request.AffectedSOPClassUID), uid)
                self._station.create(read_creation(event.attribute_list, blank))

            answer = self._answer(visit_of(event.assoc), uid, take, STATUS)
            return answer, None if asked or answer.Status else _named(uid)

        def set_(event: evt.Event) -> tuple[Dataset, None]:
            request = cast(N_SET, event.request)
            uid = str(request.RequestedSOPInstanceUID)

            def take(visit: Visit) -> None:
                blank = _begin(visit, str(request.RequestedSOPClassUID), uid)
                self._station.set_(read_change(event.modification_list, blank))

            return self._answer(visit_of(event.assoc), uid, take, STATUS_OF_SET), None

        return [(evt.EVT_N_CREATE, create), (evt.EVT_N_SET, set_)]

    def _answer(self, visit: Visit | None, uid: str, take: Callable[[Visit], None], statuses: Mapping[str, int]) -> Dataset:
        """Run ``take``; whatever happens in it, Success is answered only when it came to its end."""
        if visit is None:
            return _status(_PROCESSING_FAILURE)  # the connection broke behind the request: nobody is there to be answered
        try:
            take(visit)
        except StepRefused as error:
            log.warning("step.refused", code=error.full_code, sentence=error.sentence, association_id=visit.id)
            self._station.refuse(uid if is_valid_uid(uid) else "", visit.id, error)
            return _status(statuses[error.reason], error.sentence, _FINAL_ERROR_ID if error.reason == "final" else None)
        except StorageError as error:
            log.error("step.not_recorded", code=error.full_code, sentence=error.sentence, association_id=visit.id)
            return _status(_RESOURCE_LIMITATION, "It cannot be recorded now; send it again.")
        except Exception as error:  # noqa: BLE001 - the boundary; no traceback, for what stood in the data set may name a patient
            log.error("step.crashed", error=type(error).__name__, association_id=visit.id)
            refusal = StepRefused(f"The data set cannot be read ({type(error).__name__}).", reason="unreadable")
            self._station.refuse(uid if is_valid_uid(uid) else "", visit.id, refusal)
            return _status(_PROCESSING_FAILURE, refusal.sentence)
        return _status(0x0000)


def _begin(visit: Visit, sop_class: str, uid: str) -> Statement:
    """A statement that states nothing yet."""
    if sop_class != MPPS:
        raise StepRefused("The request names another SOP class than it was negotiated for.", reason="other_class")
    if not is_valid_uid(uid):
        raise StepRefused("The SOP Instance UID is not a UID by PS3.5 section 9.1.", reason="invalid_value")
    return Statement(request_id=str(uuid.uuid4()), sop_instance_uid=uid, association_id=visit.id, calling_ae=visit.peer.calling_ae)


def _status(code: int, comment: str = "", error_id: int | None = None) -> Dataset:
    answer = Dataset()
    answer.Status = code
    if comment:
        answer.ErrorComment = comment[:64]  # LO (PS3.5 section 6.2)
    if error_id is not None:
        answer.ErrorID = error_id
    return answer


def _named(uid: str) -> Dataset:
    answer = Dataset()
    answer.AffectedSOPInstanceUID = uid
    return answer


def read_creation(data_set: Dataset, blank: Statement) -> Statement:
    """Read the attribute list of an N-CREATE.

    Raises
    ------
    StepRefused
        If the state is not IN PROGRESS (PS3.4 section F.7.2.1.3), or an attribute that must have a value has none.
    """
    if (state := _needed(data_set, "PerformedProcedureStepStatus")) != IN_PROGRESS:
        raise StepRefused("A step is created IN PROGRESS and in no other state.", reason="invalid_value")
    _needed(data_set, "PerformedProcedureStepID")
    start = (_needed(data_set, "PerformedProcedureStepStartDate"), _needed(data_set, "PerformedProcedureStepStartTime"))
    return replace(
        blank,
        state=state,
        study_instance_uids=_studies(data_set),
        station_ae=_short(_needed(data_set, "PerformedStationAETitle"), "Performed Station AE Title"),
        modality=_matching(_CODE_STRING, _needed(data_set, "Modality"), "Modality"),
        started=" ".join(_matching(_TIME, part, "Performed Procedure Step Start Date or Time") for part in start),
        ended=_end(data_set),
        performed=_performed(data_set),
    )


def read_change(data_set: Dataset, blank: Statement) -> Statement:
    """Read the modification list of an N-SET.

    That a step is discontinued is taken even when what comes with it is not as it should be: it stops work.

    Raises
    ------
    StepRefused
        If the state is none that there is, or an attribute that must have a value has none.
    """
    state = _text(data_set, "PerformedProcedureStepStatus") if "PerformedProcedureStepStatus" in data_set else None
    if state not in (None, IN_PROGRESS, COMPLETED, DISCONTINUED):
        raise StepRefused("The state is none of IN PROGRESS, COMPLETED, DISCONTINUED.", reason="invalid_value")
    blank = replace(blank, state=state)
    if state == DISCONTINUED:
        code, meaning = _reason(data_set)
        blank = replace(blank, reason_code=code, reason=meaning)
    try:
        studies = _studies(data_set) if "ScheduledStepAttributesSequence" in data_set else ()
        return replace(blank, study_instance_uids=studies, ended=_end(data_set), performed=_performed(data_set))
    except StepRefused as error:
        if state != DISCONTINUED:
            raise
        return replace(blank, faults=(error.sentence,))


def _studies(data_set: Dataset) -> tuple[str, ...]:
    items = _items(data_set, "ScheduledStepAttributesSequence")
    if not items:
        absent = items is None
        raise StepRefused(
            "Scheduled Step Attributes Sequence (0040,0270) is missing or empty.", reason="missing_attribute" if absent else "missing_value"
        )
    return tuple(dict.fromkeys(_uid(item, "StudyInstanceUID") for item in items))


def _performed(data_set: Dataset) -> dict[str, tuple[str, ...]] | None:
    items = _items(data_set, "PerformedSeriesSequence")
    if items is None:
        return None
    found: dict[str, tuple[str, ...]] = {}
    for item in items:
        series = _uid(item, "SeriesInstanceUID")
        found[series] = tuple(dict.fromkeys((*found.get(series, ()), *_referenced(item))))
    return found


def _referenced(item: Dataset) -> list[str]:
    """What a series holds: its images and its other objects, which have no meaning apart (PS3.4 section F.7.2.2.2, note 2)."""
    lists = [_items(item, name) for name in ("ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence")]
    if all(found is None for found in lists):
        # Both are of type 2; that they are not even there must not be taken for a series without instances.
        raise StepRefused("A performed series lists no instances, not even that there are none.", reason="missing_attribute")
    return [_uid(reference, "ReferencedSOPInstanceUID") for found in lists for reference in found or ()]


def _end(data_set: Dataset) -> str | None:
    parts = [_text(data_set, f"PerformedProcedureStepEnd{name}") for name in ("Date", "Time")]
    if not any(f"PerformedProcedureStepEnd{name}" in data_set for name in ("Date", "Time")):
        return None
    return " ".join(_matching(_TIME, part, "Performed Procedure Step End Date or Time") for part in parts) if all(parts) else ""


def _reason(data_set: Dataset) -> tuple[str | None, str | None]:
    """Why a step is discontinued, as code and meaning (PS3.16 CID 9300); None when it is not said, or not in the form of a code."""
    items = data_set.get("PerformedProcedureStepDiscontinuationReasonCodeSequence")
    if not isinstance(items, Sequence) or not items:
        return None, None
    value = next(filter(None, (_text(items[0], name) for name in ("CodeValue", "LongCodeValue", "URNCodeValue"))), "")
    return f"{value} {_text(items[0], 'CodingSchemeDesignator')}".strip()[:80], " ".join(_text(items[0], "CodeMeaning").split())[:64]


def _items(data_set: Dataset, keyword: str) -> Sequence[Dataset] | None:
    if keyword not in data_set:
        return None
    value = data_set[keyword].value
    if value is None:
        return ()
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise StepRefused(f"{keyword} is no sequence.", reason="invalid_value")
    return value


def _uid(data_set: Dataset, keyword: str) -> str:
    value = _needed(data_set, keyword)
    if not is_valid_uid(value):
        raise StepRefused(f"{keyword} is not a UID by PS3.5 section 9.1.", reason="invalid_value")
    return value


def _needed(data_set: Dataset, keyword: str) -> str:
    """The value of an attribute of type 1."""
    if keyword not in data_set:
        raise StepRefused(f"{keyword} is missing.", reason="missing_attribute")
    value = _text(data_set, keyword)
    if not value:
        raise StepRefused(f"{keyword} is empty.", reason="missing_value")
    return value


def _text(data_set: Dataset, keyword: str) -> str:
    """The value as it was sent; pydicom would warn of one that its VR does not allow, and put it into the log."""
    if keyword not in data_set:
        return ""
    value = data_set.get_item(Tag(keyword)).value
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            value = value.decode("latin-1")
    return "" if value is None else str(value).strip("\0 ")


def _short(value: str, name: str) -> str:
    if len(value) > 16:
        raise StepRefused(f"{name} is longer than its VR allows.", reason="invalid_value")
    return value


def _matching(pattern: re.Pattern[str], value: str, name: str) -> str:
    if not pattern.fullmatch(value):
        raise StepRefused(f"{name} is not as its VR demands.", reason="invalid_value")
    return value
