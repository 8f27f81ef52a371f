"""A multipart body, cut into its parts as it comes (RFC 2046 section 5.1); nothing of it is kept."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from node.web.refused import Refused

#: RFC 2046 allows 70 characters; Orthanc's are 73 long.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,199}[0-9A-Za-z'()+_,./:=?-]")
_MOST_HEADERS = 16
_LONGEST_HEADER = 4096
_LONGEST_PREAMBLE = 1 << 16


class Taker(Protocol):
    """Who takes the parts."""

    def begin_part(self, headers: dict[str, str]) -> None:
        """A part begins; the names of its headers are in lower case."""

    def take(self, fragment: memoryview) -> None:
        """The next bytes of the part."""

    def end_part(self) -> None:
        """The part is whole."""


class Parts:
    """Cuts one body.

    Parameters
    ----------
    boundary : str
        As the Content-Type says.

    Raises
    ------
    Refused
        Here and in ``write`` and ``finish``: if the body is not what RFC 2046 allows, or ends before its closing boundary.
    """

    def __init__(self, boundary: str, taker: Taker) -> None:
        if _BOUNDARY.fullmatch(boundary) is None:
            raise Refused(HTTPStatus.BAD_REQUEST, "The Content-Type has no boundary as RFC 2046 has it.")
        self._taker = taker
        self._name, self._value = bytearray(), bytearray()
        self._headers: dict[str, str] = {}
        self._begun, self._ended, self._preamble = 0, False, 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_begin,
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
            max_header_count=_MOST_HEADERS,
            max_header_size=_LONGEST_HEADER,
        )
        # The parser knows no preamble. What stands before the first boundary becomes a part of its own, which nobody takes.
        self._parser.write(f"--{boundary}\r\n\r\n\r\n".encode("ascii"))

    @property
    def count(self) -> int:
        """How many parts have begun."""
        return self._begun - 1

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "The body is no multipart message by RFC 2046.") from error

    def finish(self) -> None:
        """The body has ended."""
        if not self._ended:
            raise Refused(HTTPStatus.BAD_REQUEST, "The body ends before its closing boundary.")
        if not self.count:
            raise Refused(HTTPStatus.BAD_REQUEST, "The body has no part.")

    def _on_begin(self) -> None:
        self._begun += 1
        self._headers = {}

    def _on_header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1").strip()
        self._name, self._value = bytearray(), bytearray()

    def _on_headers(self) -> None:
        if self.count:
            self._taker.begin_part(self._headers)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self.count:
            self._taker.take(memoryview(data)[start:end])
            return
        self._preamble += end - start
        if self._preamble > _LONGEST_PREAMBLE:
            raise Refused(HTTPStatus.BAD_REQUEST, "The body does not begin with its boundary.")

    def _on_part_end(self) -> None:
        if self.count:
            self._taker.end_part()

    def _on_end(self) -> None:
        self._ended = True
