"""Bringing the ledger's schema up to date, one process at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.engine.url import make_url

from node.ledger.engine import normalise_url, open_engine

#: Nobody else migrates while we do: "RADM" as a number.
_MIGRATION_LOCK = 0x5241444D


@contextmanager
def migrating(url: str) -> Iterator[None]:
    """Hold the migration lock, bring our tables up to date, and leave the caller to do the same for the engine's.

    A lock file beside the SQLite file, an advisory lock in PostgreSQL: both vanish with the process that held them.
    """
    url = normalise_url(url)
    engine = open_engine(url)
    try:
        with _locked(url, engine):
            with engine.begin() as connection:
                _upgrade(connection)
            yield
    finally:
        engine.dispose()


def alembic_config() -> Config:
    """Alembic's configuration: where the steps lie, and nothing else."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(connection: sa.Connection) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _locked(url: str, engine: sa.Engine) -> Iterator[None]:
    if not url.startswith("sqlite"):
        with engine.connect() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_lock(_MIGRATION_LOCK)))
            connection.commit()
            yield
            connection.execute(sa.select(sa.func.pg_advisory_unlock(_MIGRATION_LOCK)))
        return
    with Path(f"{make_url(url).database}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
