"""Bringing work back that had ended without a result."""

from __future__ import annotations

from contextlib import ExitStack, closing

from node.config import Config
from node.ledger import jobs, outbox
from node.ledger.engine import Ledger
from node.work.engine import Engine


def replay(config: Config, work_id: str, who: str) -> None:
    """Bring refused or failed work back.

    Raises
    ------
    StateError
        If there is no such work, or it is neither refused nor failed.
    """
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(config.database_url, actor=f"replay@{who}")))
        engine = stack.enter_context(Engine(config.database_url))

        with ledger.writing() as tx:
            task = jobs.replay(tx, work_id, who, engine.dispatch)
            if task.kind == "deliver":
                outbox.replay(tx, task)
