"""What modalities say of their procedure steps becomes a fact before they are answered."""

from __future__ import annotations

import structlog

from node.core.errors import StepRefused, StorageError
from node.core.step import Statement
from node.ledger import steps
from node.ledger.engine import Ledger

log = structlog.get_logger(__name__)


class StepDesk:
    """The station behind the service for performed procedure steps.

    Parameters
    ----------
    patience_s : float
        How long to wait for a database that is away; a modality waits for its answer, and may send again.
    """

    def __init__(self, ledger: Ledger, patience_s: float = 10.0) -> None:
        self._ledger, self._patience_s = ledger, patience_s

    def create(self, statement: Statement) -> None:
        """Enter a step that has begun; see ``node.ledger.steps.create``."""
        self._ledger.write(lambda tx: steps.create(tx, statement), patience_s=self._patience_s)
        self._say("step.created", statement)

    def set_(self, statement: Statement) -> None:
        """Change a step; see ``node.ledger.steps.set_``."""
        self._ledger.write(lambda tx: steps.set_(tx, statement), patience_s=self._patience_s)
        self._say("step.changed", statement)

    def refuse(self, sop_instance_uid: str, association_id: str, error: StepRefused) -> None:
        """Write down what was refused; the modality hears it in any case."""
        try:
            self._ledger.write(lambda tx: steps.refuse(tx, sop_instance_uid, association_id, error), patience_s=1.0)
        except StorageError as problem:
            log.error("audit.lost", code=problem.full_code, sentence=problem.sentence)

    def _say(self, event: str, statement: Statement) -> None:
        log.info(event, sop_instance_uid=statement.sop_instance_uid, state=statement.state, association_id=statement.association_id)
