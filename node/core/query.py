"""Questions of peers about what is held (Query/Retrieve, PS3.4 Annex C)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from node.core.study import Peer

Level = Literal["PATIENT", "STUDY", "SERIES", "IMAGE"]
Root = Literal["PATIENT", "STUDY"]

#: From the top of the hierarchy to its bottom (PS3.4 section C.6.1.1). The Study Root model begins at the study.
LEVELS: tuple[Level, ...] = ("PATIENT", "STUDY", "SERIES", "IMAGE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asks, by which service, in which information model."""

    association_id: str
    peer: Peer
    service: Literal["C-FIND", "C-MOVE", "C-GET"]
    root: Root


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a question is about, as far as it may be written down: no values but UIDs.

    Attributes
    ----------
    keys : tuple of str
        The keywords of the attributes that had to match.
    uids : mapping
        Keyword -> the UIDs that were asked for.
    """

    level: str
    keys: tuple[str, ...] = ()
    uids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Instances of one series and one SOP class that are held.

    Attributes
    ----------
    entity : str
        The unique key of the patient, study, series or instance that was asked about and that they belong to.
    key : str
        Where the bytes of one of them lie.
    """

    entity: str
    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    sop_class_uid: str
    instances: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One instance that is held, received or made here.

    Attributes
    ----------
    transfer_syntax_uid : str
        Empty for what was made here: its file says it.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """What became of a C-MOVE or a C-GET.

    Attributes
    ----------
    status : int or None
        What the requester was answered at the end; None when it was gone.
    reason : str
        What went wrong, for an operator; empty when nothing did.
    """

    destination: str
    completed: int = 0
    failed: int = 0
    warned: int = 0
    status: int | None
    reason: str = ""
