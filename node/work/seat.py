"""One child of a device, what is known of it, and how far all of them may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from node.core.memory import Memory
from node.work.admission import Loaded
from node.work.child import Child

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a device may go.

    Attributes
    ----------
    at_once : int
        How many jobs may run side by side.
    child_bytes : int
        How much memory of the host one child may hold; 0: nine tenths of it.
    growth_bytes : int
        A child that holds this much more after a job than after its first one is replaced.
    reserve_bytes : int
        How much memory of the host is left to others.
    """

    at_once: int = 1
    child_bytes: int = 0
    growth_bytes: int = 2_000_000_000
    reserve_bytes: int = 500_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran(Generic[Made]):
    """What a request has made, what memory that took at most and left taken, and how long it waited for room."""

    made: Made
    peak: Memory
    held: Memory
    waited_s: float


@dataclass(slots=True, kw_only=True, eq=False)
class Seat:
    """One child.

    Attributes
    ----------
    work_id : str or None
        What it works on.
    used : int
        Grows with each use, over all seats.
    first : Memory or None
        What it held after its first job.
    """

    child: Child
    model: str
    work_id: str | None
    used: int
    held: Memory
    first: Memory | None = None

    def seen(self) -> Loaded:
        """As admission sees it."""
        return Loaded(model=self.model, busy=self.work_id is not None, held=self.held, used=self.used)

    def give_back(self, held: Memory, used: int, *, is_job: bool) -> Memory:
        """Work on nothing any more; return by how much it has grown since its first job."""
        self.work_id, self.held, self.used = None, held, used
        if is_job:
            self.first = self.first or held
        return held - (self.first or held)
