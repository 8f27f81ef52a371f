"""What was accepted lately: asked before the ledger, whose rows follow the answer by some milliseconds.

For half an hour it is believed, and no longer: nothing is purged before it was held for twice that (``node.core.retention``).
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict

from node.core.study import Instance

#: More than the scribe lets wait, so that nothing leaves before its row is committed; some 8 MB.
_MOST = 25_000
_BELIEVED_S = 1800.0


class Recent:
    """The latest accepted instances, by SOP Instance UID: of each a digest of what makes another the same."""

    def __init__(self, most: int = _MOST, *, believed_s: float = _BELIEVED_S) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._most, self._believed_s = most, believed_s

    def is_same(self, instance: Instance) -> bool | None:
        """Whether what was accepted lately under this UID is the same; None when nothing was."""
        with self._lock:
            held = self._held.get(instance.sop_instance_uid)
        if held is None or time.monotonic() - held[1] > self._believed_s:
            return None
        return held[0] == _digest(instance)

    def add(self, instance: Instance) -> bool:
        """Enter an instance that is durable; False when other bytes were entered under its UID before."""
        ours = _digest(instance)
        with self._lock:
            before, _ = self._held.setdefault(instance.sop_instance_uid, (ours, time.monotonic()))
            if len(self._held) > self._most:
                self._held.popitem(last=False)
        return before == ours


def _digest(instance: Instance) -> bytes:
    return hashlib.blake2b("\n".join(instance.sameness).encode(), digest_size=16).digest()
