"""What goes out: encoded objects, and what of them is owed to whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ObjectKind = Literal["SEG", "SR"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """Who we are, as our objects state it (General Equipment Module, PS3.3 C.7.5.1)."""

    manufacturer: str
    model_name: str
    software_version: str
    serial_number: str
    institution_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedObject:
    """One DICOM object that we made, as the bytes of a Part 10 file.

    It is encoded once, stored, and always sent from the same file: one UID never names two contents.
    """

    kind: ObjectKind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Product:
    """What one job made: the objects in the order in which they are to be sent, and a summary for the audit log."""

    objects: tuple[EncodedObject, ...]
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An encoded object that lies in the spool."""

    kind: ObjectKind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    key: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One stored object owed to one destination."""

    job_id: str
    destination: str
    object: StoredObject
    state: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one object in one association.

    Attributes
    ----------
    event : str
        ``accept``, ``retry`` or ``refuse``: an event of the delivery's transition table.
    dimse_status : int or None
        The status of the C-STORE response; None when there was none.
    sentence : str
        For an operator.
    """

    event: Literal["accept", "retry", "refuse"]
    dimse_status: int | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was learned of an object that its destination had said Success to.

    Attributes
    ----------
    event : str
        ``commit``, ``find`` or ``lose``: an event of the delivery's transition table.
    sentence : str
        For an operator.
    """

    event: Literal["commit", "find", "lose"]
    sentence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unconfirmed:
    """An object that its destination has said Success to, and what is not known more of.

    Attributes
    ----------
    age_s : float
        Since it was sent.
    """

    delivery: Delivery
    age_s: float
