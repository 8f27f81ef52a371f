"""A scratch database is empty, is another one each time, and is gone afterwards."""

from contextlib import ExitStack

import psycopg
import pytest

from node.core.errors import StorageError
from node.ledger.scratch import scratch_database
from tests.peers import free_port


def names(server):
    with server.connect() as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


def test_a_scratch_database_is_made_beside_another_and_dropped(postgresql, postgresql_url):
    before = names(postgresql)
    with scratch_database(postgresql_url) as first, scratch_database(postgresql_url) as second:
        assert len({postgresql_url, first, second}) == 3
        assert len(names(postgresql) - before) == 2
        with psycopg.connect(first.replace("+psycopg", "")) as connection:
            assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
    assert names(postgresql) == before


def test_it_is_dropped_although_somebody_is_connected_and_although_the_round_failed(postgresql, postgresql_url):
    before = names(postgresql)
    with ExitStack() as stack:
        url = stack.enter_context(scratch_database(postgresql_url))
        left = psycopg.connect(url.replace("+psycopg", ""))
        stack.callback(lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            stack.close()
    assert names(postgresql) == before
    left.close()


@pytest.mark.parametrize("url", ["", "sqlite:////nowhere/radnode.db"])
def test_sqlite_stays_as_it_is(url):
    with scratch_database(url) as same:
        assert same == url


def test_a_server_that_is_away_is_named():
    with pytest.raises(StorageError), scratch_database(f"postgresql://radnode@127.0.0.1:{free_port()}/x"):
        pass
