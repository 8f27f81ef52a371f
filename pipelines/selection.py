"""Which series of a study a pipeline takes, and for every other one the reason why not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from pipelines.damage import damage_refused
from pipelines.spec import SeriesRule
from pipelines.stacking import SAME_COSINES, numbers

#: A plane is called axial, coronal or sagittal while its normal is within 30 degrees of that axis.
PLANE_COSINE = float(np.cos(np.radians(30.0)))
PLANES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a series was not taken: a stable code and a sentence for people."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFacts:
    """What selection needs to know of one series; plain values, so that they can be stored.

    Attributes
    ----------
    modality, body_part, description : str
        Of the first instance, upper case for the first two.
    sop_class_uids : tuple of str
        All that occur, sorted.
    image_type_everywhere, image_type_anywhere : frozenset of str
        Values of Image Type (0008,0008) that every, or at least one, instance has.
    orientation : str
        ``axial``, ``coronal``, ``sagittal``, ``oblique``, ``mixed`` or ``unknown``.
    instances : int
    slice_thickness_mm : float or None
        The largest that occurs; None when an instance does not say.
    """

    series_instance_uid: str
    modality: str
    sop_class_uids: tuple[str, ...]
    image_type_everywhere: frozenset[str]
    image_type_anywhere: frozenset[str]
    body_part: str
    orientation: str
    instances: int
    slice_thickness_mm: float | None
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The series that a rule takes, in order, and a reason for each other one."""

    chosen: tuple[str, ...]
    reasons: dict[str, Reason]


@damage_refused()
def facts_of(headers: Sequence[Dataset]) -> SeriesFacts:
    """Collect the facts of one series from the headers of all its instances.

    Parameters
    ----------
    headers : sequence of Dataset
        At least one; all of one Series Instance UID.

    Raises
    ------
    UnsupportedPixelData
        reason ``unreadable``: a header holds damaged values.
    """
    first = headers[0]
    types = [frozenset(_words(header.get("ImageType"))) for header in headers]
    thickness = [numbers(header, "SliceThickness", 1) for header in headers]
    known = [float(value[0]) for value in thickness if value is not None and np.isfinite(value[0])]
    return SeriesFacts(
        series_instance_uid=str(first.get("SeriesInstanceUID", "")),
        modality=str(first.get("Modality", "")).upper(),
        sop_class_uids=tuple(sorted({str(header.get("SOPClassUID", "")) for header in headers})),
        image_type_everywhere=frozenset.intersection(*types),
        image_type_anywhere=frozenset.union(*types),
        body_part=str(first.get("BodyPartExamined", "")).upper(),
        orientation=_orientation(headers),
        instances=len(headers),
        slice_thickness_mm=max(known) if len(known) == len(headers) else None,
        description=str(first.get("SeriesDescription", "")),
    )


def why_not(rule: SeriesRule, facts: SeriesFacts) -> Reason | None:
    """The first rule that the series breaks, or None when it fits.

    Codes: ``modality``, ``sop_class``, ``image_type``, ``body_part``, ``orientation``, ``instances``, ``slice_thickness``,
    ``description``.
    """
    types = f"{_listed(sorted(facts.image_type_anywhere))}; wanted is {_listed(rule.image_type_all)} everywhere"
    checks = (
        ("modality", facts.modality in rule.modality, f"Modality is {facts.modality or 'missing'}, wanted is {_listed(rule.modality)}."),
        (
            "sop_class",
            not rule.sop_class_uid or set(facts.sop_class_uids) <= set(rule.sop_class_uid),
            f"SOP class is {_listed(facts.sop_class_uids)}, wanted is {_listed(rule.sop_class_uid)}.",
        ),
        ("image_type", _image_type_fits(rule, facts), f"Image Type is {types} and {_listed(rule.image_type_none)} nowhere."),
        (
            "body_part",
            not rule.body_part or facts.body_part in rule.body_part,
            f"Body part is {facts.body_part or 'missing'}, wanted is {_listed(rule.body_part)}.",
        ),
        (
            "orientation",
            rule.orientation in ("any", facts.orientation),
            f"Orientation is {facts.orientation}, wanted is {rule.orientation}.",
        ),
        ("instances", facts.instances in rule.instances, f"The series has {facts.instances} instances, wanted are {rule.instances}."),
        (
            "slice_thickness",
            _thickness_fits(rule, facts),
            f"Slice thickness is {facts.slice_thickness_mm or 'missing'} mm, wanted is {rule.slice_thickness_mm} mm.",
        ),
        (
            "description",
            re.search(rule.description_pattern, facts.description, re.IGNORECASE) is not None,
            f"The series description does not match {rule.description_pattern!r}.",
        ),
    )
    return next((Reason(code=code, sentence=sentence) for code, holds, sentence in checks if not holds), None)


def select(rule: SeriesRule, candidates: Iterable[SeriesFacts]) -> Selection:
    """Apply a rule to all series of a study.

    ``thinnest`` takes the smallest slice thickness (unknown counts as thickest) and then the most instances, ``most_instances`` the
    other way round; the Series Instance UID breaks a tie, so that the same study always gives the same choice. ``all`` takes every
    series that fits. Whatever is not taken has a reason: its own, or ``not_chosen``.
    """
    reasons: dict[str, Reason] = {}
    fitting: list[SeriesFacts] = []
    for facts in candidates:
        reason = why_not(rule, facts)
        if reason is None:
            fitting.append(facts)
        else:
            reasons[facts.series_instance_uid] = reason
    fitting.sort(key=lambda facts: _preference(rule, facts))
    chosen = fitting if rule.choose == "all" else fitting[:1]
    for facts in fitting[len(chosen) :]:
        reasons[facts.series_instance_uid] = Reason(
            code="not_chosen", sentence=f"The series fits, but another one was preferred ({rule.choose})."
        )
    return Selection(chosen=tuple(facts.series_instance_uid for facts in chosen), reasons=reasons)


def _preference(rule: SeriesRule, facts: SeriesFacts) -> tuple[float, float, str]:
    thickness = float("inf") if facts.slice_thickness_mm is None else facts.slice_thickness_mm
    if rule.choose == "most_instances":
        return -facts.instances, thickness, facts.series_instance_uid
    return thickness, -facts.instances, facts.series_instance_uid


def _words(value: object) -> tuple[str, ...]:
    """The values of a multi-valued text attribute, upper case."""
    if not value:
        return ()
    values = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    return tuple(str(word).strip().upper() for word in values)


def _orientation(headers: Sequence[Dataset]) -> str:
    """Name the plane that all instances share (PS3.3 C.7.6.2.1.1)."""
    planes = [numbers(header, "ImageOrientationPatient", 6) for header in headers]
    known = [plane for plane in planes if plane is not None]
    if len(known) < len(planes):
        return "unknown"
    if np.abs(np.stack(known) - known[0]).max() > SAME_COSINES:
        return "mixed"
    normal = np.abs(np.cross(known[0][:3], known[0][3:]))
    axis = int(np.argmax(normal))
    return PLANES[axis] if normal[axis] >= PLANE_COSINE else "oblique"


def _thickness_fits(rule: SeriesRule, facts: SeriesFacts) -> bool:
    return rule.slice_thickness_mm is None or (facts.slice_thickness_mm is not None and facts.slice_thickness_mm in rule.slice_thickness_mm)


def _image_type_fits(rule: SeriesRule, facts: SeriesFacts) -> bool:
    return facts.image_type_everywhere.issuperset(rule.image_type_all) and facts.image_type_anywhere.isdisjoint(rule.image_type_none)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
