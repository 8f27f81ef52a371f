"""What is asked of a study before it counts as complete, and what is done with it then: by the AE titles that it was sent to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedSeries:
    """A kind of series that a study must hold.

    Attributes
    ----------
    modality : str
        Modality (0008,0060).
    description : str
        A pattern that is searched in Series Description (0008,103E), whatever its case; empty: any.
    instances : int
        The least number of instances in each.
    series : int
        How many such series.
    """

    modality: str
    description: str = ""
    instances: int = 1
    series: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for a study.

    Attributes
    ----------
    pipelines : tuple of str
        Which are asked what they take of it, in this order.
    quiet_s : float
        How long nothing must have come.
    patience_s : float
        How long after the last arrival something that is missing is waited for.
    expected : tuple of ExpectedSeries
        What it must hold.
    ask : tuple of str
        The names of the remote AEs that are asked how much it holds.
    """

    pipelines: tuple[str, ...]
    quiet_s: float
    patience_s: float
    expected: tuple[ExpectedSeries, ...] = ()
    ask: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBook:
    """The rules of every AE title that we answer to; the default for those that have none of their own."""

    default: Rules
    by_title: Mapping[str, Rules] = field(default_factory=dict)

    @property
    def least_quiet_s(self) -> float:
        """The shortest quiet time of all."""
        return min(rules.quiet_s for rules in (self.default, *self.by_title.values()))


def rules_of(book: RuleBook, called_ae: Collection[str]) -> Rules:
    """The rules of a study that was sent to these titles.

    Of several titles every wish is met: the pipelines of all, the longest times, all expectations, all who are to be asked.
    """
    found = [book.by_title.get(title, book.default) for title in sorted(called_ae)] or [book.default]
    return Rules(
        pipelines=_union(rules.pipelines for rules in found),
        quiet_s=max(rules.quiet_s for rules in found),
        patience_s=max(rules.patience_s for rules in found),
        expected=_union(rules.expected for rules in found),
        ask=_union(rules.ask for rules in found),
    )


def _union(groups: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(one for group in groups for one in group))
