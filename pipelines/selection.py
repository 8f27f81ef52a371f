"""Which series of a study a pipeline takes, and for every other one the reason why not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from pipelines.criteria import judge
from pipelines.facts import SeriesFacts
from pipelines.preference import compare, order
from pipelines.rules import Input, SeriesRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a series was not taken: a stable code and a sentence for people."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The series that a rule takes, in order, and a reason for each other one, by `SeriesFacts.name`."""

    chosen: tuple[SeriesFacts, ...]
    reasons: dict[str, Reason]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a pipeline takes of a study.

    Attributes
    ----------
    sets : tuple of tuple of SeriesFacts
        For each job the series of its inputs, in the pipeline's order.
    reasons : dict of str to Reason
        For each series or stack that is in none of them, by `SeriesFacts.name`.
    missing : tuple of str
        A sentence for each input of a pipeline of several that no series fits.
    """

    sets: tuple[tuple[SeriesFacts, ...], ...]
    reasons: dict[str, Reason]
    missing: tuple[str, ...] = ()


def why_not(rule: SeriesRule, facts: SeriesFacts) -> Reason | None:
    """The first criterion that the series does not meet, or None when it fits; its code is that of `pipelines.criteria`."""
    return next((Reason(code=each.code, sentence=each.sentence) for each in judge(rule, facts) if not each.holds), None)


def select(rule: SeriesRule, candidates: Iterable[SeriesFacts]) -> Selection:
    """Apply a rule to all series of a study.

    Of those that fit the first by `pipelines.preference.order` is taken, or every one when the rule says ``choose = "all"``. Whatever
    is not taken has a reason: its own, or ``not_chosen`` with what was better about the one that was.
    """
    reasons: dict[str, Reason] = {}
    fitting: list[SeriesFacts] = []
    for facts in candidates:
        reason = why_not(rule, facts)
        if reason is None:
            fitting.append(facts)
        else:
            reasons[facts.name] = reason
    fitting.sort(key=lambda facts: order(rule, facts))
    chosen = fitting if rule.choose == "all" else fitting[:1]
    for facts in fitting[len(chosen) :]:
        reasons[facts.name] = Reason(code="not_chosen", sentence=f"The series fits, but {compare(rule, chosen[0], facts)}.")
    return Selection(chosen=tuple(chosen), reasons=reasons)


def choose(inputs: Sequence[Input], candidates: Iterable[SeriesFacts]) -> Choice:
    """Choose the series for all inputs of a pipeline together.

    No series is taken for two inputs, and all are of one study. Series that share a Frame of Reference are preferred to better ones that do
    not: only they lie in one space without a registration (PS3.3 C.7.4.1).
    """
    found = tuple(candidates)
    if len(inputs) == 1:
        selection = select(inputs[0], found)
        return Choice(sets=tuple((facts,) for facts in selection.chosen), reasons=selection.reasons)
    ranked = [sorted((facts for facts in found if why_not(given, facts) is None), key=partial(order, given)) for given in inputs]
    missing = tuple(f"Input {given.name}: no series fits." for given, fitting in zip(inputs, ranked, strict=True) if not fitting)
    taken = () if missing else _assign(ranked)
    if not taken and not missing:
        missing = (
            f"The inputs {', '.join(given.name for given in inputs)} need a series each, of one study; there are not enough that fit.",
        )
    reasons = {facts.name: _why_not_any(inputs, taken, facts) for facts in found if facts not in taken}
    return Choice(sets=(taken,) if taken else (), reasons=reasons, missing=missing)


def _assign(ranked: Sequence[Sequence[SeriesFacts]]) -> tuple[SeriesFacts, ...]:
    """The best series for each input, by the rank of the first input, then of the second ...; empty when there are not enough."""
    places = [{facts.name: place for place, facts in enumerate(fitting)} for fitting in ranked]
    for alike in (lambda facts: (facts.study_instance_uid, facts.frame_of_reference_uid), lambda facts: facts.study_instance_uid):
        found: list[tuple[SeriesFacts, ...]] = []
        for space in sorted({alike(facts) for fitting in ranked for facts in fitting}):
            # of n inputs, no one can need more than its n best
            within = [[facts for facts in fitting if alike(facts) == space][: len(ranked)] for fitting in ranked]
            found += [taken for taken in product(*within) if len({facts.name for facts in taken}) == len(taken)]
        if found:
            return min(found, key=lambda taken: [place[facts.name] for place, facts in zip(places, taken, strict=True)])
    return ()


def _why_not_any(inputs: Sequence[Input], taken: Sequence[SeriesFacts], facts: SeriesFacts) -> Reason:
    """Why a series was taken for none of several inputs: for each in what it does not fit, or who was preferred."""
    found: dict[str, Reason] = {}
    for number, given in enumerate(inputs):
        reason = why_not(given, facts)
        if reason is None and taken:
            reason = Reason(code="not_chosen", sentence=f"it fits, but {_why_rather(given, taken[number], facts)}.")
        found[given.name] = reason or Reason(code="incomplete", sentence="it fits, but another input has no series.")
    codes = {reason.code for reason in found.values()}
    telling = codes if len(codes) == 1 else (codes & {"incomplete"}) or (codes & {"not_chosen"}) or {"no_input"}
    (code,) = telling
    return Reason(code=code, sentence=" ".join(f"For {name}: {reason.sentence}" for name, reason in found.items()))


def _why_rather(given: Input, chosen: SeriesFacts, facts: SeriesFacts) -> str:
    if order(given, facts) < order(given, chosen):
        return f"{chosen.name} goes with the series of the other inputs"
    return compare(given, chosen, facts)
