"""What the header of an instance says, as text: read once and kept, because a file of ours never changes."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import structlog
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_file_meta_info, read_partial
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from node.core.unreadable import UNREADABLE
from node.query.attributes import READ_TAGS

log = structlog.get_logger(__name__)

Header = Mapping[str, tuple[str, ...]]

#: About 3 kB each.
_MOST = 10_000
#: Nothing behind this is read; pixels and the content of reports are (PS3.5 section 7.1: elements are in the order of their tags).
_LAST = max(READ_TAGS)
#: Items and delimiters stand outside that order, and in damaged data sets outside sequences too.
_ITEMS = 0xFFFE0000
_WANTED: tuple[BaseTag | int, ...] = (0x00080005, *READ_TAGS)
#: Preamble, prefix and the File Meta Information Group Length element (PS3.10 section 7.1).
_BEHIND_GROUP_LENGTH = 144
#: Deflated syntaxes (PS3.5 Annex A.5, A.7, A.9), of which no more than this is unpacked, whatever they claim to hold.
_DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
_MOST_INFLATED = 1 << 22


class Headers:
    """The headers of instances, the latest of them in memory.

    Parameters
    ----------
    path : callable
        Where the bytes of a key of the spool lie.
    """

    def __init__(self, path: Callable[[str], Path], most: int = _MOST) -> None:
        self._path, self._most = path, most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Header] = OrderedDict()

    def read(self, key: str) -> Header:
        """The attributes of ``READ_TAGS`` that are there; none when the file cannot be read."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        header = read_header(self._path(key))
        if not header:
            return header  # a file that cannot be read now may be readable later
        with self._lock:
            self._kept[key] = header
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return header


def read_header(path: Path) -> Header:
    """Read the attributes of ``READ_TAGS`` from a file, as far as they can be read."""
    try:
        data_set = _read(path)
    except UNREADABLE as error:
        log.warning("header.unreadable", file=path.name, error=type(error).__name__)
        return {}
    found = {keyword: _values(data_set, keyword) for keyword in READ_TAGS.values() if keyword in data_set}
    return {keyword: values for keyword, values in found.items() if any(values)}


def _read(path: Path) -> Dataset:
    meta = read_file_meta_info(path)
    with path.open("rb") as file:
        if meta.get("TransferSyntaxUID") not in _DEFLATED:
            return read_partial(file, _is_behind, specific_tags=[*_WANTED])
        file.seek(_BEHIND_GROUP_LENGTH + int(meta.FileMetaInformationGroupLength))
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(_MOST_INFLATED), _MOST_INFLATED)
        return read_dataset(BytesIO(inflated), False, True, stop_when=_is_behind, specific_tags=[*_WANTED])


def _is_behind(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return _LAST < int(tag) < _ITEMS


def _values(data_set: Dataset, keyword: str) -> tuple[str, ...]:
    try:
        value = data_set.get(keyword)
    except UNREADABLE:
        return ()
    values = value if isinstance(value, MultiValue) else [value]
    return tuple("" if one is None else str(one).strip("\0 ") for one in values)
