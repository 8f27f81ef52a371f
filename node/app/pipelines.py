"""What the verbs on pipelines work on when a node is around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from node.app.store import open_spool
from node.config import Config
from node.core.errors import StateError
from node.ledger import instances, studies
from node.ledger.engine import Ledger
from pipelines.place import Place, files_in


def place_of(config: Config) -> Place:
    """The folders that the configuration names, what it runs, and the studies of its ledger."""

    @contextmanager
    def study(named: str) -> Iterator[Sequence[Path]]:
        if Path(named).is_dir():
            with files_in(named) as files:
                yield files
            return
        with closing(Ledger(config.database_url, actor="explain")) as ledger, open_spool(config, "explain") as spool:
            with ledger.reading() as tx:
                keys = [held.key for held in instances.of_study(tx, named, studies.latest_revision(tx, named))]
            if not keys:
                raise StateError(f"There is no folder {named}, and the ledger holds no instance of such a study.", reason="no_study")
            with spool.holding(keys) as files:
                yield files

    return Place(
        pipelines=config.pipelines.folder,
        models=config.pipelines.models,
        enabled=config.every_pipeline,
        study=study,
        program="radnode pipelines",
    )
