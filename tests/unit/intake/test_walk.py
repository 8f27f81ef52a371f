"""What is read in place is what pydicom reads; what is not plain is left to pydicom, and nothing breaks the walk."""

import struct
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import data as packaged
from pydicom import dcmread
from pydicom.dataset import RawDataElement
from pydicom.uid import UID_dictionary

from node.core.errors import CodedError
from node.intake.header import read_by_pydicom, read_header
from node.intake.walk import find_elements
from node.spool.incoming import HEAD
from tests.unit.intake.arrivals import INSTANCE, SERIES, STUDY, Sent, encode, make_data_set, sent, sent_from

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

WANTED = (0x00080016, 0x00080018, 0x00080060, 0x00100020, 0x0020000D, 0x0020000E)
UIDS = {0x00080016, 0x00080018, 0x0020000D, 0x0020000E}
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT")
CT = "1.2.840.10008.5.1.4.1.1.2"


def raw_values(path: Path) -> dict[int, bytes]:
    """The bytes of the wanted elements as pydicom cuts them out of the file."""
    data_set = dcmread(path, stop_before_pixels=True, force=True)
    items = {tag: data_set.get_item(tag) for tag in WANTED if tag in data_set}
    return {tag: (item.value or b"") if isinstance(item, RawDataElement) else b"" for tag, item in items.items()}


def agrees(path: Path, found: Sent) -> bool:
    """Whether the walk read the file; what it read must be what pydicom reads.

    Where a UID was not found pydicom is asked: an ultrasound of the collection has them behind what they belong before.
    """
    walked = find_elements(found.data_set[:HEAD], found.arrival.transfer_syntax_uid, WANTED)
    if walked is None or not walked.keys() >= UIDS:
        return False
    assert walked == raw_values(path), path.name
    return True


def test_every_file_of_the_collection_is_read_as_pydicom_reads_it(test_data):
    offered = {path: found for path in sorted(test_data.rglob("*.dcm")) if (found := sent_from(path))}
    walked = {path: agrees(path, found) for path, found in offered.items()}
    assert len(walked) > 390
    assert sum(walked.values()) > 0.9 * len(walked), "nearly all of what is sent is plain"
    syntaxes = {offered[path].arrival.transfer_syntax_uid for path, plain in walked.items() if plain}
    assert len(syntaxes) >= 10


def test_every_packaged_file_is_read_as_pydicom_reads_it():
    paths = sorted((Path(packaged.__file__).parent / "test_files").rglob("*.dcm"))
    walked = [agrees(path, found) for path in paths if (found := sent_from(path))]
    assert len(walked) > 60
    assert sum(walked) > 40


@pytest.mark.parametrize("syntax", sorted(uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"))
def test_in_every_transfer_syntax_the_same_is_read_or_nothing(syntax):
    """Whatever the pixels are packed in, the header is explicit little endian; the few others are left to pydicom."""
    content = encode(make_data_set(), implicit=syntax == IMPLICIT)
    walked = find_elements(content, syntax, WANTED)
    if walked is None:
        name = UID_dictionary[syntax][0]
        assert any(word in name for word in ("Deflate", "Big Endian", "JPIP", "Encapsulated Uncompressed", "XML", "RFC", "Papyrus")), name
    else:
        assert walked[0x0020000D].rstrip(b"\0") == STUDY.encode()


@pytest.mark.parametrize("tag", WANTED)
def test_an_identity_that_stands_out_of_order_is_found_nevertheless(tag):
    whole = make_data_set(Rows=1, PixelData=None)
    content = encode(whole[:tag]) + encode(whole[tag + 1 :]) + encode(whole[tag : tag + 1])
    assert said(sent(content), content) == said(sent(encode(whole)), b"")


def test_a_beginning_that_ends_too_early_is_not_guessed_at():
    content = encode(make_data_set(Rows=1))
    whole = find_elements(content, EXPLICIT, WANTED)
    for length in range(len(content)):
        assert find_elements(content[:length], EXPLICIT, WANTED) in (None, whole)


def element(tag: int, vr: bytes, value: bytes, *, implicit: bool) -> bytes:
    where = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return where + struct.pack("<I", len(value)) + value
    return where + struct.pack("<2sHI" if vr in LONG else "<2sH", vr, *([0] if vr in LONG else []), len(value)) + value


def item(tag: int, length: int) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, length)


@st.composite
def sequences(draw, *, implicit: bool, depth: int = 0) -> bytes:
    """A sequence with items of known and of undefined length, in each other."""
    contents = []
    for _ in range(draw(st.integers(0, 3))):
        inside = element(0x00080100, b"SH", b"T-D1 ", implicit=implicit) + element(0x0020000D, b"UI", b"6.6.6\0", implicit=implicit)
        if depth < 3 and draw(st.booleans()):
            inside += draw(sequences(implicit=implicit, depth=depth + 1))
        undefined = draw(st.booleans())
        contents.append(item(0xFFFEE000, 0xFFFFFFFF if undefined else len(inside)) + inside + (item(0xFFFEE00D, 0) if undefined else b""))
    body = b"".join(contents)
    tag = draw(st.sampled_from([0x00081115, 0x00082112, 0x00091001])) if depth == 0 else 0x00400275
    if draw(st.booleans()):
        return element(tag, b"SQ", body, implicit=implicit)
    vr = b"" if implicit else b"SQ\0\0"
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr + struct.pack("<I", 0xFFFFFFFF) + body + item(0xFFFEE0DD, 0)


VALUES = {
    0x00080005: (b"CS", st.sampled_from([b"ISO_IR 100", b"ISO_IR 192", b"GB18030 ", b"ISO_IR 13 ", b"\\ISO 2022 IR 87"])),
    0x00080016: (b"UI", st.just(CT.encode() + b"\0")),
    0x00080018: (b"UI", st.just(INSTANCE.encode())),
    0x00080060: (b"CS", st.sampled_from([b"CT", b"MR", b"", b"CT\\MR ", b" CT ", b"\0\0"])),
    0x00080080: (b"LO", st.binary(max_size=20)),
    0x00090010: (b"LO", st.just(b"PRIVATE ")),
    0x00100010: (b"PN", st.just(b"Example^Name")),
    0x00100020: (b"LO", st.one_of(st.binary(max_size=16), st.text("P1 \0~^_", max_size=16).map(str.encode))),
    0x0020000D: (b"UI", st.sampled_from([STUDY.encode() + tail for tail in (b"", b"\0", b" ", b"\0\0", b" \0", b"  \0")])),
    0x0020000E: (b"UI", st.just(SERIES.encode())),
    0x00280010: (b"US", st.just(b"\0\2")),
}


@st.composite
def data_sets(draw) -> Sent:
    """A data set as odd as they come: elements missing, repeated or out of order, nested sequences, bytes changed, cut short."""
    implicit = draw(st.booleans())
    left_out = draw(st.sets(st.sampled_from(list(VALUES)), max_size=2))
    vrs = st.sampled_from([b"UI", b"LO", b"US", b"UN", b"OB", b"SQ", b"XX"])
    elements = []
    for tag, (vr, value) in VALUES.items():
        if tag not in left_out:
            odd = not draw(st.integers(0, 19))
            elements.append(element(tag, draw(vrs) if odd else vr, draw(value), implicit=implicit))
        if tag in (0x00080060, 0x00080080, 0x00090010) and draw(st.booleans()):
            elements.append(draw(sequences(implicit=implicit)))
    if draw(st.integers(0, 3)) == 0:
        at, to = draw(st.integers(0, len(elements) - 1)), draw(st.integers(0, len(elements) - 1))
        elements.insert(to, elements.pop(at))
    content = bytearray(b"".join(elements))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(content) - 1))
        content[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    if draw(st.integers(0, 4)) == 0:
        content = content[: draw(st.integers(0, len(content)))]
    return sent(bytes(content), syntax=IMPLICIT if implicit else EXPLICIT)


def said(found: Sent, head: bytes):
    try:
        if not head:
            return read_by_pydicom(found.arrival, found.arrival.transfer_syntax_uid, found.data_set)
        return read_header(found.arrival, head, lambda most: found.data_set[:most])
    except CodedError as refusal:
        return refusal.full_code


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(found=data_sets())
def test_whatever_is_sent_is_read_as_pydicom_reads_it(found):
    by_pydicom, by_us = said(found, b""), said(found, found.data_set)
    if by_pydicom != "NOT_UNDERSTOOD.unreadable":
        assert by_us == by_pydicom


@settings(max_examples=1000, deadline=None)
@given(content=st.binary(max_size=200), syntax=st.sampled_from([EXPLICIT, IMPLICIT, "1.2.840.10008.1.2.4.90"]))
def test_no_garbage_breaks_the_walk(content, syntax):
    find_elements(content, syntax, WANTED)


def test_explicit_elements_under_the_implicit_syntax_are_left_to_pydicom():
    """By the first element pydicom sees which it is; so must whoever reads the same bytes beside it."""
    empty = struct.pack("<HH2sH", 8, 5, b"CS", 0)  # taken for implicit, this claims 21315 bytes
    hidden = encode(make_data_set(StudyInstanceUID="6.6.6"), implicit=True)
    content = empty + encode(make_data_set(PixelData=None))
    content += bytes(8 + int.from_bytes(b"CS\0\0", "little") - len(content)) + hidden
    assert find_elements(content, IMPLICIT, WANTED) is None


@pytest.mark.parametrize("depth", [15, 30, 5000])
def test_deep_nesting_does_not_exhaust_the_stack(depth):
    opened = struct.pack("<HH2sHI", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF) + item(0xFFFEE000, 0xFFFFFFFF)
    closed = item(0xFFFEE00D, 0) + item(0xFFFEE0DD, 0)
    head, tail = (encode(part) for part in (make_data_set()[:0x00081000], make_data_set()[0x00081000:]))
    walked = find_elements(head + opened * depth + closed * depth + tail, EXPLICIT, WANTED)
    assert (walked is not None) == (depth < 20)
    assert walked is None or set(chain(walked)) == set(WANTED)
