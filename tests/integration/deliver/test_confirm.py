"""What is known of a delivery behind the Success of its destination: the state says it, whatever the destination is."""

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from node.core.commitment import Promise
from node.core.remote import Destination
from node.dimse.commitment import CommitmentService
from node.dimse.pledge import PledgeService
from tests.integration.deliver.archives import Archive
from tests.integration.deliver.post import SEGMENTATION, Post
from tests.integration.dimse.station import Station
from tests.peers import HOST, Orthanc, wait_until

#: When the other side closes first, pynetdicom 3.0.4 leaves its socket to be closed by the collector (transport.py, _shutdown_socket).
pytestmark = pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")


def destination(port):
    return Destination(name="pacs", ae_title="PACS", host=HOST, port=port)


class Door(Station):
    """Our listener, as far as destinations report to it."""

    def __init__(self, post: Post) -> None:
        super().__init__(post.folder, url=post.url)
        self._hear = post.hear

    def services(self):
        return [CommitmentService(lambda _request: None, lambda *_: None), PledgeService(self._hear)]


def verbs(post, prefix="delivery"):
    return [row.event.partition(".")[2] for row in post.events(prefix)]


def study_of(files):
    return str(dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)


def test_orthanc_answers_a_question_with_what_it_was_sent(tmp_path, files, orthanc):
    with Post(tmp_path / "post", files, destination(orthanc.port), confirm="query", lost_after_s=30) as post:
        assert post.bring()["state"] == "queued"
        assert post.evidence() == ["sent, not confirmed"] * 2
        assert post.bring()["state"] == "done"
        assert post.states() == ["found", "found"]
        assert post.evidence() == ["confirmed by query"] * 2
        assert verbs(post) == ["owed"] * 2 + ["started"] * 2 + ["sent"] * 2 + ["found"] * 2
        assert all(row["confirmed_at"] >= row["sent_at"] for row in post.rows("delivery"))


def test_orthanc_commits_itself_to_our_listener(tmp_path, files, orthanc):
    with Post(tmp_path / "post", files, destination(orthanc.port), confirm="commitment") as post, Door(post) as door:
        orthanc.add_modality("radnode", "RADNODE", door.port)
        post.bring()
        post.bring()
        wait_until(lambda: post.states() == ["committed"] * 2, seconds=20, sentence=f"not committed: {post.rows('pledge')}", pause=0.05)
        assert post.bring()["state"] == "done"
        assert post.evidence() == ["confirmed by storage commitment"] * 2
        (pledge,) = post.rows("pledge")
        assert (pledge["state"], pledge["failed"]) == ("reported", {})
        assert post.events("pledge.reported")[0].detail["calling_ae"] == "PACS"


def test_what_orthanc_has_lost_is_found_out_and_sent_again(tmp_path, files, orthanc):
    with Post(tmp_path / "post", files, destination(orthanc.port), confirm="query") as post:
        post.bring()
        orthanc.delete_study(study_of(files))
        post.bring()
        assert post.states() == ["waiting", "waiting"]
        assert post.deliver()["state"] == "done"
        assert post.states() == ["found", "found"]
        assert verbs(post)[6:] == ["lost"] * 2 + ["started"] * 2 + ["sent"] * 2 + ["found"] * 2
        assert {instance["SOPInstanceUID"] for instance in orthanc.instances()} == {stored.sop_instance_uid for stored in post.objects}


def test_what_orthanc_cannot_commit_itself_to_is_sent_again(tmp_path, files, orthanc):
    with Post(tmp_path / "post", files, destination(orthanc.port), confirm="commitment") as post, Door(post) as door:
        orthanc.add_modality("radnode", "RADNODE", door.port)
        post.bring()
        orthanc.delete_study(study_of(files))
        post.bring()
        wait_until(lambda: post.states() == ["waiting"] * 2, seconds=20, sentence=f"not found out: {post.rows('pledge')}", pause=0.05)
        post.bring()
        post.bring()
        wait_until(lambda: post.states() == ["committed"] * 2, seconds=20, sentence=f"not committed: {post.rows('pledge')}", pause=0.05)
        assert post.bring()["state"] == "done"
        assert [row["losses"] for row in post.rows("delivery")] == [1, 1]


def test_dcmtk_can_be_asked_nothing_and_the_state_says_so(tmp_path, files, store_scp):
    with Post(tmp_path / "post", files, destination(store_scp.port), confirm="commitment") as post:
        assert post.deliver()["state"] == "done"
        assert post.states() == ["sent", "sent"]
        assert post.evidence() == ["sent, not confirmed"] * 2
        assert verbs(post)[-2:] == ["unconfirmed"] * 2
        assert "accepts none of what we propose" in post.rows("delivery")[0]["reason"]


def test_a_destination_that_is_not_to_be_asked_is_not(tmp_path, files):
    with Archive() as archive, Post(tmp_path, files, archive.destination) as post:
        assert post.bring()["state"] == "done"
        assert (post.states(), archive.asked) == (["sent", "sent"], [])
        assert verbs(post)[-2:] == ["unconfirmed"] * 2


@pytest.mark.parametrize("confirm", ["query", "commitment"])
def test_a_lying_archive_is_found_out_and_given_up_after_so_many_times(tmp_path, files, confirm):
    with Archive(loses=100) as archive, Post(tmp_path, files, archive.destination, confirm=confirm, resend=2) as post:
        row = post.deliver()
        assert (row["state"], row["code"]) == ("refused", "PEER_REFUSED.lost")
        assert "said Success 3 times and does not have it" in row["reason"]
        assert post.states() == ["refused", "refused"]
        assert post.evidence() == ["not delivered"] * 2
        assert len(archive.requests) == 6
        assert archive.held == {}
        assert verbs(post).count("lost") == 6


@pytest.mark.parametrize("confirm", ["query", "commitment"])
def test_an_archive_that_loses_one_object_gets_that_one_again(tmp_path, files, confirm):
    with Archive(loses=1) as archive, Post(tmp_path, files, archive.destination, confirm=confirm) as post:
        assert post.deliver()["state"] == "done"
        assert post.states() == [{"query": "found", "commitment": "committed"}[confirm]] * 2
        segmentation, report = (stored.sop_instance_uid for stored in post.objects)
        assert archive.requests == [segmentation, report, segmentation]
        assert archive.held == {segmentation: 1, report: 1}


def test_a_lying_archive_that_was_mended_gets_everything_when_replayed(tmp_path, files):
    with Archive(loses=2) as archive, Post(tmp_path, files, archive.destination, confirm="query", resend=0) as post:
        assert post.deliver()["state"] == "refused"
        post.replay()
        assert post.deliver()["state"] == "done"
        assert post.states() == ["found", "found"]


def test_an_archive_whose_index_comes_late_is_waited_for(tmp_path, files):
    with Archive(finds_after=2) as archive, Post(tmp_path, files, archive.destination, confirm="query", lost_after_s=30) as post:
        assert post.deliver()["state"] == "done"
        assert len(archive.requests) == 2, "nothing is sent again"
        waits = [row.detail for row in post.events("parcel.put_off")]
        assert [wait["attempt"] for wait in waits] == [1, 1], "waiting is no failed attempt"
        assert verbs(post)[-2:] == ["found"] * 2


def test_a_slow_archive_is_tried_again_until_it_answers(tmp_path, files):
    slow = Archive(slow_s=(1.2, 1.2))
    with slow as archive, Post(tmp_path, files, archive.destination, confirm="query", answer_s=0.4, attempts=9) as post:
        row = post.bring()
        assert (row["state"], row["code"]) == ("queued", "PEER_UNAVAILABLE.no_answer")
        assert post.states() == ["waiting", "waiting"]
        assert post.deliver()["state"] == "done"
        assert post.states() == ["found", "found"]
        assert set(archive.held) == {stored.sop_instance_uid for stored in post.objects}


def many(files, folder: Path, count: int) -> list[Path]:
    """Reports like the one in ``files``, each of its own."""
    made = []
    for number in range(count):
        dataset = dcmread(files[1])
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        made.append(folder / f"{number}.dcm")
        dataset.save_as(made[-1])
    return made


def test_an_archive_that_aborts_after_the_third_has_three_and_gets_the_rest(tmp_path, files):
    with Archive(aborts_after=3) as archive, Post(tmp_path, many(files, tmp_path, 5), archive.destination, confirm="query") as post:
        row = post.bring()
        assert (row["state"], row["code"]) == ("queued", "PEER_UNAVAILABLE.no_answer")
        assert sorted(post.states()) == ["sent"] * 3 + ["waiting"] * 2
        assert set(archive.held) == {row["sop_instance_uid"] for row in post.rows("delivery") if row["state"] == "sent"}
        assert post.deliver()["state"] == "done"
        assert post.states() == ["found"] * 5
        assert list(archive.held.values()) == [1] * 5


def test_an_archive_that_takes_reports_and_no_segmentations_gets_neither(tmp_path, files):
    """A report that refers to what is not there would mislead."""
    with Archive(without=SEGMENTATION) as archive, Post(tmp_path, files, archive.destination, confirm="query") as post:
        row = post.deliver()
        assert (row["state"], row["code"]) == ("refused", "PEER_REFUSED.0x0122")
        assert SEGMENTATION in row["reason"]
        assert post.states() == ["refused", "refused"]
        assert post.evidence() == ["not delivered"] * 2
        assert archive.held == {}


def test_an_archive_may_report_on_the_association_on_which_it_was_asked(tmp_path, files):
    with Archive() as archive, Post(tmp_path, files, archive.destination, confirm="commitment") as post:
        assert post.deliver()["state"] == "done"
        assert post.states() == ["committed", "committed"]
        assert verbs(post, "pledge") == ["begun", "reported"]
        assert len(archive.asked) == 2


def test_an_archive_that_never_reports_is_given_up_and_its_success_stays_a_success(tmp_path, files):
    with (
        Archive(reports=False) as archive,
        Post(tmp_path, files, archive.destination, confirm="commitment", report_s=0.01, attempts=2) as post,
    ):
        row = post.deliver()
        assert (row["state"], row["code"]) == ("failed", "PEER_UNAVAILABLE.no_report")
        assert post.states() == ["sent", "sent"]
        assert "has not reported" in post.rows("delivery")[0]["reason"]
        assert verbs(post, "pledge") == ["begun", "asked", "expired"] * 2
        assert len(archive.requests) == 2, "nothing is sent again because a report is missing"
        post.replay()
        pledge = post.rows("pledge")[-1]
        assert post.hear(promise_of(post, pledge["transaction_uid"])), "late, and welcome"
        assert post.deliver()["state"] == "done"
        assert post.states() == ["committed", "committed"]


def promise_of(post, transaction_uid):
    uids = frozenset(stored.sop_instance_uid for stored in post.objects)
    return Promise(transaction_uid=transaction_uid, committed=uids, failed={}, calling_ae="PACS")


def test_where_no_commitment_is_offered_a_question_takes_its_place(tmp_path, files):
    with Archive(answers=("query",)) as archive, Post(tmp_path, files, archive.destination, confirm="commitment") as post:
        assert post.deliver()["state"] == "done"
        assert post.states() == ["found", "found"]
        assert "accepts none of what we propose" in post.rows("delivery")[0]["reason"]


def test_an_archive_that_will_not_commit_itself_is_asked_a_question(tmp_path, files):
    """A failure reason that will not pass: the class is not supported (0x0122)."""
    lost = Archive(loses=1, fails_with=0x0122)
    with lost as archive, Post(tmp_path, files, archive.destination, confirm="commitment", lost_after_s=0) as post:
        assert post.deliver()["state"] == "done"
        assert sorted(post.states()) == ["committed", "committed"]
        assert len(archive.requests) == 3
        assert any("0x0122" in str(row.detail) for row in post.events("pledge.reported"))


def test_a_courier_that_died_behind_its_request_does_not_ask_twice(tmp_path, files):
    with Archive(reports=False) as archive, Post(tmp_path, files, archive.destination, confirm="commitment") as post:
        post.bring()
        post.courier.bring(post.work())  # asked, and the process is gone
        assert post.bring()["state"] == "queued"
        (pledge,) = post.rows("pledge")
        assert post.hear(promise_of(post, pledge["transaction_uid"]))
        assert post.bring()["state"] == "done"
        assert (len(archive.asked), post.states()) == (2, ["committed", "committed"])


def test_a_report_that_nobody_asked_for_is_refused(tmp_path, files):
    with Archive(reports=False) as archive, Post(tmp_path, files, archive.destination, confirm="commitment") as post:
        post.bring()
        post.bring()
        assert not post.hear(promise_of(post, "2.25.1"))
        assert post.states() == ["sent", "sent"]


@pytest.mark.parametrize("settings", [{"DicomAlwaysAllowFind": False}])
def test_orthanc_that_will_not_be_asked_leaves_what_it_said_success_to(tmp_path, files, settings):
    with (
        Orthanc(tmp_path / "orthanc", settings=settings) as pacs,
        Post(tmp_path / "post", files, destination(pacs.port), confirm="query") as post,
    ):
        row = post.deliver()
        assert row["state"] in ("done", "failed")
        assert post.states() == ["sent", "sent"]
        assert post.evidence() == ["sent, not confirmed"] * 2
