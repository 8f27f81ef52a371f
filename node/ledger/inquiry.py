"""One question, of one statement, on a connection that is kept: a sender waits for the answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from node.core.errors import StorageError
from node.ledger.engine import Ledger, Transaction, no_answer, unreachable

#: After a question without an answer the next ones are told so at once for a while, or many senders would wait for it one behind the other.
_REST_S = 1.0


class Inquiry:
    """Asks the ledger the same question again and again; any thread may, one at a time.

    SQLAlchemy writes the statement for the database at hand, once; its driver is given it directly, which takes a tenth of the time.

    Parameters
    ----------
    question : Select
        Of columns, and with parameters, whose values need no conversion: text and whole numbers.
    """

    def __init__(self, ledger: Ledger, question: sa.Select[Any]) -> None:
        self._ledger, self._question = ledger, question
        self._lock = threading.Lock()
        self._connection: Transaction | None = None
        self._statement = ""
        self._order: Sequence[str] | None = None
        self._asks_again_at = 0.0

    def ask(self, **parameters: Any) -> Sequence[tuple[Any, ...]]:
        """The rows that answer the question; whatever is committed is seen.

        Raises
        ------
        StorageError
            If the database does not answer; the next question tries a new connection.
        """
        with self._lock:
            if time.monotonic() < self._asks_again_at:
                raise StorageError("The database did not answer a moment ago; it will be asked again.", reason="database")
            try:
                if self._connection is None:
                    self._connection = self._ledger.connect_to_ask()
                return self._run(self._connection, parameters)
            except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
                self._rest()
                raise unreachable(error) from error
            except self._ledger.driver_error as error:
                self._rest()
                raise no_answer(error) from error

    def close(self) -> None:
        """Give the connection back."""
        with self._lock:
            self._drop()

    def _run(self, connection: Transaction, parameters: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        if not self._statement:
            compiled = self._question.compile(dialect=connection.dialect)
            self._statement, self._order = str(compiled), getattr(compiled, "positiontup", None)
        given: Any = parameters if self._order is None else [parameters[name] for name in self._order]
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self._statement, given)
            return cursor.fetchall()
        finally:
            cursor.close()

    def _rest(self) -> None:
        self._drop()
        self._asks_again_at = time.monotonic() + _REST_S

    def _drop(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.invalidate()
            connection.close()
