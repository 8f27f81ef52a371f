"""Which child may work next, decided by the memory that its model was measured to need. Pure, so that a table can test it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from node.core.memory import Memory, Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One child, as far as admission is concerned.

    Attributes
    ----------
    model : str
        The digest of what it has loaded.
    held : Memory
        What it holds now.
    used : int
        Grows with each use: the smallest was not used for the longest time.
    """

    model: str
    busy: bool
    held: Memory
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do for a job that waits, and to which child."""

    what: Literal["use", "start", "unload", "wait"]
    child: Loaded | None = None


def decide(model: str, children: Sequence[Loaded], needs: Mapping[str, Need], free: Memory, machine: Memory, at_once: int) -> Decision:
    """Decide for one job.

    A model that was never measured runs alone, because it may need everything, and is given a quarter of the machine, for which others
    that only wait are unloaded. Where nothing runs and nothing can be unloaded the job is let in however much it needs: it may still
    manage with less, and if not it fails by itself.

    Parameters
    ----------
    model : str
        What the job wants.
    needs : mapping
        What each model was measured to need; those that were never measured are absent.
    free : Memory
        What is free now.
    machine : Memory
        What there is in all.
    at_once : int
        How many jobs may run side by side.
    """
    running = [child for child in children if child.busy]
    unknown = [one for one in (model, *(child.model for child in running)) if one not in needs]
    if len(running) >= at_once or (running and unknown):
        return Decision(what="wait")
    warm = max((child for child in children if child.model == model and not child.busy), key=lambda child: child.used, default=None)
    room = free - _growth(running, needs)
    quarter = Memory(host=machine.host // 4, device=machine.device // 4)
    wanted = needs[model].peak if model in needs else quarter
    if (wanted - (warm.held if warm else Memory())).fits(room):
        return Decision(what="use" if warm else "start", child=warm)
    idle = [child for child in children if not child.busy and child is not warm]
    if idle:
        return Decision(what="unload", child=min(idle, key=lambda child: child.used))
    if running:
        return Decision(what="wait")
    return Decision(what="use" if warm else "start", child=warm)


def _growth(running: Sequence[Loaded], needs: Mapping[str, Need]) -> Memory:
    """What the jobs that run will still take."""
    total = Memory()
    for child in running:
        total += (needs[child.model].peak - child.held).at_least(Memory())
    return total
