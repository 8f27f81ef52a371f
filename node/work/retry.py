"""The one retry policy of the node: pure, so that a table can test it."""

from __future__ import annotations

from dataclasses import dataclass

from node.core.errors import CodedError, Verdict

#: What a job does to the process that holds its model, rather than what becomes of it there.
_CRASHES = frozenset({"DEVICE_LOST.crashed", "DEVICE_LOST.exited"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and after how long.

    Attributes
    ----------
    attempts : int
        How often a piece of work may come to a failed end before it is dead.
    crashes : int
        How often it may take its worker down with it, or the process that holds its model.
    first_s, most_s : float
        The delay after the first failure, and the longest; each failure doubles it.
    """

    attempts: int
    crashes: int
    first_s: float
    most_s: float

    def delay(self, error: CodedError, attempt: int, jitter: float) -> float | None:
        """How long to wait before the next attempt, or None when there is none.

        Parameters
        ----------
        attempt : int
            The one that failed, from 1.
        jitter : float
            0 to 1, drawn by the caller: many works that failed together should not come back together. The delay varies by 30 %.
        """
        most = min(self.attempts, self.crashes) if error.full_code in _CRASHES else self.attempts
        if error.verdict is not Verdict.RETRY or attempt >= most:
            return None
        doubled: float = self.first_s * 2 ** min(attempt - 1, 30)
        return min(self.most_s, doubled) * (0.7 + 0.6 * jitter)

    @property
    def longest_s(self) -> float:
        """The longest delay that there can be."""
        return self.most_s * 1.3

    def is_poison(self, crashes: int) -> bool:
        """Whether work that was claimed ``crashes`` times without coming to an end should be given up."""
        return crashes > self.crashes
