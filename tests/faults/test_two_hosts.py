"""Two worker hosts with nothing in common but PostgreSQL and a bucket, and the cable of one pulled in mid-job."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.engine.url import make_url

from tests.faults.hosts import two_hosts
from tests.invariants import Archived
from tests.nodes import Node
from tests.peers import HOST, StoreScp, store_scu
from tests.stores import S3Server, config_of

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

LEASE_S = 4.0


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[StoreScp]:
    with StoreScp(tmp_path / "pacs") as running:
        yield running


def test_the_job_of_a_host_that_is_cut_off_is_finished_by_the_other(
    tmp_path: Path, study: list[Path], postgresql_url: str, s3: S3Server, pacs: StoreScp
) -> None:
    url, place = make_url(postgresql_url), s3.make_bucket()
    with two_hosts([int(url.port or 5432), s3.port]) as hosts:
        owed = [("pacs", pacs.ae_title, pacs.port)]
        nodes = []
        for host in hosts:
            folder = tmp_path / host.name
            folder.mkdir()
            database = url.set(host=host.ours).render_as_string(hide_password=False)
            store = config_of(replace(place, endpoint=f"http://{host.ours}:{s3.port}"), folder)
            nodes.append(Node(folder, owed, database=database, lease_s=LEASE_S, more=store))
        here = Node(tmp_path / "here", owed, database=postgresql_url, lease_s=LEASE_S, more=config_of(place, tmp_path))
        workers = [host.role(node, "work") for host, node in zip(hosts, nodes, strict=True)]
        with here.running("listen", "deliver"), workers[0], workers[1]:
            assert set(store_scu(HOST, here.port, study, called="RADNODE").statuses) == {0}
            holder = str(here.wait_for("job.claimed").detail["by"])
            lost, left = sorted(hosts, key=lambda host: host.name not in holder)
            lost.cut()
            finished = here.wait_for("job.finished", seconds=90)
            assert left.name in finished.actor
            here.wait_at_rest()
            lost.mend()
            assert lost.name in here.wait_for("job.fenced", seconds=60).actor
    rescued = [row for row in here.events() if row.event == "job.rescued"]
    claimed = [row for row in here.events() if row.event == "job.claimed"]
    assert len(rescued) == 1
    taken_over_s = (claimed[1].at - claimed[0].at).total_seconds()
    print(f"taken over {taken_over_s:.1f} s after the first claim, done after {(finished.at - claimed[0].at).total_seconds():.1f} s")
    assert taken_over_s < 2 * LEASE_S, "within two lease times"
    archive = Archived.in_files(pacs.received())
    assert sorted(dataset.Modality for dataset in archive.datasets) == ["SEG", "SR"]
    assert pacs.store_requests() == 2, "the late result was never sent"
