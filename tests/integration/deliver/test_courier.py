"""What becomes of a parcel, by what its destination says to it."""

import time

import pytest

from node.core.errors import PeerRefused, StorageError
from node.core.remote import Destination
from tests.integration.deliver.post import SEGMENTATION, Pacs, Post
from tests.peers import HOST, Orthanc, StoreScp, find_tool, free_port

#: When the other side closes first, pynetdicom 3.0.4 leaves its socket to be closed by the collector (transport.py, _shutdown_socket).
pytestmark = pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")


def destination(port, host=HOST, ae_title="PACS"):
    return Destination(name="pacs", ae_title=ae_title, host=host, port=port)


def names(post):
    return [row.event for row in post.events()]


def test_dcmtk_gets_what_lies_in_the_spool_byte_for_byte(tmp_path, files, store_scp):
    with Post(tmp_path, files, destination(store_scp.port)) as post:
        assert post.bring()["state"] == "done"
        assert post.states() == ["sent", "sent"]
        sent = [post.spool.path(stored.key).read_bytes() for stored in post.objects]
        received = [path.read_bytes() for path in store_scp.received()]
        assert sorted(content[-5000:] for content in received) == sorted(content[-5000:] for content in sent)
        assert [row.detail["status"] for row in post.events("delivery.sent")] == ["0x0000", "0x0000"]
        assert store_scp.store_requests() == 2


def test_orthanc_takes_segmentation_and_report(tmp_path, files, orthanc):
    with Post(tmp_path / "post", files, destination(orthanc.port)) as post:
        assert post.bring()["state"] == "done"
        found = {instance["SOPInstanceUID"] for instance in orthanc.instances()}
        assert found == {stored.sop_instance_uid for stored in post.objects}
        assert names(post) == ["delivery.owed"] * 2 + ["delivery.started"] * 2 + ["delivery.sent"] * 2 + ["delivery.unconfirmed"] * 2


def test_the_segmentation_goes_first(tmp_path, files):
    with Pacs() as pacs, Post(tmp_path, files[::-1], pacs.destination) as post:
        post.bring()
        report, segmentation = post.objects
        assert pacs.requests == [segmentation.sop_instance_uid, report.sop_instance_uid]


def test_a_peer_that_is_down_is_tried_again_until_it_is_back(tmp_path, files):
    peer = StoreScp(tmp_path / "storescp")
    with Post(tmp_path / "post", files, destination(peer.port)) as post:
        row = post.bring()
        assert (row["state"], row["code"], row["attempt"]) == ("queued", "PEER_UNAVAILABLE.no_connection", 2)
        assert post.states() == ["waiting", "waiting"]
        assert names(post)[-2:] == ["delivery.postponed"] * 2
        with peer:
            assert post.bring()["state"] == "done"
        assert post.states() == ["sent", "sent"]


def test_a_peer_that_stays_away_is_given_up_with_its_reason(tmp_path, files):
    with Post(tmp_path, files, destination(free_port()), attempts=2) as post:
        assert post.bring()["state"] == "queued"
        row = post.bring()
        assert (row["state"], row["code"]) == ("failed", "PEER_UNAVAILABLE.no_connection")
        assert "radnode replay" in row["reason"]
        assert post.states() == ["refused", "refused"]


def test_a_name_that_nobody_knows_is_unavailable(tmp_path, files):
    with Post(tmp_path, files, destination(104, host="pacs.invalid")) as post:
        row = post.bring()
        assert (row["state"], row["code"]) == ("queued", "PEER_UNAVAILABLE.no_connection")


def test_a_wrong_title_is_refused_for_good(tmp_path, files):
    with Pacs(ae_title="OTHER") as pacs, Post(tmp_path, files, pacs.destination) as post:
        row = post.bring()
        assert (row["state"], row["code"]) == ("refused", "PEER_REFUSED.rejected")
        assert "AE titles" in row["reason"]
        assert post.states() == ["refused", "refused"]
        assert pacs.requests == []


def test_orthanc_that_does_not_know_us_refuses_for_good(tmp_path, files):
    settings = {"DicomCheckCalledAet": True}
    with (
        Orthanc(tmp_path / "orthanc", settings=settings) as pacs,
        Post(tmp_path / "post", files, destination(pacs.port, ae_title="X")) as post,
    ):
        assert (post.bring()["code"], post.states()) == ("PEER_REFUSED.rejected", ["refused", "refused"])


def test_storescp_that_refuses_associations_is_judged_by_its_word(tmp_path, files):
    with StoreScp(tmp_path / "storescp", "--refuse") as peer, Post(tmp_path / "post", files, destination(peer.port)) as post:
        row = post.bring()
        assert row["code"] in ("PEER_UNAVAILABLE.rejected", "PEER_REFUSED.rejected")
        assert post.states() in (["waiting"] * 2, ["refused"] * 2)
        assert peer.received() == []


def test_where_no_segmentation_is_accepted_no_report_is_sent(tmp_path, files):
    with Pacs(without=SEGMENTATION) as pacs, Post(tmp_path, files, pacs.destination) as post:
        row = post.bring()
        assert (row["state"], row["code"]) == ("refused", "PEER_REFUSED.0x0122")
        assert SEGMENTATION in row["reason"]
        assert pacs.requests == [], "a report that refers to what is not there would mislead"
        assert post.states() == ["refused", "refused"]


class ReportsOnly(StoreScp):
    """DCMTK's storescp as a site would configure it that has no use for segmentations."""

    def command(self):
        self.inbox.mkdir(exist_ok=True)
        profile = self.folder / "associations.cfg"
        profile.write_text(
            "[[TransferSyntaxes]]\n[Uncompressed]\nTransferSyntax1 = LittleEndianExplicit\nTransferSyntax2 = LittleEndianImplicit\n"
            "[[PresentationContexts]]\n[Reports]\nPresentationContext1 = ComprehensiveSRStorage\\Uncompressed\n"
            "PresentationContext2 = VerificationSOPClass\\Uncompressed\n"
            "[[Profiles]]\n[Default]\nPresentationContexts = Reports\n"
        )
        return [find_tool("storescp"), "-v", "-aet", "PACS", "-od", str(self.inbox), "-xf", str(profile), "Default", str(self.port)]


def test_dcmtk_without_segmentations_gets_no_report(tmp_path, files):
    with ReportsOnly(tmp_path / "storescp") as peer, Post(tmp_path / "post", files, destination(peer.port)) as post:
        row = post.bring()
        assert (row["state"], row["code"]) == ("refused", "PEER_REFUSED.0x0122")
        assert peer.received() == []
        assert post.states() == ["refused", "refused"]


def test_where_nothing_is_accepted_the_reason_says_what(tmp_path, files):
    with ReportsOnly(tmp_path / "storescp") as peer, Post(tmp_path / "post", files[:1], destination(peer.port)) as post:
        row = post.bring()
        assert (row["state"], row["code"]) == ("refused", "PEER_REFUSED.contexts")
        assert SEGMENTATION in row["reason"] or "Segmentation" in row["reason"]


@pytest.mark.parametrize("status", [0xA700, 0xA7FF, 0x0110, 0x0213])
def test_a_failure_that_may_pass_is_tried_again(tmp_path, files, status):
    with Pacs(status) as pacs, Post(tmp_path, files, pacs.destination) as post:
        row = post.bring()
        assert (row["state"], row["code"]) == ("queued", f"PEER_UNAVAILABLE.0x{status:04X}")
        assert post.states() == ["waiting", "waiting"]
        assert len(pacs.requests) == 1, "what comes behind the failure is not sent"
        assert post.bring()["state"] == "done"
        assert post.states() == ["sent", "sent"]


@pytest.mark.parametrize("status", [0xC000, 0xA900, 0x0124])
def test_a_failure_that_will_not_pass_is_refused(tmp_path, files, status):
    with Pacs(status) as pacs, Post(tmp_path, files, pacs.destination) as post:
        row = post.bring()
        assert (row["state"], row["code"]) == ("refused", f"PEER_REFUSED.0x{status:04X}")
        assert post.states() == ["refused", "refused"]
        assert len(pacs.requests) == 1
        assert post.events("delivery.refused")[0].detail["status"] == f"0x{status:04X}"


def test_a_warning_is_an_acceptance(tmp_path, files):
    with Pacs(0xB000, 0xB007) as pacs, Post(tmp_path, files, pacs.destination) as post:
        assert post.bring()["state"] == "done"
        assert [row.detail["status"] for row in post.events("delivery.sent")] == ["0xB000", "0xB007"]


def test_a_report_that_is_refused_leaves_its_segmentation_sent(tmp_path, files):
    with Pacs(0x0000, 0xC000) as pacs, Post(tmp_path, files, pacs.destination) as post:
        assert post.bring()["state"] == "refused"
        assert post.states() == ["sent", "refused"]


@pytest.mark.parametrize("failure", [None, 0xA700])
def test_what_was_accepted_is_never_sent_again(tmp_path, files, failure):
    with Pacs(0x0000, failure) as pacs, Post(tmp_path, files, pacs.destination) as post:
        assert post.bring()["state"] == "queued"
        assert post.states() == ["sent", "waiting"]
        assert post.bring()["state"] == "done"
        segmentation, report = (stored.sop_instance_uid for stored in post.objects)
        assert pacs.requests == [segmentation, report, report]


def test_an_abort_at_the_first_object_leaves_both_to_be_sent(tmp_path, files):
    with Pacs(None) as pacs, Post(tmp_path, files, pacs.destination) as post:
        row = post.bring()
        assert (row["state"], row["code"]) == ("queued", "PEER_UNAVAILABLE.no_answer")
        assert post.states() == ["waiting", "waiting"]
        assert post.bring()["state"] == "done"


def test_dcmtk_that_dies_behind_the_first_object_gets_the_rest_later(tmp_path, files):
    peer = StoreScp(tmp_path / "storescp", "--abort-after")
    with Post(tmp_path / "post", files, destination(peer.port)) as post:
        with peer:
            row = post.bring()
            assert (row["state"], row["code"]) == ("queued", "PEER_UNAVAILABLE.no_answer")
        with StoreScp(tmp_path / "storescp", port=peer.port):
            assert post.bring()["state"] == "done"


def test_a_peer_that_takes_the_connection_and_is_silent_is_unavailable(tmp_path, files, store_scp):
    store_scp.pause()
    with Post(tmp_path / "post", files, destination(store_scp.port)) as post:
        before = time.monotonic()
        row = post.bring()
        assert time.monotonic() - before < 15
        assert (row["state"], row["code"].split(".")[0]) == ("queued", "PEER_UNAVAILABLE")
        store_scp.resume()
        assert post.bring()["state"] == "done"


@pytest.mark.parametrize("place", ["seg", "sr"])
def test_a_file_that_was_changed_on_the_disk_stops_everything(tmp_path, files, place):
    with Pacs() as pacs, Post(tmp_path, files, pacs.destination) as post:
        path = post.spool.path(post.objects[0 if place == "seg" else 1].key)
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.write_bytes(bytes(content))
        with pytest.raises(StorageError) as caught:
            post.courier.bring(post.work())
        assert caught.value.full_code == "STORAGE.digest"
        assert post.bring()["code"] == "STORAGE.digest"
        assert pacs.requests == [], "not even the one that is whole"


def test_a_file_that_is_gone_stops_everything(tmp_path, files):
    with Pacs() as pacs, Post(tmp_path, files, pacs.destination) as post:
        post.spool.delete(post.objects[1].key)
        assert post.bring()["code"] == "STORAGE.spool"
        assert pacs.requests == []


def test_a_destination_that_is_no_longer_configured_is_refused_with_its_name(tmp_path, files):
    with Post(tmp_path, files, destination(104), names=("archive",)) as post:
        with pytest.raises(PeerRefused, match="archive"):
            post.courier.bring(post.work())
        row = post.bring()
        assert (row["state"], row["code"]) == ("refused", "PEER_REFUSED.unknown")
        assert post.states() == ["refused", "refused"]


def test_a_parcel_that_was_brought_is_not_brought_twice(tmp_path, files):
    with Pacs() as pacs, Post(tmp_path, files, pacs.destination) as post:
        task = post.work()
        post.bring()
        post.bring()
        assert post.courier.bring(task).answers == {}
        assert len(pacs.requests) == 2


def test_a_courier_that_died_before_it_wrote_the_answers_down_sends_again(tmp_path, files):
    """At least once: the destination may have stored them, and gets the same bytes under the same UIDs."""
    with Pacs() as pacs, Post(tmp_path, files, pacs.destination) as post:
        post.courier.bring(post.work())  # and the process is gone
        assert post.states() == ["sending", "sending"]
        assert post.bring()["state"] == "done"
        assert len(pacs.requests) == 4
        assert len(set(pacs.requests)) == 2
