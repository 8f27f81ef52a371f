"""Where a file ends to speak of itself: for every file that there is, however it is cut, and for what is no file."""

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom import data as packaged
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filewriter import write_file_meta_info
from pynetdicom.dsutils import split_dataset

from node.core.part10 import FileMeta, NoFileMeta, find_data_set, read_file_meta

# Odd data make pydicom warn; in the product those warnings are off (node/logs.py), because they quote values.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def split(content):
    """What an arriving file is taken for: its meta and the offset, or nothing."""
    try:
        offset = find_data_set(content)
    except NoFileMeta:
        return None
    return None if offset is None else (read_file_meta(content[:offset]), offset)


def front(*, group_length=True):
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = "1.2.3", "1.2.4", "1.2.840.10008.1.2.1"
    buffer = BytesIO()
    write_file_meta_info(buffer, meta, enforce_standard=group_length)
    return bytes(128) + b"DICM" + buffer.getvalue()


DATA_SET = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"


def test_pydicom_finds_the_same_in_every_file(test_data):
    found = 0
    for path in [*test_data.rglob("*.dcm"), *(Path(packaged.__file__).parent / "test_files").glob("*.dcm")]:
        try:
            meta, offset = split_dataset(path)
        except InvalidDicomError:
            continue
        got = split(path.read_bytes())
        if not meta or got is None:
            assert not meta
            assert got is None
            continue
        names = ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
        uids = [str(meta.get(name) or "") for name in names]
        assert got == (FileMeta(sop_class_uid=uids[0], sop_instance_uid=uids[1], transfer_syntax_uid=uids[2]), offset), path.name
        found += 1
    assert found > 450


@pytest.mark.parametrize("group_length", [True, False])
def test_it_is_found_as_soon_as_it_is_there_and_not_before(group_length):
    meta = front(group_length=group_length)
    whole = meta + DATA_SET
    needed = len(meta) + 8
    offsets = [find_data_set(whole[:count]) for count in range(len(whole) + 1)]
    assert offsets == [None] * needed + [len(meta)] * (len(whole) + 1 - needed)
    assert read_file_meta(whole[: len(meta)]) == FileMeta(
        sop_class_uid="1.2.3", sop_instance_uid="1.2.4", transfer_syntax_uid="1.2.840.10008.1.2.1"
    )


@pytest.mark.parametrize(
    "content",
    [
        bytes(200),
        b"<html>" * 100,
        bytes(128) + b"DICM" + DATA_SET,
        bytes(128) + b"DICM" + b"\x02\x00\x10\x00\x14\x00\x00\x001.2.840.10008.1.2.1\0",
        bytes(128) + b"DICM" + b"\x02\x00\x02\x01OB\x00\x00\xff\xff\xff\xff" + bytes(1 << 17),
    ],
)
def test_what_is_no_file_is_said_to_be_none(content):
    with pytest.raises(NoFileMeta):
        find_data_set(content)


@given(st.binary(max_size=300), st.booleans())
@example(b"\x02\x00\x00\x00UL\x04\x00\x01\x00\x00\x00" + bytes(8), True)
@example(b"\x02\x00\x02\x01OB\x00\x00\xff\xff\xff\xff", True)
def test_nothing_that_comes_breaks_it(content, is_file):
    whole = bytes(128) + b"DICM" + content if is_file else content
    found = split(whole)
    assert found is None or 132 <= found[1] <= len(whole)
