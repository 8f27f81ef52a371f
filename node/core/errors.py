"""The one error tree of RadNode.

The lower half, what can be wrong with an input, a model or a device, lives in ``pipelines.errors`` because the pipelines
raise it; it is re-exported here. The upper half is what can be wrong around them::

    CodedError
      ConfigError                 at start: every fault listed, exit 2
      RefusedByUs      refuse     answers a C-STORE status: NotAuthorised NotEnoughDisk DoesNotMatch NotUnderstood ConflictingDuplicate
      QueryRefused     refuse     answers a C-FIND, C-MOVE or C-GET status: NotAllowedToAsk IdentifierMismatch IdentifierUnreadable
                                  TooManyMatches TooManyInstances UnknownDestination
      InputError       refuse     (pipelines) NoUsableSeries GeometryError IdentityConflict UnsupportedPixelData ImplausibleResult
                                  EvaluationError QualityError Discontinued Purged
      ModelError       fail       (pipelines) BundleMissing DigestMismatch BundleContract WrongOutput
      DeviceError      retry      (pipelines) OutOfMemory DeviceLost TimedOut
      EncodeError      fail       our object would be wrong: nothing is sent
      DeliveryError               PeerUnavailable retry, PeerRefused refuse
      StorageError     retry      the spool or the ledger cannot be written
      WrongPlace       fail       the node would keep its state where it is not safe, or on one host too many
      StepRefused      refuse   answers an N-CREATE or N-SET of a performed procedure step
      StateError       fail       something was asked of a study, a job or a delivery that its state does not allow
"""

from __future__ import annotations

from typing import ClassVar

from pipelines.errors import (
    BundleContract,
    BundleMissing,
    CodedError,
    DeviceError,
    DeviceLost,
    DigestMismatch,
    EvaluationError,
    GeometryError,
    IdentityConflict,
    ImplausibleResult,
    InputError,
    ModelError,
    NoUsableSeries,
    OutOfMemory,
    QualityError,
    TimedOut,
    UnsupportedPixelData,
    Verdict,
    WrongOutput,
)

__all__ = [
    "BundleContract",
    "BundleMissing",
    "Cancelled",
    "CodedError",
    "ConfigError",
    "ConflictingDuplicate",
    "DeliveryError",
    "DeviceError",
    "DeviceLost",
    "DigestMismatch",
    "Discontinued",
    "DoesNotMatch",
    "EncodeError",
    "EvaluationError",
    "GeometryError",
    "IdentifierMismatch",
    "IdentifierUnreadable",
    "IdentityConflict",
    "ImplausibleResult",
    "InputError",
    "ModelError",
    "NoUsableSeries",
    "NotAllowedToAsk",
    "NotAuthorised",
    "NotEnoughDisk",
    "NotUnderstood",
    "OutOfMemory",
    "PeerRefused",
    "PeerUnavailable",
    "Purged",
    "QualityError",
    "QueryRefused",
    "RefusedByUs",
    "StateError",
    "StepRefused",
    "StorageError",
    "TimedOut",
    "TooManyInstances",
    "TooManyMatches",
    "UnknownDestination",
    "UnsupportedPixelData",
    "Verdict",
    "WrongOutput",
    "WrongPlace",
]


class ConfigError(CodedError):
    """The configuration has faults; the sentence lists every one of them."""

    code = "CONFIG"
    verdict = Verdict.FAIL


class RefusedByUs(CodedError):
    """An instance that we do not take; the sender is told by a C-STORE failure status (PS3.4 Table B.2-1, PS3.7 Annex C)."""

    code = "REFUSED"
    verdict = Verdict.REFUSE
    status: ClassVar[int] = 0xC000


class NotAuthorised(RefusedByUs):
    """The sender may not do this."""

    code = "NOT_AUTHORISED"
    status = 0x0124


class NotEnoughDisk(RefusedByUs):
    """There is no room, or the disk or the database cannot be written: send again later."""

    code = "NOT_ENOUGH_DISK"
    status = 0xA700


class DoesNotMatch(RefusedByUs):
    """The data set is not what its request says it is."""

    code = "DOES_NOT_MATCH"
    status = 0xA900


class NotUnderstood(RefusedByUs):
    """The data set cannot be read, or lacks the identity without which no result could be filed."""

    code = "NOT_UNDERSTOOD"
    status = 0xC000


class ConflictingDuplicate(RefusedByUs):
    """This SOP Instance UID is held already, with other bytes."""

    code = "CONFLICTING_DUPLICATE"
    status = 0xC001


class StepRefused(CodedError):
    """A statement on a performed procedure step that we do not take; the reason decides the status that is answered (PS3.7 Annex C)."""

    code = "STEP_REFUSED"
    verdict = Verdict.REFUSE


class Discontinued(InputError):
    """The modality has discontinued the procedure step that this is about: its images may be incomplete, or another patient's."""

    code = "DISCONTINUED"


class Cancelled(CodedError):
    """An operator has cancelled the work."""

    code = "CANCELLED"
    verdict = Verdict.REFUSE


class Purged(InputError):
    """Instances that this is about were let go by a rule of [retention]; nothing is made of the rest."""

    code = "PURGED"


class QueryRefused(CodedError):
    """A question that we do not answer; who asked is told by a failure status (PS3.4 sections C.4.1.1.4, C.4.2.1.5 and C.4.3.1.4)."""

    code = "QUERY_REFUSED"
    verdict = Verdict.REFUSE
    status: ClassVar[int] = 0xC000


class NotAllowedToAsk(QueryRefused):
    """The peer may not query or retrieve (PS3.7 Annex C)."""

    code = "NOT_ALLOWED_TO_ASK"
    status = 0x0124


class TooManyMatches(QueryRefused):
    """More matches than are answered to one question, or the ledger is away: ask for less, or again later."""

    code = "TOO_MANY_MATCHES"
    status = 0xA700


class TooManyInstances(QueryRefused):
    """More instances than one retrieval can count, or the ledger is away: ask for less, or again later."""

    code = "TOO_MANY_INSTANCES"
    status = 0xA701


class UnknownDestination(QueryRefused):
    """The move destination is no remote AE of ours."""

    code = "UNKNOWN_DESTINATION"
    status = 0xA801


class IdentifierMismatch(QueryRefused):
    """The identifier has no level that the SOP class knows, or lacks a unique key."""

    code = "IDENTIFIER_MISMATCH"
    status = 0xA900


class IdentifierUnreadable(QueryRefused):
    """The identifier cannot be decoded."""

    code = "IDENTIFIER_UNREADABLE"
    status = 0xC000


class EncodeError(CodedError):
    """Our own object would be wrong; nothing is sent."""

    code = "ENCODE"
    verdict = Verdict.FAIL


class DeliveryError(CodedError):
    """A destination did not take an object."""

    code = "DELIVERY"
    verdict = Verdict.RETRY


class PeerUnavailable(DeliveryError):
    """The destination could not be reached, or is busy: try again."""

    code = "PEER_UNAVAILABLE"


class PeerRefused(DeliveryError):
    """The destination will not take the object however often it is sent."""

    code = "PEER_REFUSED"
    verdict = Verdict.REFUSE


class StorageError(CodedError):
    """The spool or the ledger cannot be read or written now."""

    code = "STORAGE"
    verdict = Verdict.RETRY


class WrongPlace(CodedError):
    """The node would keep its state where it is not safe, or share with another host what cannot be shared; it does not start."""

    code = "WRONG_PLACE"
    verdict = Verdict.FAIL


class StateError(CodedError):
    """Something was asked of a study, a job or a delivery that its state does not allow."""

    code = "STATE"
    verdict = Verdict.FAIL
