"""Databases with every table in them: made once, and copied for each test that needs one."""

import functools
import tempfile
from contextlib import closing
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine.url import make_url

from node.ledger.engine import Ledger
from node.ledger.migrate import migrating
from node.work.engine import prepare

_TEMPLATE = "radnode_template"


def prepare_database(url: str) -> str:
    """Bring a new, empty database to where a role brings it when it starts, without going the long way again; its URL."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        path = Path(str(parsed.database))
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(_sqlite_file())
        return url
    _make_template(parsed.set(database="postgres").render_as_string(hide_password=False))
    with _connect(parsed.set(database="postgres").render_as_string(hide_password=False)) as connection:
        name = Identifier(str(parsed.database))
        # One that is not empty, because another of the same test was here before, stays as it is.
        with psycopg.connect(_plain(url)) as own:
            tables = own.execute("SELECT count(*) FROM information_schema.tables WHERE table_name = 'audit'").fetchone()
        if tables == (0,):
            connection.execute(SQL("DROP DATABASE {}").format(name))
            connection.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(name, Identifier(_TEMPLATE)))
    return url


def _migrate(url: str) -> None:
    with migrating(url):
        prepare(url, 0.1, {"infer": 1, "deliver": 1})


@functools.cache
def _sqlite_file() -> bytes:
    with tempfile.TemporaryDirectory(prefix="radnode-database-") as folder:
        path = Path(folder) / "template.db"
        _migrate(f"sqlite:///{path}")
        with closing(Ledger(f"sqlite:///{path}", actor="test")) as ledger, ledger.reading() as tx:
            tx.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes()


@functools.cache
def _make_template(server: str) -> None:
    with _connect(server) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(_TEMPLATE)))
    _migrate(make_url(server).set(database=_TEMPLATE).render_as_string(hide_password=False))


def _plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _connect(url: str) -> psycopg.Connection:
    return psycopg.connect(_plain(url), autocommit=True)
