"""Memory of the machine and of its accelerator, as one pair of numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of the host and of the device; on a CPU the second is nothing."""

    host: int = 0
    device: int = 0

    def __add__(self, other: Memory) -> Memory:
        return Memory(host=self.host + other.host, device=self.device + other.device)

    def __sub__(self, other: Memory) -> Memory:
        """What is left; may be negative."""
        return Memory(host=self.host - other.host, device=self.device - other.device)

    def at_least(self, other: Memory) -> Memory:
        """The greater of the two, each for itself."""
        return Memory(host=max(self.host, other.host), device=max(self.device, other.device))

    def fits(self, room: Memory) -> bool:
        """Whether there is as much of both in ``room``; of what is not needed there may be none."""
        return all(needed <= 0 or needed <= there for needed, there in ((self.host, room.host), (self.device, room.device)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a model was measured to need: while it waits, and at most while it works."""

    held: Memory
    peak: Memory

    def at_least(self, other: Need) -> Need:
        """The greater of the two measurements."""
        return Need(held=self.held.at_least(other.held), peak=self.peak.at_least(other.peak))
