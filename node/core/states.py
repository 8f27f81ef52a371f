"""The states of a study, of work and of a delivery, as data: one transition table each.

Nothing else decides what may follow what. The ledger's CHECK constraints are made from these tables, and a test walks every pair of
state and event.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

from node.core.errors import StateError

Transitions: TypeAlias = Mapping[tuple[str, str], str]

#: (state, event) -> state. A study at one revision.
STUDY: Transitions = MappingProxyType(
    {
        ("open", "instance"): "open",
        ("open", "complete"): "complete",
        ("complete", "process"): "processed",
        ("processed", "reopen"): "complete",  # an operator replays a job of it
        ("complete", "reopen"): "complete",
    }
)

#: (state, event) -> state. One unit of work: a job for the worker, or a parcel for the courier.
WORK: Transitions = MappingProxyType(
    {
        ("queued", "claim"): "running",
        ("running", "rescue"): "queued",  # its worker is dead or cut off
        ("queued", "rescue"): "queued",  # the engine lost the hand-over
        ("running", "finish"): "done",
        ("running", "retry"): "queued",
        ("running", "refuse"): "refused",
        ("running", "fail"): "failed",
        ("refused", "replay"): "queued",
        ("failed", "replay"): "queued",
    }
)

#: (state, event) -> state. One object owed to one destination.
DELIVERY: Transitions = MappingProxyType(
    {
        ("waiting", "send"): "sending",
        ("sending", "send"): "sending",  # the courier died before it could write down the answer
        ("sending", "accept"): "sent",
        ("sending", "retry"): "waiting",
        ("waiting", "refuse"): "refused",  # its parcel is dead
        ("sending", "refuse"): "refused",
        ("sent", "commit"): "committed",
        ("refused", "replay"): "waiting",
    }
)


def states_of(table: Transitions) -> tuple[str, ...]:
    """Every state that ``table`` knows, sorted."""
    return tuple(sorted({state for state, _ in table} | set(table.values())))


def follow(table: Transitions, state: str, event: str) -> str:
    """Return the state after ``event``.

    Raises
    ------
    StateError
        If the event cannot happen in this state.
    """
    try:
        return table[state, event]
    except KeyError:
        raise StateError(f"{event!r} cannot happen to something that is {state!r}.") from None
