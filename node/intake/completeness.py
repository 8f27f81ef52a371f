"""Is a study complete? What is known of it in, a verdict out: nothing here reads, asks or waits.

Evidence is better than a clock, but may be wrong or never come. So every witness may make a study wait on, up to the rule's patience,
and none for ever; and only the modality's own word ends the waiting before the quiet time is over.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from node.core.rules import ExpectedSeries, Rules
from node.core.study import Asked, Evidence, Missing, ProcedureStep


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSeries:
    """A series, as far as it has come."""

    series_instance_uid: str
    modality: str
    instances: int
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietTime:
    """How long nothing must have come, and where that number comes from."""

    seconds: float
    why: str = "configured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a study at one moment.

    Attributes
    ----------
    quiet_for_s : float
        Since something came last, or an association that had brought something of it was seen open last.
    is_held_open : bool
        Whether such an association is open now.
    called_ae : tuple of str
        The titles that it was sent to.
    series : tuple of HeldSeries
    sop_instance_uids : frozenset of str
        Everything that is held of it.
    steps : tuple of ProcedureStep
        What the modality says that it performs.
    asked : tuple of Asked
        Whom we have asked, and what they said.
    gaps : tuple of str
        A sentence for each stack with a gap.
    """

    quiet_for_s: float
    is_held_open: bool = False
    called_ae: tuple[str, ...] = ()
    series: tuple[HeldSeries, ...] = ()
    sop_instance_uids: frozenset[str] = frozenset()
    steps: tuple[ProcedureStep, ...] = ()
    asked: tuple[Asked, ...] = ()
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Not yet, and why."""

    reasons: tuple[Missing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """Complete, and why."""

    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class _Steps:
    """What the performed procedure steps of a study come to."""

    states: Counter[str] = field(default_factory=Counter)
    stated: frozenset[str] = frozenset()
    lacking: int = 0

    @property
    def has_everything(self) -> bool:
        """Whether the modality has ended, and all that it names is here; a step that names nothing says nothing."""
        return bool(self.stated) and not self.lacking and not self.states["IN PROGRESS"]

    @property
    def is_discontinued(self) -> bool:
        """Whether the modality has given the procedure up."""
        return bool(self.states["DISCONTINUED"]) and not self.states["COMPLETED"] and not self.states["IN PROGRESS"]


def judge(known: Known, rules: Rules, quiet: QuietTime, settle_s: float) -> Wait | Complete:
    """Decide whether a study is complete.

    Parameters
    ----------
    settle_s : float
        How long the modality's word is not acted on: another listener may have an open association that we do not know of yet.
    """
    if known.is_held_open:
        return Wait(reasons=(Missing(kind="open_association", sentence="An association that brought something of it is open."),))
    steps, expected = _weigh(known), tuple(_find_unmet(known, rules))
    if steps.has_everything and not expected and known.quiet_for_s >= settle_s:
        return Complete(evidence=evidence_of(known, rules, QuietTime(seconds=0.0), "steps"))
    if known.quiet_for_s < quiet.seconds:
        return Wait(reasons=(Missing(kind="quiet", sentence=f"Nothing must have come for {quiet.seconds:g} s ({quiet.why})."),))
    if steps.is_discontinued:
        return Complete(evidence=evidence_of(known, rules, quiet, "discontinued"))
    missing = (*_find_unfinished(steps), *expected, *_find_unreported(known), *_find_gaps(known))
    if missing and known.quiet_for_s < rules.patience_s:
        return Wait(reasons=missing)
    return Complete(evidence=evidence_of(known, rules, quiet, "patience" if missing else "quiet", missing))


def evidence_of(known: Known, rules: Rules, quiet: QuietTime, rule: str, missing: tuple[Missing, ...] = ()) -> Evidence:
    """Put everything down that was weighed."""
    steps = _weigh(known)
    return Evidence(
        rule=rule,
        instances=len(known.sop_instance_uids),
        series=len(known.series),
        quiet_s=round(quiet.seconds, 3),
        open_associations=int(known.is_held_open),
        quiet_why=quiet.why,
        patience_s=rules.patience_s,
        called_ae=known.called_ae,
        steps=dict(steps.states),
        stated=len(steps.stated),
        asked=known.asked,
        missing=missing,
    )


def _weigh(known: Known) -> _Steps:
    # Of a step for several studies it cannot be told which of its instances belong to which.
    completed = [step for step in known.steps if step.state == "COMPLETED" and len(step.study_instance_uids) <= 1]
    stated = frozenset(uid for step in completed for uids in step.performed.values() for uid in uids)
    states = Counter(step.state for step in known.steps)
    return _Steps(states=states, stated=stated, lacking=len(stated - known.sop_instance_uids))


def _find_unfinished(steps: _Steps) -> Iterator[Missing]:
    if count := steps.states["IN PROGRESS"]:
        yield Missing(kind="step", sentence=f"{count} performed procedure step{'s are' if count > 1 else ' is'} in progress.")
    if steps.lacking:
        sentence = f"{steps.lacking} of {len(steps.stated)} instances that the modality says it has made are missing."
        yield Missing(kind="step", sentence=sentence)


def _find_unmet(known: Known, rules: Rules) -> Iterator[Missing]:
    for wish in rules.expected:
        fitting = [series.instances for series in known.series if _fits(wish, series)]
        enough = sum(count >= wish.instances for count in fitting)
        if enough < wish.series:
            named = f"{wish.modality} series" + (f" like {wish.description!r}" if wish.description else "")
            best = f", the largest has {max(fitting)}" if fitting else ""
            sentence = f"{enough} of {wish.series} {named} with at least {wish.instances} instances{best}."
            yield Missing(kind="expected_series", sentence=sentence)


def _fits(wish: ExpectedSeries, series: HeldSeries) -> bool:
    return series.modality == wish.modality and re.search(wish.description, series.description, re.IGNORECASE) is not None


def _find_unreported(known: Known) -> Iterator[Missing]:
    """What a remote AE holds more than we do; its holding less says only that it is slower."""
    for asked in known.asked:
        if asked.is_pending:
            yield Missing(kind="asking", sentence=f"{asked.peer} is being asked how much the study holds.")
        elif asked.count is None:
            yield Missing(kind="unanswered", sentence=f"{asked.peer} did not say how much the study holds: {asked.sentence}")
        else:
            holds = (
                (asked.count.instances, asked.ours.instances, len(known.sop_instance_uids), "instances"),
                (asked.count.series, asked.ours.series, len(known.series), "series"),
            )
            short = [
                f"{said - (ours or 0)} {what}, {held} are held" for said, ours, held, what in holds if said and said - (ours or 0) > held
            ]
            if short:
                yield Missing(kind="reported", sentence=f"{asked.peer} reports {'; '.join(short)}.")


def _find_gaps(known: Known) -> Iterator[Missing]:
    yield from (Missing(kind="gap", sentence=sentence) for sentence in known.gaps)
