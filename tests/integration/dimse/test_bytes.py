"""What lies in the spool is what was sent, byte for byte, in every transfer syntax and whoever sends it."""

import hashlib
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydicom import data as packaged
from pydicom import dcmread
from pydicom.data import get_testdata_file

from node.dimse import scu
from tests.integration.dimse.station import data_set_bytes
from tests.peers import HOST, StoreScu, store_scu

pytestmark = [
    # Odd data make pydicom warn; in the product those warnings are off (node/logs.py), because they quote values.
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
    pytest.mark.filterwarnings("ignore::UserWarning:pynetdicom"),
]

#: What a file may be refused for, because it is as odd as its folder says.
ODD = {0xC000, 0xA900, 0xC001}


def once_each(paths):
    """Of files with the same SOP Instance UID the first: the others are another test."""
    chosen = {}
    for path in paths:
        file = scu.read_outgoing(path)
        if file is not None and file.sop_instance_uid not in chosen:
            chosen[file.sop_instance_uid] = path
    return list(chosen.values())


def sent_equals_held(station, paths, answers):
    held = station.held()
    for path in paths:
        uid = scu.read_outgoing(path).sop_instance_uid
        if answers[uid].event == "accept":
            assert station.bytes_of(held[uid]) == data_set_bytes(path), path.name
            assert held[uid].sha256 == hashlib.sha256(data_set_bytes(path)).hexdigest()


def send_together(station, batches):
    """Each batch by a storescu process of its own, all at the same time; the statuses that each heard."""
    with ExitStack() as stack:
        senders = [stack.enter_context(StoreScu(HOST, station.port, files, f"SENDER{n}")) for n, files in enumerate(batches)]
        return [sender.wait().statuses for sender in senders]


def test_every_transfer_syntax_is_kept_byte_for_byte(station, test_data):
    """One association for each file: nine of the files of one slice share its SOP Instance UID."""
    syntaxes = set()
    for path in sorted((test_data / "transfer_syntaxes").rglob("*.dcm")):
        file = scu.read_outgoing(path)
        (answer,) = station.send(path).values()
        held = station.held().get(file.sop_instance_uid)
        if answer.event == "accept":
            assert station.bytes_of(held) == data_set_bytes(path), path.name
            syntaxes.add(held.transfer_syntax_uid)
        elif answer.dimse_status == 0xC001:
            assert station.bytes_of(held) != data_set_bytes(path), path.name
        else:
            assert (answer.dimse_status, "SeriesInstanceUID" in dcmread(path)) == (0xC000, False), (path.name, answer)
    assert len(syntaxes) >= 12


def test_the_same_slice_is_kept_in_each_of_its_syntaxes(test_data, station_of):
    """The conflict of the shared SOP Instance UID is taken out of the way by a new node for each."""
    for path in sorted((test_data / "transfer_syntaxes" / "same_ct_slice").glob("*.dcm")):
        with station_of(path.stem) as station:
            (answer,) = station.send(path).values()
            assert answer.event == "accept", path.name
            (held,) = station.held().values()
            assert station.bytes_of(held) == data_set_bytes(path)
            assert held.transfer_syntax_uid == dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
            station.check()


def test_every_file_of_the_collection_is_kept_or_refused_with_a_reason_by_both_paths(station, station_of, test_data):
    """What pynetdicom receives and decodes itself is the measure for what goes past it."""
    paths = once_each(sorted(test_data.rglob("*.dcm")))
    with station_of("slow", fast=False) as slow:
        answers = {}
        for start in range(0, len(paths), 40):  # no more presentation contexts than one association has
            part = paths[start : start + 40]
            answers |= station.send(*part)
            assert slow.send(*part).items() <= answers.items()
        check_the_collection(station, paths, answers)
        fast, other = station.held(), slow.held()
        assert fast == other, "identity, digest and key"
        for uid, instance in fast.items():
            ours, theirs = station.spool.path(instance.key).read_bytes(), slow.spool.path(instance.key).read_bytes()
            assert without_association(ours) == without_association(theirs), uid
        slow.check()


def check_the_collection(station, paths, answers):
    assert set(answers) == {scu.read_outgoing(path).sop_instance_uid for path in paths}
    refused = {uid: answer.dimse_status for uid, answer in answers.items() if answer.event != "accept"}
    assert set(refused.values()) <= ODD
    assert len(paths) > 380
    assert len(refused) < 180, "many of the odd ones lack an identity"
    sent_equals_held(station, paths, answers)
    assert len(station.held()) == len(paths) - len(refused)
    assert len(station.events("instance.refused")) == len(refused)


def without_association(content):
    """A file without the one thing in its File Meta Information that differs from one association to the next."""
    place = content.index(b"\x02\x00\x02\x01OB")
    return content[:place] + content[place + 12 + 46 :]


def test_every_packaged_file_is_kept_or_refused_with_a_reason(station):
    paths = once_each(sorted((Path(packaged.__file__).parent / "test_files").glob("*.dcm")))
    answers = station.send(*paths)
    assert {answer.dimse_status for answer in answers.values()} <= {0, *ODD}
    assert sum(answer.event == "accept" for answer in answers.values()) > 30
    sent_equals_held(station, paths, answers)


def test_what_dcmtk_sends_is_kept_as_it_sent_it(station, store_scp, test_data):
    """DCMTK leaves group lengths and padding out, so what it sends is compared with what DCMTK's own receiver got."""
    files = once_each(sorted((test_data / "transfer_syntaxes").rglob("*.dcm")) + sorted((test_data / "seg_sr_reference").rglob("*.dcm")))
    to_us, to_dcmtk = store_scu(HOST, station.port, files), store_scu(HOST, store_scp.port, files)
    assert set(to_us.statuses) <= {0, 0xC000}
    received = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in store_scp.received()}
    held = station.held()
    assert set(held) == to_us.acknowledged
    assert len(held) > 40
    for uid in to_us.acknowledged & to_dcmtk.acknowledged:
        instance = held[uid]
        assert station.bytes_of(instance) == data_set_bytes(received[uid]), received[uid].name


def test_dcmtk_storescu_is_understood(station):
    files = [str(get_testdata_file(name)) for name in ("CT_small.dcm", "MR_small.dcm")]
    assert store_scu(HOST, station.port, files, program="storescu").statuses == [0, 0]


@pytest.mark.parametrize("size", [4096, 16384, 131072])
def test_small_pdus_change_nothing(station, test_data, size):
    paths = sorted((test_data / "ct_chest_lidc0001" / "ct").glob("*.dcm"))[:3]
    sending = store_scu(HOST, station.port, paths, "STORESCU", "RADNODE", "--max-send-pdu", str(size))
    assert sending.statuses == [0, 0, 0]
    for instance in station.held().values():
        assert any(dcmread(station.spool.path(instance.key)).PixelData == dcmread(path).PixelData for path in paths)


def test_eight_senders_of_the_same_files_leave_one_of_each(station, test_data):
    files = sorted((test_data / "ct_chest_lidc0001" / "ct").glob("*.dcm"))[:6]
    assert send_together(station, [files] * 8) == [[0] * 6] * 8
    assert len(station.held()) == 6
    assert len(station.events("instance.received")) == 6
    assert len(station.events("instance.duplicate")) == 42
    station.wait_for("association.released", 8)


def test_eight_senders_of_different_files_are_all_served(station, test_data):
    files = sorted((test_data / "ct_chest_lidc0001" / "ct").glob("*.dcm"))[:48]
    assert send_together(station, [files[number::8] for number in range(8)]) == [[0] * 6] * 8
    assert len(station.held()) == 48
    counts = [row.detail["instances"] for row in station.wait_for("association.released", 8)]
    assert counts == [6] * 8
    assert len(station.events("study.opened")) == 1


def test_two_senders_of_one_uid_with_other_bytes_leave_one_of_them_whole(station, test_data):
    """Sixteen times at the same moment: whoever comes first is kept, the other hears 0xC001."""
    first, second = (
        test_data / "transfer_syntaxes" / "same_ct_slice" / f"1.2.840.10008.1.2.4.{number}_ct_chest.dcm" for number in (80, 90)
    )
    assert scu.read_outgoing(first).sop_instance_uid == scu.read_outgoing(second).sop_instance_uid
    answers = []
    together = threading.Barrier(16)

    def send(path):
        together.wait()
        answers.extend(station.send(path).values())

    threads = [threading.Thread(target=send, args=(path,)) for path in [first, second] * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = [answer.dimse_status for answer in answers]
    assert sorted(statuses) == [0] * 8 + [0xC001] * 8
    (held,) = station.held().values()
    assert station.bytes_of(held) in (data_set_bytes(first), data_set_bytes(second))
