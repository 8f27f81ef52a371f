"""Opening the ledger: SQLite for one machine, PostgreSQL for several, the same code above."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import sqlalchemy as sa
import tenacity
from sqlalchemy import event
from sqlalchemy.engine.url import make_url

from node.core.errors import StorageError
from node.ledger import patience

Transaction: TypeAlias = sa.Connection
T = TypeVar("T")

#: One lock for everyone who writes the audit chain: "RADN" as a number.
_CHAIN_LOCK = 0x5241444E


def normalise_url(url: str) -> str:
    """Name the driver, so that the same URL works for us and for the work engine."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed.render_as_string(hide_password=False)


def file_of(url: str) -> Path | None:
    """The file that a URL of SQLite means; None of any other."""
    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def open_engine(url: str, *, pool_size: int = 10, writer: bool = True, answer_s: float | None = None) -> sa.Engine:
    """Open ``url`` with the durability that the node promises.

    SQLite is put into WAL mode with synchronous=FULL: a commit is on disk when it returns.

    Parameters
    ----------
    writer : bool
        With SQLite, take the write lock when a transaction begins. The work engine, which mostly polls, opens its own without.
    answer_s : float, optional
        With PostgreSQL, how long a statement may go without an answer; for ever by default, as a migration may.
    """
    url = normalise_url(url)
    if not url.startswith("sqlite"):
        engine = sa.create_engine(url, pool_pre_ping=True, pool_size=pool_size, max_overflow=pool_size)
        if answer_s is not None:
            patience.limit(engine, answer_s)
        return engine
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, pool_size=pool_size, max_overflow=pool_size)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "handle_error", _let_go_of_a_broken_file)
    if writer:
        event.listen(engine, "connect", _leave_begin_to_us)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _leave_begin_to_us(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late, after the first read; ours is in _begin_sqlite


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = "IMMEDIATE"
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _let_go_of_a_broken_file(context: sa.engine.ExceptionContext) -> None:
    # SQLite opens a file for reading only when its disk is, and such a connection could never write again.
    name = getattr(context.original_exception, "sqlite_errorname", "")
    if name.startswith(("SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN")):
        context.is_disconnect = True


def _begin_sqlite(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if options.get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN" if options.get("reads_only") else "BEGIN IMMEDIATE")


class Ledger:
    """The door to the database.

    Parameters
    ----------
    url : str
        ``sqlite:///path`` or ``postgresql://user:password@host/name``.
    actor : str
        Who is written into the audit rows made through this door, ``listen@host`` for example.
    answer_s : float, optional
        How long PostgreSQL may leave a statement without an answer; see ``open_engine``.
    """

    def __init__(self, url: str, actor: str, *, answer_s: float | None = None) -> None:
        self.url = normalise_url(url)
        self.actor = actor
        self._engine = open_engine(url, answer_s=answer_s)

    @property
    def is_sqlite(self) -> bool:
        """Whether the ledger is a file on this machine."""
        return self.url.startswith("sqlite")

    @property
    def driver_error(self) -> type[Exception]:
        """What the database's driver raises where SQLAlchemy does not stand before it."""
        error: type[Exception] = self._engine.dialect.loaded_dbapi.Error
        return error

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """One transaction of the only writer.

        Writers take turns: SQLite knows no other way, and on PostgreSQL the hash chain of the audit log has one end. The lock is
        taken first, so that two writers can never wait for each other's rows.

        Raises
        ------
        StorageError
            If the database cannot be reached or written.
        """
        with reaching(), self._engine.begin() as tx:
            if not self.is_sqlite:
                tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_CHAIN_LOCK)))
            tx.info["actor"] = self.actor
            yield tx

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """One consistent view, which holds nobody up."""
        # SQLite gives every transaction one view; PostgreSQL gives one to every statement unless it is asked.
        options = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with reaching(), self._engine.connect() as connection:
            yield connection.execution_options(reads_only=True, **options)

    def connect_to_ask(self) -> Transaction:
        """A connection for questions of one statement each; the caller keeps it, and closes it."""
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT", reads_only=True)

    @contextmanager
    def beating(self) -> Iterator[Transaction]:
        """One short transaction that writes no audit row: leases are renewed through it, and need not wait for the chain."""
        with reaching(), self._engine.begin() as tx:
            yield tx

    def write(self, change: Callable[[Transaction], T], *, patience_s: float = 300.0) -> T:
        """Run ``change`` in one transaction, again if the database was away.

        The answer to a COMMIT can be lost, so ``change`` may run twice: it must find what it has done already.

        Raises
        ------
        StorageError
            If the database stayed away for ``patience_s`` seconds.
        """
        patient = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StorageError),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=5),
            stop=tenacity.stop_after_delay(patience_s),
            reraise=True,
        )
        for attempt in patient:
            with attempt, self.writing() as tx:
                result = change(tx)
        return result

    def close(self) -> None:
        """Give every connection back."""
        self._engine.dispose()


@contextmanager
def reaching() -> Iterator[None]:
    """Say in our own words that the database does not answer.

    Raises
    ------
    StorageError
        If it does not.
    """
    try:
        yield
    except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
        raise unreachable(error) from error


def unreachable(error: sa.exc.DBAPIError | sa.exc.TimeoutError) -> StorageError:
    """What the node makes of a database that does not answer; a fault of ours is raised as it is."""
    if isinstance(error, sa.exc.TimeoutError):
        return StorageError("Every connection to the database is in use; it will be tried again.", reason="database")
    if isinstance(error, sa.exc.IntegrityError | sa.exc.ProgrammingError | sa.exc.DataError):
        # A fault in the node, not in the database; the statement's parameters may hold identities and stay out of the sentence.
        raise error
    return no_answer(error.orig)


def no_answer(error: BaseException | None) -> StorageError:
    """What the node makes of a driver that could not reach its database."""
    return StorageError(f"The database does not answer ({type(error).__name__}); it will be tried again.", reason="database")


def database_now(tx: Transaction) -> datetime:
    """Read the database's clock: the one clock that every machine of a node shares."""
    if tx.dialect.name == "sqlite":
        text = tx.exec_driver_sql("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')").scalar_one()
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    now: datetime = tx.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return now.astimezone(UTC)
