"""What an evaluation gives: numbers with intervals, one line for each case, and the curves and matrices behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: A percentile interval is steady to two digits with this many resamples.
RESAMPLES = 1000
#: The percentiles that bound 95 %.
BOUNDS = (2.5, 97.5)

Case = Mapping[str, str | float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One number of a whole set of cases.

    Attributes
    ----------
    subject, measure, unit : str
        "Right lung", "Dice", "" for example.
    value, low, high : float
        The number and its bootstrapped 95 % interval; not a number where nothing can be said.
    cases : int
        On how many cases it stands.
    """

    subject: str
    measure: str
    unit: str = ""
    value: float
    low: float
    high: float
    cases: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """One curve; ``low`` and ``high`` bound it where they are given."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matrix:
    """One confusion matrix: counts of shape (true class, found class)."""

    name: str
    classes: tuple[str, ...]
    counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """Everything that one evaluation found.

    Attributes
    ----------
    terms : str
        In one sentence, by what rules the numbers were made.
    cases : tuple of mapping
        One line for each case, or case and label, as the CSV file has it; None where a number does not exist.
    """

    task: str
    title: str
    terms: str
    estimates: tuple[Estimate, ...]
    cases: tuple[Case, ...]
    curves: tuple[Curve, ...] = ()
    matrices: tuple[Matrix, ...] = ()


def bootstrapped(count: int, statistic: Callable[[NDArray[np.intp]], Sequence[float]], resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Bounds of 95 % for several statistics at once, by the percentile bootstrap over cases.

    Cases are drawn, not lesions or voxels: those of one patient are not independent.

    Parameters
    ----------
    count : int
        How many cases there are.
    statistic : callable
        Given the indices of the cases that were drawn; a resample on which it is not a number is left out.

    Returns
    -------
    ndarray, shape (2, statistic)
        Low and high; not a number with fewer than two cases, of which no spread can be known.
    """
    whole = len(statistic(np.arange(count)))
    if count < 2:
        return np.full((2, whole), np.nan)
    draw = np.random.default_rng(0)
    drawn = np.array([statistic(draw.integers(0, count, count)) for _ in range(resamples)], dtype=np.float64)
    bounds = np.full((2, whole), np.nan)
    for column in range(whole):
        values = drawn[np.isfinite(drawn[:, column]), column]
        if values.size:
            bounds[:, column] = np.percentile(values, BOUNDS)
    return bounds


def mean_of(subject: str, measure: str, values: Sequence[float | None], *, unit: str = "", resamples: int = RESAMPLES) -> Estimate:
    """The mean over the cases that have the number, with its interval."""
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if not known.size:
        return Estimate(subject=subject, measure=measure, unit=unit, value=np.nan, low=np.nan, high=np.nan, cases=0)
    low, high = bootstrapped(known.size, lambda drawn: [float(known[drawn].mean())], resamples)[:, 0]
    return Estimate(
        subject=subject, measure=measure, unit=unit, value=float(known.mean()), low=float(low), high=float(high), cases=known.size
    )
