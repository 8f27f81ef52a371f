"""A destination that cannot be reached is left alone for a while, and nothing is lost by it."""

import pytest

from node.ledger import views
from tests.integration.deliver.archives import Archive
from tests.integration.deliver.post import Post
from tests.peers import StoreScp

pytestmark = pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")


def circuit(post):
    (row,) = post.rows("circuit")
    return row["state"], row["failures"]


def attempts(post):
    return sum(row.event == "delivery.started" for row in post.events())


def test_the_circuit_opens_one_parcel_tries_and_closes_it(tmp_path, files):
    peer = Archive()
    with Post(tmp_path, files, peer.destination, attempts=9, trip_after=2, open_s=0.3) as post:
        assert post.bring()["code"] == "PEER_UNAVAILABLE.no_connection"
        assert circuit(post) == ("closed", 1)
        post.bring()
        assert circuit(post) == ("open", 2)
        row = post.bring()
        assert (row["state"], row["attempt"], row["reason"]) == ("queued", 3, None), "it waits, and no attempt is lost"
        assert attempts(post) == 4, "two objects, twice; nobody was called the third time"
        wait_s = post.events("parcel.put_off")[-1].detail["delay_s"]
        assert 0 < wait_s <= 0.3
        with peer:
            while circuit(post)[0] != "closed":
                row = post.bring()
        assert (row["state"], post.states()) == ("done", ["sent", "sent"])
        assert circuit(post) == ("closed", 0)
        assert [row.event for row in post.events("circuit")] == ["circuit.opened", "circuit.probed", "circuit.closed"]
        assert {row.destination for row in post.events("circuit")} == {"pacs"}


def test_a_probe_that_fails_opens_it_again(tmp_path, files):
    with Post(tmp_path, files, Archive().destination, attempts=9, trip_after=1, open_s=0.05) as post:
        while [row.event for row in post.events("circuit")].count("circuit.opened") < 2:
            post.bring()
        assert [row.event for row in post.events("circuit")][:3] == ["circuit.opened", "circuit.probed", "circuit.opened"]
        assert circuit(post)[0] == "open"
        with post.ledger.reading() as tx:
            assert views.counts(tx)["circuit"] == {"open": 1}


@pytest.mark.parametrize("status", [0xA700, 0xC000])
def test_what_a_destination_says_opens_nothing(tmp_path, files, status):
    with SayingPacs(status) as pacs, Post(tmp_path, files, pacs.destination, trip_after=1) as post:
        post.bring()
        assert post.rows("circuit") == []


class Visited(Archive):
    """It is called once more while it stores the first object."""

    visit = None

    def _store(self, event) -> int:
        visit, self.visit = self.visit, None
        if visit is not None:
            visit()
        return super()._store(event)


def test_what_waits_goes_at_once_when_the_circuit_closes(tmp_path, files):
    peer = Visited()
    with Post(tmp_path, files, peer.destination, trip_after=1, open_s=0.05) as post:
        second = post.owe_another()
        assert post.bring()["code"] == "PEER_UNAVAILABLE.no_connection"
        assert circuit(post) == ("open", 1)
        peer.visit = lambda: post.loop.perform(second, 1)
        with peer:
            while (row := post.bring())["state"] == "queued":
                pass
        assert (row["state"], peer.visit) == ("done", None)
        waited = [row for row in post.events("parcel.put_off") if row.work_id == second]
        assert waited[-1].detail["delay_s"] > 30, "it came in the middle of the probe, and was told to wait for its longest"
        (closed,) = post.events("circuit.closed")
        assert closed.detail == {"failures": 1, "hastened": 1}
        assert waited[-1].n < closed.n
        after = next(row for row in post.rows("work") if row["id"] == second)
        assert (after["state"], after["due_at"]) == ("queued", None)
        ticket = f"{second}:{after['dispatch']}"
        found = post.engine.look([ticket])[ticket]
        assert (found.waits, found.due_at) == (True, None), "the engine has it, and may give it away now"


class SayingPacs(Archive):
    """One that answers, if not with Success."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self._status = status

    def _store(self, event) -> int:
        return self._status


def test_one_failure_among_successes_opens_nothing(tmp_path, files):
    peer = StoreScp(tmp_path / "storescp")
    with Post(tmp_path / "post", files, peer_destination(peer), attempts=9, trip_after=2) as post:
        post.bring()
        assert circuit(post) == ("closed", 1)
        with peer:
            assert post.bring()["state"] == "done"
        assert circuit(post) == ("closed", 0)
        assert post.events("circuit") == []


def peer_destination(peer):
    from node.core.remote import Destination

    return Destination(name="pacs", ae_title="PACS", host="127.0.0.1", port=peer.port)
