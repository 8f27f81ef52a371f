"""The one error tree of RadNode.

The lower half, what can be wrong with an input, a model or a device, lives in ``pipelines.errors`` because the pipelines
raise it; it is re-exported here. The upper half is what can be wrong around them::

    CodedError
      ConfigError                 at start: every fault listed, exit 2
      RefusedByUs      refuse     answers a C-STORE status: NotAuthorised NotEnoughDisk DoesNotMatch NotUnderstood ConflictingDuplicate
      InputError       refuse     (pipelines) NoUsableSeries GeometryError IdentityConflict UnsupportedPixelData ImplausibleResult
      ModelError       fail       (pipelines) BundleMissing DigestMismatch BundleContract WrongOutput
      DeviceError      retry      (pipelines) OutOfMemory DeviceLost TimedOut
      EncodeError      fail       our object would be wrong: nothing is sent
      DeliveryError               PeerUnavailable retry, PeerRefused refuse
      StorageError     retry      the spool or the ledger cannot be written
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
    GeometryError,
    IdentityConflict,
    ImplausibleResult,
    InputError,
    ModelError,
    NoUsableSeries,
    OutOfMemory,
    TimedOut,
    UnsupportedPixelData,
    Verdict,
    WrongOutput,
)

__all__ = [
    "BundleContract",
    "BundleMissing",
    "CodedError",
    "ConfigError",
    "ConflictingDuplicate",
    "DeliveryError",
    "DeviceError",
    "DeviceLost",
    "DigestMismatch",
    "DoesNotMatch",
    "EncodeError",
    "GeometryError",
    "IdentityConflict",
    "ImplausibleResult",
    "InputError",
    "ModelError",
    "NoUsableSeries",
    "NotAuthorised",
    "NotEnoughDisk",
    "NotUnderstood",
    "OutOfMemory",
    "PeerRefused",
    "PeerUnavailable",
    "RefusedByUs",
    "StateError",
    "StorageError",
    "TimedOut",
    "UnsupportedPixelData",
    "Verdict",
    "WrongOutput",
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
    """The data set is not what the C-STORE command says it is."""

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


class StateError(CodedError):
    """Something was asked of a study, a job or a delivery that its state does not allow."""

    code = "STATE"
    verdict = Verdict.FAIL
