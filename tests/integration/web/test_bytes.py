"""What lies in the spool is what was sent, byte for byte, in every transfer syntax; and each part is answered for itself."""

from pathlib import Path

import pytest
from pydicom import data as packaged
from pydicom import dcmread
from pydicom.data import get_testdata_file

from node.core.part10 import find_data_set
from node.dimse import scu
from tests.integration.dimse.station import data_set_bytes, write_file
from tests.peers import HOST
from tests.stow import body_of, distinct, post, store
from tests.unit.intake.arrivals import make_data_set

# Odd data make pydicom warn; in the product those warnings are off (node/logs.py), because they quote values.
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning:pydicom"), pytest.mark.filterwarnings("ignore::UserWarning:pynetdicom")]

CT, MR = (Path(str(get_testdata_file(name))) for name in ("CT_small.dcm", "MR_small.dcm"))


def once_each(paths):
    """Of files with the same SOP Instance UID the first."""
    chosen = {}
    for path in paths:
        file = scu.read_outgoing(path)
        if file is not None:
            chosen.setdefault(file.sop_instance_uid, path)
    return chosen


def test_a_study_is_stored_and_each_instance_is_in_the_answer(station):
    reply = store(station.web_port, CT, MR)
    assert reply.status == 200
    assert sorted(reply.stored) == sorted(str(dcmread(path).SOPInstanceUID) for path in (CT, MR))
    assert all(item["00081190"] == {"vr": "UR"} for item in reply.items("00081199")), "nothing can be retrieved here"
    assert station.names("association") == ["association.accepted", "association.released"]
    accepted, released = station.events("association")
    assert accepted.detail == {"calling_ae": "STOW-RS", "called_ae": "RADNODE", "address": HOST}
    assert released.detail["instances"] == 2


def test_every_transfer_syntax_is_kept_byte_for_byte(station, test_data):
    sent, syntaxes = distinct((test_data / "transfer_syntaxes").rglob("*.dcm")), set()
    reply = post(station.web_port, body_of(sent.values()))
    held = station.held()
    assert set(held) == set(reply.stored)
    for uid in reply.stored:
        instance = held[uid]
        lies = station.spool.path(instance.key).read_bytes()
        assert lies[-instance.size :] == sent[uid][-instance.size :]
        assert instance.size == len(sent[uid]) - find_data_set(sent[uid])
        syntaxes.add(instance.transfer_syntax_uid)
    assert len(syntaxes) > 15
    assert set(reply.failed.values()) <= {0xC000}, "some have no identity"
    assert len(reply.failed) < len(sent) / 5


def test_both_doors_answer_the_same_of_odd_files_too(station_of, test_data):
    """The status of the C-STORE is the Failure Reason. STOW-RS believes the File Meta, so only files that do agree."""
    paths = [path for folder in ("odd", "multi_study_tiny", "seg_sr_reference") for path in (test_data / folder).rglob("*.dcm")]
    paths += (Path(packaged.__file__).parent / "test_files").glob("*.dcm")
    agreeing = sorted((uid, path) for uid, path in once_each(sorted(paths)).items() if agrees(path))
    chosen = dict(agreeing[::3])  # a refusal waits for its audit row, twice here
    with station_of("http") as http, station_of("dimse") as dimse:
        reply = store(http.web_port, *chosen.values())
        statuses = dict.fromkeys(reply.stored, 0) | reply.failed
        answers = {}
        files = list(chosen.values())
        for start in range(0, len(files), 40):  # no more presentation contexts than one association has
            answers |= dimse.send(*files[start : start + 40])
        assert statuses == {uid: answer.dimse_status for uid, answer in answers.items()}
        assert reply.status == 202
        assert len(reply.stored) > 20
        assert len(set(statuses.values())) > 1
        assert http.held() == dimse.held(), "identity, digest and key"
        http.check()


def agrees(path):
    found = dcmread(path, stop_before_pixels=True, force=True)
    return all(found.file_meta.get(f"MediaStorage{name}") == found.get(name) for name in ("SOPClassUID", "SOPInstanceUID"))


def test_chunks_of_any_size_change_nothing(station_of):
    """The boundary, the File Meta Information and the data set are cut anywhere."""
    body = body_of([CT.read_bytes(), MR.read_bytes()])
    for size in (1 << 20, 4099, 977):
        with station_of(f"{size}") as station:
            reply = post(station.web_port, (body[at : at + size] for at in range(0, len(body), size)))
            assert reply.status == 200
            held = station.held()
            for path in (CT, MR):
                assert station.bytes_of(held[str(dcmread(path).SOPInstanceUID)]) == data_set_bytes(path)
            station.check()


def test_the_same_bytes_by_either_door_are_one_instance(station):
    assert [answer.dimse_status for answer in station.send(CT).values()] == [0]
    assert store(station.web_port, CT).status == 200
    assert store(station.web_port, CT).status == 200
    assert len(station.held()) == 1
    assert station.names("instance") == ["instance.received", "instance.duplicate", "instance.duplicate"]


def test_other_bytes_under_a_uid_that_is_held_are_refused_and_kept_as_evidence(station, tmp_path):
    one, other = (write_file(tmp_path, name, make_data_set(PatientID=name)) for name in ("a", "b"))
    assert store(station.web_port, one).status == 200
    reply = store(station.web_port, other)
    assert reply.status == 409
    assert list(reply.failed.values()) == [0xC001]
    [conflict] = station.events("instance.conflict")
    assert data_set_bytes(station.spool.path(conflict.detail["key"])) == data_set_bytes(other)


def test_what_is_refused_is_named_beside_what_is_stored(station, tmp_path):
    nowhere = write_file(tmp_path, "nowhere", make_data_set(StudyInstanceUID=None))
    another = write_file(tmp_path, "another", make_data_set(), instance="1.2.3")
    reply = post(station.web_port, body_of([CT.read_bytes(), nowhere.read_bytes(), b"no DICOM", another.read_bytes()]))
    assert reply.status == 202
    assert reply.stored == [str(dcmread(CT).SOPInstanceUID)]
    assert reply.failed == {str(dcmread(nowhere).SOPInstanceUID): 0xC000, "1.2.3": 0xA900}
    assert reply.nameless == [0xC000]
    codes = sorted(str(row.code) for row in station.events("instance.refused"))
    assert codes == ["DOES_NOT_MATCH.command", "NOT_UNDERSTOOD.missing_identity", "NOT_UNDERSTOOD.no_file_meta"]


def test_an_instance_of_another_study_than_the_path_says_is_not_kept(station):
    study = str(dcmread(CT).StudyInstanceUID)
    reply = store(station.web_port, CT, MR, path=f"/studies/{study}")
    assert reply.status == 202
    assert reply.stored == [str(dcmread(CT).SOPInstanceUID)]
    assert reply.failed == {str(dcmread(MR).SOPInstanceUID): 0xA900}
    assert [row.code for row in station.events("instance.refused")] == ["DOES_NOT_MATCH.study"]
    assert list(station.held()) == reply.stored
    only = store(station.web_port, MR, path=f"/studies/{study}")
    assert (only.status, only.stored) == (409, [])


@pytest.mark.parametrize("syntax", ["", "1.2.840.10008.1.2.1\0 .x", "x" * 300, "\u00e4" * 70])
def test_a_file_with_a_transfer_syntax_that_is_none_is_refused(station, tmp_path, syntax):
    content = write_file(tmp_path, "odd", make_data_set()).read_bytes()
    value = syntax.encode("latin-1") + b"\0" * (len(syntax) % 2)
    place = content.index(b"\x02\x00\x10\x00UI")
    end = place + 8 + content[place + 6]
    odd = content[: place + 6] + len(value).to_bytes(2, "little") + value + content[end:]
    reply = post(station.web_port, body_of([odd]))
    assert reply.status == 409
    assert list(reply.failed.values()) == [0xC000]
    assert [row.code for row in station.events("instance.refused")] == ["NOT_UNDERSTOOD.no_file_meta"]
