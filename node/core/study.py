"""What comes in: an arrival, the instance it becomes, the study that the instances make."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who sends: the remote AE, its address, and which of our AE titles it called."""

    calling_ae: str
    called_ae: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One C-STORE request: what its command says before the data set comes. Not yet ours to answer for.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid : str
        As the command set says (Affected SOP Class and Instance UID, PS3.7 section 9.3.1).
    transfer_syntax_uid : str
        As negotiated for the presentation context.
    """

    peer: Peer
    association_id: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance with the identity that it was accepted under.

    Attributes
    ----------
    key : str
        Where its bytes lie in the spool.
    sha256 : str
        Over the data set as it was sent, without the File Meta Information that we put before it.
    size : int
        Length of the data set in bytes.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    series_instance_uid: str
    study_instance_uid: str
    patient_id: str
    modality: str
    key: str
    sha256: str
    size: int

    def is_same_as(self, other: Instance) -> bool:
        """Whether this and ``other`` are the same bytes, meaning the same, in the same place."""
        names = ("sop_instance_uid", "sha256", "study_instance_uid", "transfer_syntax_uid")
        return all(getattr(self, name) == getattr(other, name) for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An instance that its sender was, or is about to be, answered Success for."""

    instance: Instance
    arrival: Arrival


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study at one revision. A late instance makes a new revision, never a silent change."""

    study_instance_uid: str
    revision: int
    state: str
    instances: int
    last_activity_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Why a study was judged complete."""

    rule: str
    instances: int
    series: int
    quiet_s: float
    open_associations: int
