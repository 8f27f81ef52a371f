"""What comes in: an arrival, the instance it becomes, the study that the instances make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

#: What the rule of a study that an operator completed begins with; the name follows.
BY_OPERATOR = "operator "


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who sends: the remote AE, its address, and which of our AE titles it called."""

    calling_ae: str
    called_ae: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """From whom a part of a study came, and to which of our AE titles."""

    calling_ae: str
    called_ae: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request to store: what is said of the data set before it comes. Not yet ours to answer for.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid : str
        As the command set says (Affected SOP Class and Instance UID, PS3.7 section 9.3.1), or the File Meta Information of a file.
    transfer_syntax_uid : str
        As negotiated for the presentation context, or as the file says; empty when what came is no DICOM file.
    study_instance_uid : str
        The study that the request was made for (PS3.18 section 10.5.1); empty when it was made for any.
    """

    peer: Peer
    association_id: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str = ""


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

    @property
    def sameness(self) -> tuple[str, ...]:
        """What makes another instance the same: the same bytes, meaning the same, in the same place."""
        return (self.sop_instance_uid, self.sha256, self.study_instance_uid, self.transfer_syntax_uid)

    def is_same_as(self, other: Instance) -> bool:
        """Whether this and ``other`` are the same."""
        return self.sameness == other.sameness


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
class StudyCount:
    """How much of a study there is somewhere; None where it was not said."""

    instances: int | None
    series: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Something that a study was found to lack.

    Attributes
    ----------
    kind : str
        What told: ``open_association``, ``quiet``, ``step``, ``expected_series``, ``reported``, ``asking``, ``unanswered`` or ``gap``.
    sentence : str
        For people; never a patient's name.
    """

    kind: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A remote AE that was asked how much a study holds.

    Attributes
    ----------
    count : StudyCount or None
        What it said; None when it has not, or could not.
    ours : StudyCount
        Results of ours that it held when it was asked: they are no part of what came in.
    is_pending : bool
        Whether its answer is still to come.
    sentence : str
        Why it did not answer.
    """

    peer: str
    count: StudyCount | None = None
    ours: StudyCount = StudyCount(instances=0, series=0)
    is_pending: bool = False
    sentence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Why a study was judged complete.

    Attributes
    ----------
    rule : str
        What decided: ``quiet``, ``steps``, ``patience`` (something is missing still), ``discontinued`` or ``operator NAME``.
    instances, series : int
        What was held.
    quiet_s : float
        How long nothing must have come; 0 where another rule decided before.
    quiet_why : str
        Where that number comes from.
    called_ae : tuple of str
        The titles whose rules were in force.
    steps : mapping
        Performed procedure steps of the study by state.
    stated : int
        Instances that completed steps refer to.
    asked : tuple of Asked
        Who was asked how much the study holds, and the answers.
    missing : tuple of Missing
        What was waited for in vain.
    """

    rule: str
    instances: int
    series: int
    quiet_s: float
    open_associations: int
    quiet_why: str = "configured"
    patience_s: float = 0.0
    called_ae: tuple[str, ...] = ()
    steps: Mapping[str, int] = field(default_factory=dict)
    stated: int = 0
    asked: tuple[Asked, ...] = ()
    missing: tuple[Missing, ...] = ()

    @property
    def is_by_operator(self) -> bool:
        """Whether an operator overruled what else there was."""
        return self.rule.startswith(BY_OPERATOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcedureStep:
    """What a modality says of the step that it performs (Modality Performed Procedure Step, PS3.4 Annex F).

    Attributes
    ----------
    state : str
        ``IN PROGRESS``, ``COMPLETED`` or ``DISCONTINUED``.
    study_instance_uids : tuple of str
        Every study that the step was scheduled for; usually one.
    performed : mapping
        Series Instance UID -> the SOP Instance UIDs that were made in it.
    started, ended : str
        Date and time by the modality's own clock, as it wrote them; which zone it was in, it need not say.
    reason_code, reason : str
        Why it was discontinued (PS3.16 CID 9300), "110514 DCM" for example; empty when the modality did not say.
    finished_at : datetime or None
        When we were told that it was completed or discontinued, by the database's clock.
    """

    sop_instance_uid: str
    state: str
    calling_ae: str
    study_instance_uids: tuple[str, ...]
    performed: Mapping[str, tuple[str, ...]]
    modality: str = ""
    started: str = ""
    ended: str = ""
    reason_code: str = ""
    reason: str = ""
    finished_at: datetime | None = None
