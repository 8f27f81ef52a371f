"""What the verbs on pipelines work on when a node is around them."""

from __future__ import annotations

from node.config import Config
from pipelines.place import Place


def place_of(config: Config) -> Place:
    """The folders that the configuration names, and what it runs."""
    return Place(
        pipelines=config.pipelines.folder,
        models=config.pipelines.models,
        enabled=config.every_pipeline,
        program="radnode pipelines",
    )
