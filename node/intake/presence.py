"""Who is still sending: the open associations, and the studies that each has brought something of."""

from __future__ import annotations

import threading


class Presence:
    """A register that the listener's threads write and the assembler reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, set[str]] = {}

    def enter(self, association_id: str) -> None:
        """An association was accepted."""
        with self._lock:
            self._open.setdefault(association_id, set())

    def touch(self, association_id: str, study_instance_uid: str) -> None:
        """An association brings an instance of a study; one that has ended meanwhile holds nothing open."""
        with self._lock:
            if association_id in self._open:
                self._open[association_id].add(study_instance_uid)

    def leave(self, association_id: str) -> None:
        """An association has ended."""
        with self._lock:
            self._open.pop(association_id, None)

    def studies(self) -> frozenset[str]:
        """Every study that an open association has brought something of."""
        with self._lock:
            return frozenset().union(*self._open.values())
