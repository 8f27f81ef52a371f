"""C-MOVE and C-GET: what is sent equals what is stored, byte for byte, and the requester is told what became of it."""

import shutil
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000Lossless, generate_uid
from pynetdicom import AE, build_context, build_role, evt

from node.core.job import Job, Work
from node.core.result import StoredObject
from node.dimse.archive import Archive as Taker
from node.dimse.retrieve import batches
from node.dimse.scu import Outgoing
from node.ledger import outbox
from tests.integration.dimse.station import data_set_bytes
from tests.integration.query.archive import CT, SC, make_instance
from tests.peers import HOST, StoreScp, free_port, wait_until

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
    # When the other side closes first, pynetdicom 3.0.4 leaves its socket to be closed by the collector (transport.py, _shutdown_socket).
    pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning"),
]

GET, MOVE = "1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.1.2.2.2"
EXPLICIT = "1.2.840.10008.1.2.1"
RETIRED = ("1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55", "1.2.840.10008.1.2.4.57")
STUDY = "QueryRetrieveLevel=STUDY"


@pytest.fixture(scope="module")
def destination(tmp_path_factory):
    with StoreScp(tmp_path_factory.mktemp("destination")) as peer:
        yield peer


@pytest.fixture(scope="module")
def archive(archive_of, destination):
    peers = [
        {"name": "storescp", "ae_title": "STORESCP", "host": HOST, "port": destination.port},
        {"name": "all", "ae_title": "ALL", "host": HOST, "port": free_port()},
        {"name": "nobody", "ae_title": "NOBODY", "host": HOST, "port": free_port()},
    ]
    with archive_of(peers=peers) as running:
        yield running
        running.check()


@pytest.fixture
def received(destination):
    """The destination's inbox, empty at the beginning."""
    for path in destination.received():
        path.unlink()
    return destination.received


@pytest.fixture(scope="module")
def study(archive, test_data, tmp_path_factory) -> str:
    """One study in as many transfer syntaxes as the collection has of one slice, each under a SOP Instance UID of its own."""
    folder, uid, paths = tmp_path_factory.mktemp("study"), generate_uid(), []
    for path in sorted((test_data / "transfer_syntaxes" / "same_ct_slice").glob("*.dcm")):
        data_set = dcmread(path)
        data_set.StudyInstanceUID, data_set.SOPInstanceUID = uid, generate_uid()
        data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
        paths.append(folder / path.name)
        data_set.save_as(paths[-1])
    archive.hold(*paths)
    return uid


def stored(archive, study):
    """SOP Instance UID -> data set, of everything that is stored of a study."""
    return {uid: archive.bytes_of(held) for uid, held in archive.held().items() if held.study_instance_uid == study}


def came(paths):
    return {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): data_set_bytes(path) for path in paths}


def test_a_study_is_moved_byte_for_byte_in_every_transfer_syntax(archive, study, tmp_path):
    with taking_all(archive, tmp_path) as received:
        asking = archive.move(STUDY, f"StudyInstanceUID={study}", to="ALL")
        held = stored(archive, study)
        assert len(held) == 15
        assert asking.status == 0, asking.log[-2000:]
        assert came(received()) == held
    assert asking.statuses == [0xFF00] * 14 + [0]
    assert (asking.count("Completed"), asking.count("Failed"), asking.count("Warning")) == (15, 0, 0)
    assert "Remaining Suboperations       : 14" in asking.log
    row = archive.events("retrieve.finished")[-1]
    assert (row.study_instance_uid, row.detail["destination"], row.detail["status"]) == (study, "ALL", "0x0000")
    assert (row.detail["completed"], row.detail["failed"], row.detail["service"]) == (15, 0, "C-MOVE")


@contextmanager
def taking_all(archive, folder):
    """A destination that takes every transfer syntax, which storescp does not: three are retired."""
    (port,) = [peer.port for peer in archive.config.peer if peer.name == "all"]
    taker = Taker(folder / "all", "ALL", port)
    taker.start()
    try:
        yield taker.received
    finally:
        taker.stop()


def test_what_the_destination_does_not_take_is_a_failed_suboperation(archive, study, received):
    asking = archive.move(STUDY, f"StudyInstanceUID={study}")
    held = stored(archive, study)
    retired = {uid for uid, one in archive.held().items() if one.transfer_syntax_uid in RETIRED}
    assert (asking.status, asking.count("Completed"), asking.count("Failed")) == (0xB000, 12, 3)
    assert came(received()) == {uid: content for uid, content in held.items() if uid not in retired}
    assert all(uid in asking.log.rpartition("Response Identifiers")[2] for uid in retired)


def test_series_and_instances_are_moved_by_lists(archive, study, received):
    some = sorted(uid for uid, one in archive.held().items() if one.transfer_syntax_uid not in RETIRED and one.study_instance_uid == study)[
        :3
    ]
    (series,) = {held.series_instance_uid for uid, held in archive.held().items() if uid in some}
    within = (f"StudyInstanceUID={study}", f"SeriesInstanceUID={series}")
    assert archive.move("QueryRetrieveLevel=IMAGE", *within, "SOPInstanceUID=" + "\\".join(some)).status == 0
    assert sorted(came(received())) == some
    assert archive.move("QueryRetrieveLevel=SERIES", *within).count("Completed") == 12


@pytest.mark.parametrize(
    ("options", "syntax"),
    [((), EXPLICIT), (("+xs",), "1.2.840.10008.1.2.4.70"), (("+xv",), "1.2.840.10008.1.2.4.90"), (("+xd",), "1.2.840.10008.1.2.1.99")],
)
def test_what_the_requester_accepts_is_got_byte_for_byte(archive, study, options, syntax):
    asking = archive.get(STUDY, f"StudyInstanceUID={study}", options=options)
    wanted = {uid for uid, held in archive.held().items() if held.study_instance_uid == study and held.transfer_syntax_uid == syntax}
    assert wanted
    assert came(asking.files) == {uid: content for uid, content in stored(archive, study).items() if uid in wanted}
    assert asking.status == 0xB000
    assert (asking.count("Completed"), asking.count("Failed")) == (len(wanted), 15 - len(wanted))
    detail = archive.events("retrieve.finished")[-1].detail
    assert (detail["service"], detail["destination"], detail["completed"], detail["status"]) == ("C-GET", "ASKER", len(wanted), "0xB000")


def test_what_was_not_got_is_named(archive, study):
    (last, failed), *_ = reversed(get(archive, study, [build_context(CT, EXPLICIT)], [build_role(CT, scp_role=True)]))
    assert last.Status == 0xB000
    assert (last.NumberOfCompletedSuboperations, last.NumberOfFailedSuboperations) == (1, 14)
    explicit = [uid for uid, held in archive.held().items() if held.study_instance_uid == study and held.transfer_syntax_uid == EXPLICIT]
    assert sorted([*failed.FailedSOPInstanceUIDList, *explicit]) == sorted(stored(archive, study))


def test_nothing_is_sent_to_a_requester_that_did_not_propose_to_take_it(archive, study):
    heard = []
    (last, failed), *_ = reversed(get(archive, study, [build_context(CT, EXPLICIT)], [], heard=heard))
    assert last.Status == 0xA702
    assert set(heard) == {"C_GET_RSP"}
    assert len(failed.FailedSOPInstanceUIDList) == 15


def get(archive, study, contexts, roles, before=lambda association: None, heard=None):
    """C-GET by pynetdicom, with presentation contexts and roles of the test's own."""
    ae = AE("ASKER")
    ae.dimse_timeout = 20
    heard = [] if heard is None else heard
    handlers = [(evt.EVT_C_STORE, lambda event: 0x0000), (evt.EVT_DIMSE_RECV, lambda event: heard.append(type(event.message).__name__))]
    contexts = [build_context(GET, EXPLICIT), *contexts]
    association = ae.associate(HOST, archive.port, contexts=contexts, ae_title="RADNODE", ext_neg=roles, evt_handlers=handlers)
    before(association)
    question = Dataset()
    question.QueryRetrieveLevel, question.StudyInstanceUID = "STUDY", study
    answers = list(association.send_c_get(question, GET))
    assert association.is_established
    association.release()
    return answers


def test_one_association_stores_and_gets_and_stores_again(archive, tmp_path):
    """The fast path of C-STORE and the sub-operations of C-GET share one socket."""
    study = generate_uid()
    first, second, third = (make_instance(tmp_path, StudyInstanceUID=study) for _ in range(3))
    archive.hold(first)

    def store(association):
        assert association.send_c_store(dcmread(second)).Status == 0
        archive.flush()

    for path in (second, third):
        store_it = [store] if path == second else [lambda association: association.send_c_store(dcmread(third))]
        answers = get(archive, study, [build_context(SC, EXPLICIT)], [build_role(SC, scu_role=True, scp_role=True)], *store_it)
        assert answers[-1][0].Status == 0
    assert answers[-1][0].NumberOfCompletedSuboperations >= 2
    assert len(stored(archive, study)) == 3


def test_an_unknown_destination_is_told_so(archive, study):
    asking = archive.move(STUDY, f"StudyInstanceUID={study}", to="WHO")
    assert asking.statuses == [0xA801]
    detail = archive.events("retrieve.finished")[-1].detail
    assert (detail["status"], detail["destination"]) == ("0xA801", "WHO")
    assert detail["sentence"].startswith("UNKNOWN_DESTINATION")


def test_a_destination_that_does_not_answer_fails_every_suboperation(archive, study):
    asking = archive.move(STUDY, f"StudyInstanceUID={study}", to="NOBODY")
    assert (asking.status, asking.count("Failed")) == (0xA702, 15)
    assert "PEER_UNAVAILABLE.no_connection" in archive.events("retrieve.finished")[-1].detail["sentence"]


@pytest.mark.parametrize(
    "keys", [[STUDY], [STUDY, "StudyInstanceUID=1.2.*"], ["QueryRetrieveLevel=SERIES", "SeriesInstanceUID=1.2"], ["PatientID=1"]]
)
def test_a_selection_without_its_unique_keys_is_told_so(archive, keys):
    assert archive.move(*keys).statuses == [0xA900]
    assert archive.get(*keys).statuses == [0xA900]


def test_nothing_found_is_a_success_of_nothing(archive):
    asking = archive.move(STUDY, "StudyInstanceUID=1.2.99")
    assert (asking.statuses, asking.count("Completed")) == ([0], 0)


def test_a_file_that_is_gone_is_a_failed_suboperation(archive, received, tmp_path):
    study = generate_uid()
    archive.hold(*(make_instance(tmp_path, StudyInstanceUID=study) for _ in range(3)))
    lost = next(held for held in archive.held().values() if held.study_instance_uid == study)
    path = archive.spool.path(lost.key)
    shutil.move(path, tmp_path / "away")
    asking = archive.move(STUDY, f"StudyInstanceUID={study}")
    shutil.move(tmp_path / "away", path)
    assert (asking.status, asking.count("Completed"), asking.count("Failed")) == (0xB000, 2, 1)
    assert len(received()) == 2


def test_a_patient_with_results_of_ours_is_found_and_moved(archive, received, test_data, tmp_path):
    """Once each, although they are owed to two destinations."""
    files = sorted((test_data / "seg_sr_reference").rglob("*.dcm"))
    made = [next(path for path in files if dcmread(path, stop_before_pixels=True).Modality == kind) for kind in ("SEG", "SR")]
    source = make_instance(tmp_path, PatientID="R 1", PatientName="Result^Of")
    study = str(dcmread(source).StudyInstanceUID)
    archive.hold(source)
    owe(archive, study, made)
    asking = archive.find(STUDY, f"StudyInstanceUID={study}", "ModalitiesInStudy", "NumberOfStudyRelatedInstances", "PatientName")
    (found,) = asking.found
    assert (found.ModalitiesInStudy, found.NumberOfStudyRelatedInstances, found.PatientName) == (["OT", "SEG", "SR"], 3, "Result^Of")
    patient = archive.find("QueryRetrieveLevel=PATIENT", "PatientID=R 1", "NumberOfPatientRelatedInstances", root="-P").found
    assert [one.NumberOfPatientRelatedInstances for one in patient] == [3]
    assert archive.move("QueryRetrieveLevel=PATIENT", "PatientID=R 1", root="-P").status == 0
    assert came(received()) == stored(archive, study) | {str(dcmread(path).SOPInstanceUID): data_set_bytes(path) for path in made}
    for draft in archive.spool.list("results"):
        archive.spool.delete(draft)


def owe(archive, study, paths):
    """Enter objects as a job of ours that ended leaves them."""
    job = Job(
        node_ae="RADNODE",
        study_instance_uid=study,
        revision=1,
        series_instance_uids=("1.2.3",),
        pipeline="ct_lungs",
        model_digest="0" * 64,
        input_sha256="0" * 64,
        queued_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    task = Work(id=job.id, kind="infer", job_id=job.id, job=job, destination=None, priority=100, attempt=1, dispatch=1, crashes=0)
    objects = []
    for path in paths:
        data_set = dcmread(path, stop_before_pixels=True)
        key = f"results/{job.id}/1/{data_set.Modality}-{data_set.SOPInstanceUID}.dcm"
        archive.spool.put_atomic(key, path.read_bytes()).settle()
        objects.append(
            StoredObject(
                kind=data_set.Modality,
                sop_class_uid=str(data_set.SOPClassUID),
                sop_instance_uid=str(data_set.SOPInstanceUID),
                series_instance_uid=str(data_set.SeriesInstanceUID),
                key=key,
                sha256=archive.spool.sha256(key),
            )
        )
    archive.ledger.write(lambda tx: outbox.owe(tx, task, objects, ["pacs", "other"], lambda _tx, _ticket: None))


class Slow:
    """A Storage SCP that takes its time, and remembers who had each instance sent."""

    def __init__(self, pause_s: float) -> None:
        self.port, self.originators, self._pause_s = free_port(), [], pause_s
        self._ae = AE("SLOW")
        self._ae.add_supported_context(SC, EXPLICIT)

    def __enter__(self):
        self._ae.start_server((HOST, self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._take)])
        return self

    def __exit__(self, *_):
        self._ae.shutdown()

    def _take(self, event):
        request = event.request
        self.originators.append((request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID))
        time.sleep(self._pause_s)
        return 0x0000


@pytest.fixture
def slow(archive_of, tmp_path):
    """An archive with one study of twenty, and a destination that takes a tenth of a second for each."""
    with Slow(0.1) as peer:
        peers = [{"name": "slow", "ae_title": "SLOW", "host": HOST, "port": peer.port}]
        with archive_of("slow", peers=peers) as running:
            running.hold(*(make_instance(tmp_path, StudyInstanceUID="1.2.1") for _ in range(20)))
            yield running, peer


def test_a_move_is_cancelled(slow):
    archive, peer = slow
    asking = archive.move(STUDY, "StudyInstanceUID=1.2.1", to="SLOW", options=("--cancel", "3"))
    assert asking.status == 0xFE00
    done = asking.count("Completed")
    assert 3 <= done < 20
    assert asking.count("Remaining") == 20 - done
    assert len(peer.originators) == done
    assert archive.events("retrieve.finished")[-1].detail["status"] == "0xFE00"


def test_the_destination_hears_who_had_it_sent(slow):
    archive, peer = slow
    archive.move(STUDY, "StudyInstanceUID=1.2.1", to="SLOW", options=("--cancel", "1"))
    assert set(peer.originators) == {("ASKER", 1)}


def test_a_move_stops_when_its_requester_goes(slow):
    archive, peer = slow
    association = archive.connect((MOVE, EXPLICIT))
    question = Dataset()
    question.QueryRetrieveLevel, question.StudyInstanceUID = "STUDY", "1.2.1"
    answers = association.send_c_move(question, "SLOW", MOVE)
    next(answers)
    association.abort()
    (row,) = archive.wait_for("retrieve.finished")
    assert row.detail["status"] is None
    assert row.detail["completed"] == len(peer.originators) < 20
    assert threading.active_count() < 30


def test_no_batch_has_more_pairs_than_an_association_has_contexts():
    files = [
        Outgoing(
            path=Path(f"{number}"),
            sop_class_uid=f"1.2.{number % 300}",
            sop_instance_uid=f"1.3.{number}",
            transfer_syntax_uid=JPEG2000Lossless,
        )
        for number in range(1000)
    ]
    found = list(batches(files))
    assert [len({file.sop_class_uid for file in batch}) for batch in found] == [128, 128, 44]
    assert sorted(file.sop_instance_uid for batch in found for file in batch) == sorted(file.sop_instance_uid for file in files)
    assert list(batches([])) == []


def test_more_pairs_than_fit_into_one_association_are_moved(archive, destination, received, tmp_path):
    study = generate_uid()
    paths = [make_instance(tmp_path, StudyInstanceUID=study, SOPClassUID=f"1.2.826.0.1.3680043.9.7433.1.{number}") for number in range(130)]
    archive.hold(*paths[:100])
    archive.hold(*paths[100:])
    before = destination.log.count("Association Received")
    asking = archive.move(STUDY, f"StudyInstanceUID={study}")
    assert (asking.status, asking.count("Completed")) == (0, 130)
    assert destination.log.count("Association Received") - before == 2
    assert came(received()) == stored(archive, study)


def test_the_study_root_selects_by_no_patient(archive, received, tmp_path):
    path = make_instance(tmp_path, PatientID="Q1")
    archive.hold(path)
    asking = archive.move(STUDY, f"StudyInstanceUID={dcmread(path).StudyInstanceUID}", "PatientID=Q2", "PatientName=Else")
    assert (asking.status, asking.count("Completed")) == (0, 1)


def stop_reading(event):
    """Have an association take nothing more from its socket, so that its kernel's buffers fill up."""
    event.assoc.dul._read_pdu_data = lambda: time.sleep(0.05)


def test_a_destination_that_stops_reading_holds_nothing_up(archive_of, tmp_path):
    port, ae = free_port(), AE("DEAF")
    ae.add_supported_context(SC, EXPLICIT)
    ae.start_server((HOST, port), block=False, evt_handlers=[(evt.EVT_ESTABLISHED, stop_reading)])
    with archive_of("deaf", peers=[{"name": "deaf", "ae_title": "DEAF", "host": HOST, "port": port}], answer_s=1.5) as archive:
        archive.hold(make_instance(tmp_path, StudyInstanceUID="1.2.1", EncapsulatedDocument=bytes(30_000_000)))
        asking = archive.move(STUDY, "StudyInstanceUID=1.2.1", to="DEAF")
        assert (asking.status, asking.count("Failed")) == (0xA702, 1)
    ae.shutdown()


def test_a_requester_that_stops_reading_is_dropped(archive_of, tmp_path):
    """It asks for more than all buffers hold, and reads none of it."""
    with archive_of("unread", idle_s=1.5) as archive:
        archive.hold(make_instance(tmp_path, StudyInstanceUID="1.2.1", EncapsulatedDocument=bytes(30_000_000)))
        contexts, roles = [build_context(GET, EXPLICIT), build_context(SC, EXPLICIT)], [build_role(SC, scp_role=True)]
        association = AE("ASKER").associate(HOST, archive.port, contexts=contexts, ae_title="RADNODE", ext_neg=roles)
        raw = association.dul.socket.socket
        association.dul._read_pdu_data = lambda: time.sleep(0.05)
        question = Dataset()
        question.QueryRetrieveLevel, question.StudyInstanceUID = "STUDY", "1.2.1"
        association.send_c_get(question, GET)
        (row,) = archive.wait_for("retrieve.finished")
        assert row.detail["completed"] == 0
        wait_until(lambda: not archive.listener.is_receiving(), seconds=10, sentence="its place is held")
        del association.dul._read_pdu_data
        association.abort()
        raw.close()


def test_a_move_that_takes_longer_than_the_idle_time_leaves_its_association_open(archive_of, tmp_path):
    with Slow(0.35) as peer:
        peers = [{"name": "slow", "ae_title": "SLOW", "host": HOST, "port": peer.port}]
        with archive_of("idle", peers=peers, idle_s=3.0) as archive:
            archive.hold(*(make_instance(tmp_path, StudyInstanceUID="1.2.1") for _ in range(10)))
            archive.hold(make_instance(tmp_path, StudyInstanceUID="1.2.2"))
            association = archive.connect((MOVE, EXPLICIT))
            for study, answers in (("1.2.1", [0xFF00] * 9 + [0]), ("1.2.2", [0])):
                question = Dataset()
                question.QueryRetrieveLevel, question.StudyInstanceUID = "STUDY", study
                assert [status.Status for status, _ in association.send_c_move(question, "SLOW", MOVE)] == answers
            association.release()
            assert archive.wait_for("association.released", 2)
