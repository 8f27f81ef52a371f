"""Databases that are thrown away: a benchmark or a rehearsal must find nothing in its way, and leave nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import sqlalchemy as sa

from node.ledger.engine import normalise_url, reaching


@contextmanager
def scratch_database(url: str) -> Iterator[str]:
    """Make an empty database beside the one that a PostgreSQL URL names, and drop it at the end.

    Parameters
    ----------
    url : str
        Of a database whose user may create others. SQLite's, and an empty one, stay as they are.

    Yields
    ------
    str
        The URL of the new database.

    Raises
    ------
    StorageError
        The server cannot be reached.
    """
    if not url or normalise_url(url).startswith("sqlite"):
        yield url
        return
    name = f"radnode_scratch_{uuid4().hex[:12]}"
    server = sa.create_engine(normalise_url(url), isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with reaching(), server.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    try:
        yield sa.engine.make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        with reaching(), server.connect() as connection:
            connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))
