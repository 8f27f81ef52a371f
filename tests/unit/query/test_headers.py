"""Headers of real files: the same as pydicom reads them, whatever the transfer syntax, and never more than is asked for."""

import zlib
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.multival import MultiValue

from node.query.attributes import READ_TAGS
from node.query.headers import Headers, read_header

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def as_text(value):
    values = value if isinstance(value, MultiValue) else [value]
    return tuple("" if one is None else str(one).strip() for one in values)


@pytest.mark.parametrize("folder", ["transfer_syntaxes/same_ct_slice", "odd/charsets", "seg_sr_reference", "xr_us_mg_sc"])
def test_a_header_is_what_pydicom_reads_of_the_whole_file(test_data, folder):
    seen = 0
    for path in sorted((test_data / folder).rglob("*.dcm")):
        header = read_header(path)
        if not header:
            continue  # no File Meta Information, which every file of ours has
        data_set = dcmread(path)
        expected = {keyword: as_text(data_set.get(keyword)) for keyword in READ_TAGS.values() if data_set.get(keyword) not in (None, "")}
        assert header == expected, path.name
        seen += 1
    assert seen > 8


def test_of_a_deflated_data_set_no_more_is_unpacked_than_is_needed(test_data, tmp_path):
    path = test_data / "transfer_syntaxes" / "same_ct_slice" / "1.2.840.10008.1.2.1.99_ct_chest.dcm"
    content = path.read_bytes()
    offset = 144 + int.from_bytes(content[140:144], "little")
    plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[offset:])
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = deflater.compress(plain) + b"".join(deflater.compress(bytes(1 << 20)) for _ in range(200)) + deflater.flush()
    (tmp_path / "bomb.dcm").write_bytes(content[:offset] + bomb)
    assert read_header(tmp_path / "bomb.dcm") == read_header(path)


def test_a_file_that_cannot_be_read_says_nothing(tmp_path):
    (tmp_path / "cut.dcm").write_bytes(bytes(128) + b"DICM\x02\x00")
    assert read_header(tmp_path / "cut.dcm") == {}
    assert read_header(tmp_path / "none.dcm") == {}


def test_a_header_is_read_once_as_long_as_it_is_kept(test_data):
    asked = []
    first, second, third = sorted((test_data / "ct_chest_lidc0001" / "ct").iterdir())[:3]

    def path(key):
        asked.append(key)
        return Path(key)

    headers = Headers(path, most=2)
    for one in (first, second, first, third, first, second):
        assert headers.read(str(one))["PatientSex"] == ("",) if "PatientSex" in headers.read(str(one)) else True
    assert asked == [str(first), str(second), str(third), str(second)]
