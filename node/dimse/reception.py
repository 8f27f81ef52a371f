"""What becomes of one C-STORE's data set, on either of the two ways that it can take through the listener."""

from __future__ import annotations

from typing import Protocol


class Reception(Protocol):
    """One instance on its way in."""

    def write(self, fragment: memoryview) -> None:
        """Take the next bytes of the data set."""

    def finish(self) -> int:
        """Make it durable; return the status to answer."""

    def abandon(self) -> None:
        """The rest will not come."""
