"""Questions of one statement each, on a connection that is kept: a sender waits for the answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from node.ledger.engine import Ledger, Transaction, unreachable

T = TypeVar("T")


class Inquiry:
    """Asks the ledger; any thread may, one at a time."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._connection: Transaction | None = None

    def ask(self, question: Callable[[Transaction], T]) -> T:
        """Answer ``question``, which reads by one statement and sees whatever is committed.

        Raises
        ------
        StorageError
            If the database does not answer; the next question tries a new connection.
        """
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._ledger.connect_to_ask()
                return question(self._connection)
            except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
                self._drop()
                raise unreachable(error) from error

    def close(self) -> None:
        """Give the connection back."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.invalidate()
            connection.close()
