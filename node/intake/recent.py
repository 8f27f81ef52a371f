"""What was accepted lately: asked before the ledger, whose rows follow the answer by some milliseconds."""

from __future__ import annotations

import threading
from collections import OrderedDict

from node.core.study import Instance

#: Far more than can be under way at once, so that nothing leaves before its row is committed; about 20 MB.
_MOST = 50_000


class Recent:
    """The latest accepted instances, by SOP Instance UID."""

    def __init__(self, most: int = _MOST) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[str, Instance] = OrderedDict()
        self._most = most

    def find(self, sop_instance_uid: str) -> Instance | None:
        """The instance that was accepted under this UID, if it was lately."""
        with self._lock:
            return self._held.get(sop_instance_uid)

    def add(self, instance: Instance) -> bool:
        """Enter an instance that is durable; False when other bytes were entered under its UID before."""
        with self._lock:
            before = self._held.setdefault(instance.sop_instance_uid, instance)
            if len(self._held) > self._most:
                self._held.popitem(last=False)
            return before.is_same_as(instance)
