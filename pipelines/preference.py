"""Which of several series that fit is preferred, and in what it was better than another."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pipelines.facts import SeriesFacts
from pipelines.rules import SeriesRule


@dataclass(frozen=True, slots=True, order=True)
class Trait:
    """One thing by which series are compared: the smaller rank is preferred; the text says it to people."""

    rank: float | str
    text: str = field(compare=False)


def order(rule: SeriesRule, facts: SeriesFacts) -> tuple[Trait, ...]:
    """The sort key of a series under a rule.

    A series that is a volume comes before one that is not, then the first kernel of ``kernel_preference`` that fits. ``thinnest``
    takes the smallest slice thickness (unknown counts as thickest) and then the most instances, ``most_instances`` the other way
    round, ``latest`` what was acquired last and then as ``thinnest``. The Series Instance UID and the stack break a tie, so that the
    same study always gives the same choice.
    """
    thickness = float("inf") if facts.slice_thickness_mm is None else facts.slice_thickness_mm
    thinnest = Trait(thickness, "slices of unknown thickness" if facts.slice_thickness_mm is None else f"slices of {thickness:g} mm")
    most = Trait(-facts.instances, f"{facts.instances} slices")
    by = {
        "most_instances": (most, thinnest),
        "latest": (Trait(-_number(facts.acquired_at), f"acquired at {facts.acquired_at or 'an unknown time'}"), thinnest, most),
    }.get(rule.choose, (thinnest, most))
    return (
        Trait(bool(facts.fault), f"no volume ({facts.fault})" if facts.fault else "a volume"),
        _kernel(rule, facts),
        *by,
        Trait(facts.series_instance_uid, "an identifier that sorts later"),
        Trait(facts.stack, f"stack {facts.stack}"),
    )


def compare(rule: SeriesRule, better: SeriesFacts, other: SeriesFacts) -> str:
    """In words, without a full stop, why one series was preferred to another that fits as well."""
    traits = zip(order(rule, better), order(rule, other), strict=True)
    one, another = next(pair for pair in traits if pair[0] != pair[1])
    return f"{better.name} was preferred ({one.text} against {another.text})"


def _kernel(rule: SeriesRule, facts: SeriesFacts) -> Trait:
    kernels = ", ".join(facts.kernels) or "unknown"
    ranks = [place for place, pattern in enumerate(rule.kernel_preference) if re.search(pattern, kernels, re.IGNORECASE)]
    return Trait(min(ranks, default=len(rule.kernel_preference)), f"kernel {kernels}")


def _number(moment: str) -> float:
    return float(moment) if moment.isdigit() else 0.0
