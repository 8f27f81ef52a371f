"""A database that is away for a while: what is answered Success is durable, what is not is refused by the rule, and nothing is done twice.

RADNODE_TEST_AWAY_S says for how long, in seconds.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from node.core.errors import StorageError
from node.ledger.engine import Ledger
from node.ledger.inquiry import Inquiry
from tests import invariants
from tests.faults.ballast import Ballast, Stream
from tests.invariants import Archived
from tests.nodes import Node
from tests.peers import HOST, PostgreSQL, StoreScp, store_scu, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

AWAY_S = float(os.environ.get("RADNODE_TEST_AWAY_S") or 4)


@pytest.fixture
def server() -> Iterator[PostgreSQL]:
    """A server of its own, which loses nothing in a crash: the session's serves other tests too."""
    with PostgreSQL(durable=True) as running:
        yield running


def freeze(server: PostgreSQL) -> None:
    server.pause()
    time.sleep(AWAY_S)
    server.resume()


def crash(server: PostgreSQL) -> None:
    server.crash()
    time.sleep(AWAY_S)
    server.start()


@pytest.mark.parametrize("harm", [freeze, crash])
def test_a_database_that_is_away_while_a_study_comes(
    tmp_path: Path, study: list[Path], store_scp: StoreScp, server: PostgreSQL, harm: Callable[[PostgreSQL], None]
) -> None:
    node = Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)], database=server.create_database())
    ballast = Ballast(1000)
    with node.running() as [serve]:
        assert serve.process is not None
        wait_until(lambda: serve.log.count('"event": "queue.opened"') >= 2, seconds=60, sentence="the roles do not start")
        roles = {child.pid for child in psutil.Process(serve.process.pid).children()}
        sending = store_scu(HOST, node.port, study, called="RADNODE")
        assert set(sending.statuses) == {0}
        with Stream(node.port, ballast):
            time.sleep(0.3)
            harm(server)
            time.sleep(0.3)
        assert set(ballast.answers.values()) <= {0, 0xA700}
        assert ballast.acknowledged
        ballast.send_rest(node.port)
        node.wait_at_rest(studies=2, seconds=120)
        assert {child.pid for child in psutil.Process(serve.process.pid).children()} == roles, "nobody died of it"
    archive = Archived.in_files(store_scp.received())
    assert sorted(dataset.Modality for dataset in archive.datasets) == ["SEG", "SR"]
    invariants.check(node, sending.acknowledged | ballast.acknowledged, {"pacs": archive})


def test_a_frozen_server_is_given_up_and_found_again(server: PostgreSQL) -> None:
    """Its machine still acknowledges every byte, so that neither the server nor the kernel would ever end the wait."""
    with closing(Ledger(server.create_database(), actor="test", answer_s=0.5)) as ledger:
        inquiry = Inquiry(ledger, sa.select(sa.bindparam("what", type_=sa.String)))
        assert inquiry.ask(what="1") == [("1",)]
        server.pause()
        began = time.monotonic()
        with pytest.raises(StorageError):
            inquiry.ask(what="1")
        assert 0.4 < time.monotonic() - began < 3
        with pytest.raises(StorageError, match="a moment ago"):
            inquiry.ask(what="1")
        server.resume()
        time.sleep(1.1)
        assert inquiry.ask(what="1") == [("1",)]
        inquiry.close()


def test_a_statement_that_takes_too_long_is_ended_by_the_server(server: PostgreSQL) -> None:
    with closing(Ledger(server.create_database(), actor="test", answer_s=0.5)) as ledger:
        with pytest.raises(StorageError), ledger.reading() as tx:
            tx.execute(sa.select(sa.func.pg_sleep(20)))
        with server.connect() as connection:
            running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND state = 'active' AND pid <> pg_backend_pid()"
            assert connection.execute(running).fetchone() == (0,)
