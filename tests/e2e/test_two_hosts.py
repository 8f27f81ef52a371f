"""Two hosts with nothing in common but PostgreSQL and a bucket: what one receives, the other works on and delivers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.spool.bucket import Bucket
from tests.nodes import Node
from tests.peers import HOST, StoreScp, store_scu
from tests.stores import S3Server, config_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[StoreScp]:
    with StoreScp(tmp_path / "pacs") as running:
        yield running


def test_a_study_is_received_on_one_host_and_worked_on_at_another(
    tmp_path: Path, study: list[Path], postgresql_url: str, s3: S3Server, pacs: StoreScp
) -> None:
    place = s3.make_bucket()
    more = config_of(place, tmp_path) + '[retention]\nsource_days = 1\nconfirmed = "sent"\n'
    one, two = (Node(tmp_path / name, [("pacs", pacs.ae_title, pacs.port)], database=postgresql_url, more=more) for name in ("one", "two"))
    with one.running("listen"), two.running("work", "deliver"):
        sending = store_scu(HOST, one.port, study, called="RADNODE")
        assert set(sending.statuses) == {0}
        one.wait_at_rest()
    assert len(pacs.received()) == 2
    rows = one.rows("instance")
    assert {row["sop_instance_uid"] for row in rows} == sending.acknowledged
    bucket = Bucket(place)
    owed = one.rows("delivery")
    assert set(bucket.list("")) == {row["key"] for row in (*rows, *owed)} | {".radnode"}
    for node in (one, two):
        slots = node.config.node.data.glob("spool/incoming/*/*.slot")
        assert not [path for path in slots if path.stat().st_size], "nothing waits"
        assert not list(node.config.node.data.glob("spool/incoming/*/held-*")), "nothing is held"
        assert place.secret_key not in node.logs()
    assert not (two.config.node.data / "spool" / "quarantine").exists()
    events = [row.event for row in one.events()]
    assert events.count("store.chosen") == 1


def test_a_host_whose_spool_is_its_own_is_refused(tmp_path: Path, postgresql_url: str) -> None:
    one, two = (Node(tmp_path / name, [], database=postgresql_url) for name in ("one", "two"))
    with one.running("deliver"):
        process = two.role("deliver")
        with pytest.raises(ChildProcessError):
            process.start()
    assert "WRONG_PLACE.other_store" in process.log
