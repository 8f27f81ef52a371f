"""Whatever arrives is read, or refused with a reason; nothing that a sender can send makes the reader break."""

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import data as packaged
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, MRImageStorage

from node.core.errors import CodedError, DoesNotMatch, NotUnderstood
from node.core.uids import is_valid_uid
from node.intake.header import file_meta
from tests.unit.intake.arrivals import INSTANCE, SERIES, STUDY, encode, header_of, make_data_set, sent, sent_from

# Odd data make pydicom warn; in the product those warnings are off (node/logs.py), because they quote values.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

SEEDS = [
    sent(encode(make_data_set())),
    sent(encode(make_data_set(), implicit=True), syntax=ImplicitVRLittleEndian),
    sent(encode(make_data_set(), little=False), syntax=ExplicitVRBigEndian),
    sent(zlib.compress(encode(make_data_set()), wbits=-15), syntax=DeflatedExplicitVRLittleEndian),
    *(
        sent_from(Path(str(get_testdata_file(name))))
        for name in ("rtplan.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "test-SR.dcm")
    ),
]


def outcome(found) -> str:
    """The code of the refusal, or "" when the arrival is taken; anything but a refusal goes through."""
    try:
        header = header_of(found)
    except CodedError as error:
        return error.full_code
    uids = (header.sop_class_uid, header.sop_instance_uid, header.series_instance_uid, header.study_instance_uid)
    assert all(is_valid_uid(uid) for uid in uids), "these become names of files and keys of rows"
    assert len(header.patient_id) <= 64
    return ""


def test_the_identity_is_read():
    header = header_of(sent(encode(make_data_set())))
    assert (header.sop_instance_uid, header.series_instance_uid, header.study_instance_uid) == (INSTANCE, SERIES, STUDY)
    assert (header.sop_class_uid, header.patient_id, header.modality) == (CTImageStorage, "P1", "CT")


def test_every_file_of_the_collection_is_taken_or_refused_with_a_reason(test_data):
    outcomes = {path: outcome(found) for path in sorted(test_data.rglob("*.dcm")) if (found := sent_from(path))}
    refused = {path.name: code for path, code in outcomes.items() if code}
    assert len(outcomes) > 390
    assert set(refused.values()) <= {"NOT_UNDERSTOOD.missing_identity", "NOT_UNDERSTOOD.malformed_uid"}
    assert len(refused) < 60, "most of the collection is ordinary"


def test_what_the_reader_says_is_what_pydicom_reads(test_data):
    for path in sorted((test_data / "transfer_syntaxes").rglob("*.dcm")):
        whole = dcmread(path)
        if "SeriesInstanceUID" in whole:
            header = header_of(sent_from(path))
            assert (header.study_instance_uid, header.series_instance_uid) == (whole.StudyInstanceUID, whole.SeriesInstanceUID)
            assert (header.patient_id, header.modality) == (str(whole.get("PatientID") or "").strip(), whole.Modality)


def test_every_packaged_file_is_taken_or_refused_with_a_reason():
    offered = [sent_from(path) for path in sorted((Path(packaged.__file__).parent / "test_files").rglob("*.dcm"))]
    outcomes = [outcome(found) for found in offered if found]
    assert len(outcomes) > 60
    assert "" in outcomes


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_uid_is_named(keyword, value):
    with pytest.raises(NotUnderstood, match="has no") as caught:
        header_of(sent(encode(make_data_set(**{keyword: value}))))
    assert caught.value.full_code == "NOT_UNDERSTOOD.missing_identity"
    assert caught.value.status == 0xC000


@pytest.mark.parametrize(
    "value", ["1.02.3", "1..2", ".1.2", "1.2.", "1.2.x", "../../etc/passwd", "1.2/3", "1" * 65, "1.2\\1.3", "-1.2", "1.2 .3"]
)
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_a_malformed_uid_is_refused(keyword, value):
    data_set = make_data_set(SpecificCharacterSet="ISO_IR 192")
    raw = encode(data_set).replace(_element(data_set, keyword), _with_value(data_set, keyword, value.encode()))
    instance = value if keyword == "SOPInstanceUID" else INSTANCE
    assert outcome(sent(raw, instance=instance)) in {"NOT_UNDERSTOOD.malformed_uid", "NOT_UNDERSTOOD.unreadable"}


def _element(data_set: Dataset, keyword: str) -> bytes:
    tag, value = data_set[keyword].tag, str(data_set[keyword].value).encode()
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", tag.group, tag.element, b"UI", len(value)) + value


def _with_value(data_set: Dataset, keyword: str, value: bytes) -> bytes:
    tag = data_set[keyword].tag
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", tag.group, tag.element, b"UI", len(value)) + value


def test_the_longest_uid_is_taken():
    longest = "1." + "2" * 62
    assert header_of(sent(encode(make_data_set(StudyInstanceUID=longest)))).study_instance_uid == longest


@pytest.mark.parametrize("padding", [b"\0", b" ", b"\0\0", b"  "])
def test_padding_is_not_part_of_a_uid(padding):
    data_set = make_data_set()
    raw = encode(data_set).replace(
        _element(data_set, "StudyInstanceUID"), _with_value(data_set, "StudyInstanceUID", STUDY.encode() + padding)
    )
    assert header_of(sent(raw)).study_instance_uid == STUDY


@pytest.mark.parametrize(
    "claim", [{"instance": INSTANCE + ".1"}, {"sop_class": MRImageStorage}, {"instance": INSTANCE + ".1", "sop_class": MRImageStorage}]
)
def test_a_command_that_contradicts_its_data_set_is_refused(claim):
    with pytest.raises(DoesNotMatch) as caught:
        header_of(sent(encode(make_data_set()), **claim))
    assert caught.value.status == 0xA900


@pytest.mark.parametrize(("keyword", "value"), [("PatientID", "9" * 65), ("Modality", "C" * 17)])
@pytest.mark.filterwarnings("ignore:.*exceeds the maximum length:UserWarning")
def test_values_that_no_row_could_hold_are_refused(keyword, value):
    assert outcome(sent(encode(make_data_set(**{keyword: value})))) == "NOT_UNDERSTOOD.too_long"


def test_patient_and_modality_may_be_absent():
    header = header_of(sent(encode(make_data_set(PatientID=None, Modality=None))))
    assert (header.patient_id, header.modality) == ("", "")


def test_no_refusal_quotes_the_patient():
    whole = encode(make_data_set())
    cut = [refusal_of(sent(whole[:length])) for length in range(whole.index(SERIES.encode()))]
    assert all(sentence and "Example" not in sentence and "P1" not in sentence for sentence in cut)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.arrival.transfer_syntax_uid)
def test_no_place_to_be_cut_short_breaks_the_reader(seed):
    claim = {"sop_class": seed.arrival.sop_class_uid, "instance": seed.arrival.sop_instance_uid}
    lengths = range(min(len(seed.data_set), 600))
    outcomes = {outcome(sent(seed.data_set[:length], syntax=seed.arrival.transfer_syntax_uid, **claim)) for length in lengths}
    assert "NOT_UNDERSTOOD.missing_identity" in outcomes or outcomes == {"NOT_UNDERSTOOD.unreadable"}


def refusal_of(found) -> str:
    with pytest.raises(NotUnderstood) as caught:
        header_of(found)
    return caught.value.sentence


def test_an_empty_data_set_is_refused():
    assert outcome(sent(b"")) == "NOT_UNDERSTOOD.missing_identity"


def test_another_transfer_syntax_than_negotiated_is_refused():
    explicit = encode(make_data_set())
    assert outcome(sent(explicit, syntax=ExplicitVRBigEndian))
    assert outcome(sent(explicit, syntax=DeflatedExplicitVRLittleEndian)) == "NOT_UNDERSTOOD.unreadable"


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"])
def test_a_deflated_data_set_is_read_and_one_that_is_cut_short_refused(syntax):
    packed = zlib.compress(encode(make_data_set(PixelData=bytes(10_000))), wbits=-15)
    assert header_of(sent(packed, syntax=syntax)).patient_id == "P1"
    assert outcome(sent(packed[:-4], syntax=syntax)) == "NOT_UNDERSTOOD.unreadable"


def test_endless_nesting_is_refused():
    """A thousand sequences in each other must not exhaust the stack."""
    opened = struct.pack("<HH2sHI", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closed = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    study = _element(make_data_set(), "StudyInstanceUID")
    head, tail = encode(make_data_set(Modality=None)).split(study)
    assert outcome(sent(head + opened * 3000 + closed * 3000 + study + tail)) == "NOT_UNDERSTOOD.unreadable"


def test_a_deflated_bomb_does_not_fill_the_memory():
    """A megabyte on the wire that is a gigabyte behind it."""
    import resource

    deflate = zlib.compressobj(9, wbits=-15)
    bomb = deflate.compress(encode(make_data_set(PixelData=None)) + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 1 << 30))
    bomb += b"".join(deflate.compress(bytes(1 << 24)) for _ in range(64)) + deflate.flush()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome(sent(bomb, syntax=DeflatedExplicitVRLittleEndian)) == ""
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300_000, "kilobytes"


def test_the_file_meta_information_names_the_negotiated_syntax(tmp_path):
    seed = SEEDS[1]
    path = tmp_path / "instance.dcm"
    path.write_bytes(file_meta(seed.arrival) + seed.data_set)
    read = dcmread(path)
    assert read.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert (read.file_meta.MediaStorageSOPInstanceUID, read.StudyInstanceUID) == (INSTANCE, STUDY)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.sampled_from(SEEDS), data=st.data())
def test_no_mutation_breaks_the_reader(seed, data):
    content = bytearray(seed.data_set[:4000])
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        patch = data.draw(st.binary(min_size=0, max_size=8))
        content[at : at + data.draw(st.integers(0, 8))] = patch
    cut = data.draw(st.integers(0, len(content)))
    content = content[:cut] if data.draw(st.booleans()) else content
    outcome(
        sent(
            bytes(content),
            syntax=seed.arrival.transfer_syntax_uid,
            sop_class=seed.arrival.sop_class_uid,
            instance=seed.arrival.sop_instance_uid,
        )
    )


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=300), syntax=st.sampled_from([seed.arrival.transfer_syntax_uid for seed in SEEDS]))
def test_no_garbage_breaks_the_reader(content, syntax):
    assert outcome(sent(content, syntax=syntax)) != "", "garbage has no identity"


IDENTITY_TAGS = [
    (0x0008, 0x0005),
    (0x0008, 0x0016),
    (0x0008, 0x0018),
    (0x0008, 0x0060),
    (0x0010, 0x0020),
    (0x0020, 0x000D),
    (0x0020, 0x000E),
]


@settings(max_examples=300, deadline=None)
@given(
    tag=st.sampled_from(IDENTITY_TAGS),
    vr=st.sampled_from([b"UI", b"LO", b"CS", b"DS", b"IS", b"US", b"FD", b"AT", b"PN", b"DA", b"XX"]),
    value=st.binary(max_size=70),
)
def test_no_value_of_an_identity_breaks_the_reader(tag, vr, value):
    data_set = make_data_set()
    data_set.pop(tag, None)
    below, above = data_set[: tag[0] << 16 | tag[1]], data_set[tag[0] << 16 | tag[1] :]
    outcome(sent(encode(below) + struct.pack("<HH2sH", *tag, vr, len(value)) + value + encode(above)))


def test_a_sequence_where_a_uid_belongs_is_refused():
    data_set = make_data_set(StudyInstanceUID=None)
    item = Dataset()
    item.CodeMeaning = "x"
    data_set.add_new("StudyInstanceUID", "SQ", Sequence([item]))
    assert outcome(sent(encode(data_set))).startswith("NOT_UNDERSTOOD")
