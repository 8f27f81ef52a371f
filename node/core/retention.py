"""How long bytes are kept, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: Nothing goes earlier than this, whatever a rule or a full disk say: what a sender was told lately is still true for twice the time that
#: a listener believes its memory of it.
LEAST_S = 3600.0

What = Literal["source", "result", "quarantine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """After how many seconds what may go; None: never.

    Attributes
    ----------
    source_s : float or None
        Instances of a study, since its last result was delivered.
    result_s : float or None
        Our objects, since the last of them was delivered.
    unused_s : float or None
        Instances of a study of which nothing is owed to anyone, since it was processed.
    failed_s : float or None
        Instances of a study with work that was refused or failed, since then; until they go, it can be replayed.
    quarantine_s : float or None
        Instances that are kept apart, since they came.
    confirmed : tuple of str
        In which states an object counts as delivered.
    least_s : float
        Nothing is younger than this that goes.
    """

    source_s: float | None = None
    result_s: float | None = None
    unused_s: float | None = None
    failed_s: float | None = None
    quarantine_s: float | None = None
    confirmed: tuple[str, ...] = ("committed", "found")
    least_s: float = LEAST_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Ripe:
    """What may go now, and by which rule."""

    study_instance_uid: str
    what: What
    rule: str
    age_s: float
    objects: int
    size: int
