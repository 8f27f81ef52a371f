"""Storage commitment: what a requester asks us to answer for, and what we say of it (PS3.4 Annex J)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node.core.study import Peer

#: Failure Reason (0008,1197) of an instance that we do not answer for (PS3.3 section C.14.1.1).
PROCESSING_FAILURE, NO_SUCH_INSTANCE, CLASS_CONFLICT, DUPLICATE_TRANSACTION = 0x0110, 0x0112, 0x0119, 0x0131


@dataclass(frozen=True, slots=True)
class Reference:
    """One instance that commitment was asked for (PS3.3 Table 10-11, SOP Instance Reference Macro)."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentRequest:
    """One N-ACTION request.

    Attributes
    ----------
    id : str
        Ours; a Transaction UID is the requester's, and may come twice.
    association_id : str
        On which it came.
    """

    id: str
    transaction_uid: str
    peer: Peer
    association_id: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request is answered a failure, with the status of the N-ACTION response (PS3.7 section 10.1.4.1.10)."""

    status: int
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What we say of one instance.

    Attributes
    ----------
    reason : int
        Why we do not answer for it (PS3.3 section C.14.1.1); 0 when we do.
    study_instance_uid : str or None
        Where it belongs, as far as we know; for the audit log.
    """

    reference: Reference
    reason: int
    study_instance_uid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One N-EVENT-REPORT: what a requester is told of a transaction."""

    transaction_uid: str
    judged: tuple[Judged, ...]

    @property
    def event_type(self) -> int:
        """1 when we answer for every instance, 2 when failures exist (PS3.4 Table J.3-4)."""
        return 2 if any(judged.reason for judged in self.judged) else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One N-EVENT-REPORT that we are sent: what a destination says to a request of ours.

    Attributes
    ----------
    committed : frozenset of str
        The SOP Instance UIDs that it answers for.
    failed : mapping
        Those that it does not -> its failure reason (PS3.3 section C.14.1.1).
    calling_ae : str
        Who says so.
    """

    transaction_uid: str
    committed: frozenset[str]
    failed: Mapping[str, int]
    calling_ae: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pledge:
    """A request of ours that is written down.

    Attributes
    ----------
    age_s : float
        Since it was asked.
    failed : mapping
        What the destination does not answer for: SOP Instance UID -> its failure reason.
    """

    transaction_uid: str
    state: str
    age_s: float
    failed: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """A request that is written down, and waits for its report.

    Attributes
    ----------
    report : Report or None
        What the requester is to be told; None as long as it was not judged.
    attempts : int
        How often it was tried to tell.
    age_s : float
        Since it was asked for.
    """

    request: CommitmentRequest
    report: Report | None
    attempts: int
    age_s: float
