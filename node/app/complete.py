"""Judging a study complete by hand."""

from __future__ import annotations

from contextlib import ExitStack

from node.app.listen import assembler_of
from node.app.role import Role
from node.config import Config
from node.intake.presence import Presence


def complete(config: Config, study_instance_uid: str, who: str) -> bool:
    """Complete a study now, whatever evidence there is; False when it is not open."""
    with ExitStack() as stack:
        return assembler_of(Role(config, "complete", stack), Presence()).force(study_instance_uid, who)
