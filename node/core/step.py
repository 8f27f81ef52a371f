"""Performed procedure steps: what a modality states, and what all its steps together say of a study."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from node.core.errors import Discontinued
from node.core.study import ProcedureStep

IN_PROGRESS, COMPLETED, DISCONTINUED = "IN PROGRESS", "COMPLETED", "DISCONTINUED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What one N-CREATE or N-SET states (PS3.4 Table F.7.2-1). None is what it does not mention.

    Attributes
    ----------
    request_id : str
        New for every request: tells a request whose COMMIT was in doubt from one that says the same again.
    performed : mapping or None
        Series Instance UID -> SOP Instance UIDs; a sequence that is set again is set as a whole (PS3.4 section F.7.2.2.2).
    faults : tuple of str
        What was wrong with it and was let pass, because the statement was that the step is discontinued.
    """

    request_id: str
    sop_instance_uid: str
    association_id: str
    calling_ae: str
    state: str | None = None
    study_instance_uids: tuple[str, ...] = ()
    station_ae: str = ""
    modality: str = ""
    performed: Mapping[str, tuple[str, ...]] | None = None
    started: str = ""
    ended: str | None = None
    reason_code: str | None = None
    reason: str | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSummary:
    """What the steps of a study state about it.

    Attributes
    ----------
    in_progress, completed, discontinued : int
        How many steps are in which state; all zero when no modality ever told of the study.
    expected : mapping
        Series Instance UID -> the SOP Instance UIDs that the completed steps list. A step that was scheduled for several studies
        does not say which of its series is in which of them, so a series may be another study's: see ``shared_with``.
    discontinued_series : frozenset of str
        Series that only discontinued steps list.
    shared_with : frozenset of str
        The other studies that these steps were scheduled for.
    """

    in_progress: int = 0
    completed: int = 0
    discontinued: int = 0
    expected: Mapping[str, frozenset[str]] = field(default_factory=dict)
    discontinued_series: frozenset[str] = frozenset()
    shared_with: frozenset[str] = frozenset()

    @property
    def all_completed(self) -> bool:
        """Whether there are steps, and each is completed."""
        return self.completed > 0 and not self.in_progress and not self.discontinued

    @property
    def is_discontinued(self) -> bool:
        """Whether there are steps, and each is discontinued."""
        return self.discontinued > 0 and not self.in_progress and not self.completed


def summarise(study_instance_uid: str, steps: Sequence[ProcedureStep]) -> StepSummary:
    """Sum up what the steps of a study state about it."""
    of = {state: [step for step in steps if step.state == state] for state in (IN_PROGRESS, COMPLETED, DISCONTINUED)}
    expected: dict[str, frozenset[str]] = {}
    for step in of[COMPLETED]:
        for series, uids in step.performed.items():
            expected[series] = expected.get(series, frozenset()) | frozenset(uids)
    going_on = {series for step in (*of[IN_PROGRESS], *of[COMPLETED]) for series in step.performed}
    return StepSummary(
        in_progress=len(of[IN_PROGRESS]),
        completed=len(of[COMPLETED]),
        discontinued=len(of[DISCONTINUED]),
        expected=expected,
        discontinued_series=frozenset({series for step in of[DISCONTINUED] for series in step.performed} - going_on),
        shared_with=frozenset(uid for step in steps for uid in step.study_instance_uids) - {study_instance_uid},
    )


def why_stopped(
    study_instance_uid: str, steps: Sequence[ProcedureStep], series_instance_uids: Collection[str] | None = None
) -> Discontinued | None:
    """Say why no result may be made of these series of a study, or None when one may.

    It may not when every step of the study is discontinued, nor when one of the series is listed by discontinued steps only.

    Parameters
    ----------
    steps : sequence of ProcedureStep
        Of the study, the latest to end last.
    series_instance_uids : collection of str, optional
        By default the study as a whole is asked for.
    """
    summary = summarise(study_instance_uid, steps)
    if not summary.is_discontinued and not summary.discontinued_series & set(series_instance_uids or ()):
        return None
    said = [step for step in steps if step.state == DISCONTINUED][-1]
    because = " ".join(part for part in (said.reason, f"({said.reason_code})" if said.reason_code else "") if part) or "no reason given"
    what = "the procedure step" if summary.is_discontinued else "the step that made this series"
    return Discontinued(f"The modality has discontinued {what}: {because}. If a result is wanted, replay.", reason="by_modality")
