"""Bringing work back that had ended without a result."""

from __future__ import annotations

from node.app.schedule import open_operator
from node.config import Config


def replay(config: Config, target: str, who: str) -> list[str]:
    """Bring refused or failed work back: one job or parcel, or all of a study's latest revision; return what was.

    Raises
    ------
    StateError
        If there is no such work, or it is neither refused nor failed.
    """
    with open_operator(config, "replay", who) as operator:
        return operator.replay(target)
