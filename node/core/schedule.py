"""Who is served first, and how many at once: pure, so that tables can test it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from node.core.job import Priority

_HOUR_S = 3600
_WEEK_S = 7 * 24 * _HOUR_S
#: How much sooner a STAT job would have to come to be served before one of this priority. All that wait grow older at the same pace, so
#: that their order never changes while they wait, and can be stored once: ageing costs nothing, and nothing waits for ever.
HEAD_START_S: Mapping[Priority, int] = {
    Priority.STAT: 0,
    Priority.URGENT: _WEEK_S,
    Priority.ROUTINE: _WEEK_S + 4 * _HOUR_S,
    Priority.BACKGROUND: _WEEK_S + 48 * _HOUR_S,
}
#: 2026-01-01 in UTC: where the engine's whole seconds begin.
_ENGINE_EPOCH_S = 1_767_225_600
_MOST_OF_ENGINE = 2**31 - 1


def rank_of(priority: int, queued_at: datetime) -> int:
    """Where work stands that was queued then, in milliseconds: the smaller is sooner."""
    level = next((level for level in Priority if priority <= level), Priority.BACKGROUND)
    return round(queued_at.timestamp() * 1000) + HEAD_START_S[level] * 1000


def engine_priority(rank: int) -> int:
    """The same for the engine, which counts in 32 bits. Never 0: the engine takes that for "not set", which is the highest."""
    return min(max(rank // 1000 - _ENGINE_EPOCH_S, 1), _MOST_OF_ENGINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Urgency:
    """A priority, and why."""

    priority: Priority
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityRule:
    """Gives a priority to the studies that it fits; what is empty fits any.

    Attributes
    ----------
    calling_ae, called_ae : frozenset of str
        By whom something of the study was sent, and to which of our titles.
    tag : str
        The keyword of a data element of the study.
    value : str
        A pattern that a value of it must match as a whole, whatever its case.
    """

    priority: Priority
    calling_ae: frozenset[str] = frozenset()
    called_ae: frozenset[str] = frozenset()
    tag: str = ""
    value: str = ""


def decide(
    rules: Sequence[PriorityRule],
    otherwise: Priority,
    calling_ae: Collection[str],
    called_ae: Collection[str],
    values_of: Callable[[str], Collection[str]],
) -> Urgency:
    """The priority of a study: that of the first rule that fits.

    Parameters
    ----------
    values_of : callable
        Gives the values of a data element in the study; asked only when it decides, because it reads files.
    """
    for number, rule in enumerate(rules, 1):
        found = _fit(rule, calling_ae, called_ae, values_of)
        if found is not None:
            return Urgency(priority=rule.priority, why=f"rule {number}: {', '.join(found) or 'any study'}")
    return Urgency(priority=otherwise, why="no rule fits" if rules else "default")


def _fit(
    rule: PriorityRule, calling_ae: Collection[str], called_ae: Collection[str], values_of: Callable[[str], Collection[str]]
) -> list[str] | None:
    """What of a study fits the rule, in words; None when it does not."""
    found = []
    for name, wanted, given in (("calling AE", rule.calling_ae, calling_ae), ("called AE", rule.called_ae, called_ae)):
        if wanted:
            both = sorted(wanted & set(given))
            if not both:
                return None
            found.append(f"{name} {both[0]}")
    if rule.tag:
        fitting = sorted(value for value in values_of(rule.tag) if re.fullmatch(rule.value, value, re.IGNORECASE))
        if not fitting:
            return None
        found.append(f"{rule.tag} fits {rule.value}")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many jobs run at once; 0: as many as the workers can.

    Attributes
    ----------
    per_pipeline, per_source, per_device : int
        For each pipeline, for the studies of each sender, on each device.
    pipelines, sources : mapping
        Others for single ones.
    """

    per_pipeline: int = 0
    per_source: int = 0
    per_device: int = 0
    pipelines: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)

    @property
    def counts_lanes(self) -> bool:
        """Whether there is any limit on a pipeline or a sender."""
        return bool(self.per_pipeline or self.per_source or self.pipelines or self.sources)

    def is_full(self, pipeline: str, source: str, pipelines: Mapping[str, int], sources: Mapping[str, int]) -> bool:
        """Whether no further job of this pipeline and sender may run beside those that are counted."""
        of_pipeline = self.pipelines.get(pipeline, self.per_pipeline)
        of_source = self.sources.get(source, self.per_source)
        return bool(of_pipeline and pipelines.get(pipeline, 0) >= of_pipeline) or bool(of_source and sources.get(source, 0) >= of_source)
