"""How long to wait for PostgreSQL: a server that is frozen, or cut off, must not hold a thread for ever.

Three things end a wait. The server itself cancels a statement that takes too long, and ends a session that was left in mid-transaction: its
locks would hold up every other writer. The kernel gives up a connection whose bytes are no longer acknowledged. And where the server's
machine still acknowledges, but nothing answers, we look at our own clock.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg.pq import TransactionStatus
from sqlalchemy import event

T = TypeVar("T")

#: Far longer than any statement of ours takes, and shorter than a sender waits for its answer.
ANSWER_S = 15.0
#: Longer than any transaction of ours rests between two statements; reading a large file is the longest.
_REST_S = 60.0
_CONNECT_S = 5


class _Impatient(psycopg.Connection[Any]):
    """A connection that closes itself when its server has not answered a statement for ``answer_s`` seconds."""

    answer_s = ANSWER_S

    def wait(self, gen: Generator[Any, Any, T], *arguments: Any, **options: Any) -> T:
        """Wait for an answer as psycopg does, but not for ever."""
        return super().wait(self._until(gen, time.monotonic() + self.answer_s), *arguments, **options)

    def _until(self, gen: Generator[Any, Any, T], deadline: float) -> Generator[Any, Any, T]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > deadline and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                    self.close()
                    raise psycopg.OperationalError(f"the server has not answered for {self.answer_s:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result


def limit(engine: sa.Engine, answer_s: float) -> None:
    """Have every connection of ``engine`` give up a server that does not answer."""
    kind: type[_Impatient] = type("Impatient", (_Impatient,), {"answer_s": answer_s})

    def connect(_dialect: Any, _record: Any, arguments: Any, parameters: dict[str, Any]) -> psycopg.Connection[Any]:
        milliseconds = int(answer_s * 1000)
        defaults = {"connect_timeout": _CONNECT_S, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
        connection: psycopg.Connection[Any] = kind.connect(*arguments, **{**defaults, "tcp_user_timeout": milliseconds, **parameters})
        with connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = {milliseconds}")
            cursor.execute(f"SET idle_in_transaction_session_timeout = {int(_REST_S * 1000)}")
        connection.commit()
        return connection

    event.listen(engine, "do_connect", connect)
