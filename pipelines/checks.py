"""What `pipelines.conformance` found out about a bundle: free of torch, for whoever prints it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        ``oblique: label 1 from image``, for example.
    passed : bool
    number : float or None
        What was measured: a Dice coefficient, a distance in millimetres.
    sentence : str
        What it means, for people.
    """

    name: str
    passed: bool
    number: float | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All checks of one pipeline, in the order in which they were made; none at all is no success."""

    pipeline: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the pipeline may be enabled."""
        return bool(self.checks) and all(check.passed for check in self.checks)


def dice_of(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Twice what two masks share over what they have together; 0 for two empty ones, which show nothing."""
    shared, total = np.count_nonzero(one & other), np.count_nonzero(one) + np.count_nonzero(other)
    return 2.0 * float(shared) / float(total) if total else 0.0
