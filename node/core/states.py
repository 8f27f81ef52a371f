"""The states of a study, of work, of a delivery and of whatever else has some, as data: one transition table each.

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
        ("queued", "discontinue"): "refused",  # the modality has discontinued what it is about
        ("running", "discontinue"): "refused",  # likewise; its worker is fenced
        ("queued", "cancel"): "refused",  # an operator does not want it
        ("running", "cancel"): "refused",  # likewise; its worker is stopped, and fenced
        ("refused", "replay"): "queued",
        ("failed", "replay"): "queued",
    }
)

#: (state, event) -> state. One object owed to one destination.
DELIVERY: Transitions = MappingProxyType(
    {
        ("waiting", "withhold"): "shadow",  # it is kept and looked at, and never sent
        ("waiting", "send"): "sending",
        ("sending", "send"): "sending",  # the courier died before it could write down the answer
        ("sending", "accept"): "sent",
        ("sending", "retry"): "waiting",
        ("waiting", "refuse"): "refused",  # its parcel is dead
        ("sending", "refuse"): "refused",
        ("sent", "commit"): "committed",  # the destination has committed itself to keep it (PS3.4 Annex J)
        ("sent", "find"): "found",  # it answers a question with it (PS3.4 Annex C)
        ("sent", "lose"): "waiting",  # it had said Success, and does not have it
        ("sent", "refuse"): "refused",  # likewise, once too often
        ("refused", "replay"): "waiting",
    }
)

#: States of what a destination has said Success to, and which it is not known to have lost.
DELIVERED = ("committed", "found", "sent")

#: (state, event) -> state. One request of ours for storage commitment.
PLEDGE: Transitions = MappingProxyType(
    {
        ("asking", "ask"): "asked",
        ("asking", "report"): "reported",
        ("asked", "report"): "reported",
        ("asking", "expire"): "expired",
        ("asked", "expire"): "expired",
        ("expired", "report"): "reported",  # late, and welcome all the same
    }
)

#: (state, event) -> state. The circuit breaker of one destination.
CIRCUIT: Transitions = MappingProxyType(
    {
        ("closed", "trip"): "open",
        ("open", "probe"): "probing",
        ("open", "close"): "closed",  # what was under way when it opened has arrived
        ("probing", "probe"): "probing",  # whoever tried has not come back
        ("probing", "trip"): "open",
        ("probing", "close"): "closed",
    }
)

#: (state, event) -> state. One Modality Performed Procedure Step, in DICOM's own words (PS3.4 Table F.1-4).
STEP: Transitions = MappingProxyType(
    {
        ("IN PROGRESS", "set"): "IN PROGRESS",
        ("IN PROGRESS", "complete"): "COMPLETED",
        ("IN PROGRESS", "discontinue"): "DISCONTINUED",
    }
)

#: (state, event) -> state. One report on storage commitment, owed to whoever asked for it.
COMMITMENT: Transitions = MappingProxyType(
    {
        ("waiting", "repeat"): "waiting",
        ("waiting", "report"): "reported",
        ("waiting", "fail"): "failed",
        ("reported", "repeat"): "waiting",  # the same was asked again: the answer did not arrive
        ("failed", "repeat"): "waiting",
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
