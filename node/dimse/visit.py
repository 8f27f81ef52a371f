"""What the listener knows of an association while it is open, and what a service class needs to serve it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from pynetdicom import AE, evt
    from pynetdicom.association import Association

    from node.core.study import Peer


@dataclass(slots=True)
class Visit:
    """One association, from its request to its end."""

    id: str
    peer: Peer
    instances: int = 0
    how: str = "lost"


#: Gives the visit of an association; None when its connection broke behind the request, so that nobody is there to be answered.
FindVisit: TypeAlias = "Callable[[Association], Visit | None]"
Handler: TypeAlias = "tuple[evt.EventType, Callable[[evt.Event], object]]"


class Service(Protocol):
    """A service class that the listener offers beside Verification and Storage."""

    def support(self, ae: AE) -> None:
        """Add the presentation contexts that it serves."""

    def handlers(self, visit_of: FindVisit) -> Sequence[Handler]:
        """Say which of pynetdicom's events it serves, each of which one service alone may serve."""
