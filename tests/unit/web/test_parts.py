"""A multipart body is cut where RFC 2046 says, however it comes; what is none is refused."""

from http import HTTPStatus
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.web.parts import Parts
from node.web.refused import Refused

BOUNDARY = "B-1"


class Kept:
    """Keeps what it takes."""

    def __init__(self):
        self.headers, self.contents, self.whole = [], [], 0

    def begin_part(self, headers):
        self.headers.append(headers)
        self.contents.append(b"")

    def take(self, fragment):
        self.contents[-1] += bytes(fragment)

    def end_part(self):
        self.whole += 1


def cut(body, *, pieces=()):
    """Cut a body that comes in pieces which end at these places."""
    kept = Kept()
    parts = Parts(BOUNDARY, kept)
    places = [0, *sorted(place for place in pieces if place < len(body)), len(body)]
    for start, end in pairwise(places):
        if start < end:
            parts.write(body[start:end])
    parts.finish()
    assert kept.whole == len(kept.contents) == parts.count
    return kept


def body_of(contents, *, preamble=b"", epilogue=b"\r\n", headers=b"Content-Type: application/dicom\r\n"):
    marker = b"\r\n--" + BOUNDARY.encode()
    return preamble + b"".join(marker + b"\r\n" + headers + b"\r\n" + content for content in contents) + marker + b"--" + epilogue


#: Bytes that look like the beginning of a boundary, again and again.
nasty = st.lists(st.sampled_from([b"\r", b"\n", b"-", b"\r\n--", b"\r\n--B", b"--B-", b"x", b"\0" * 9]), max_size=12).map(b"".join)


def is_free_of_the_boundary(content):
    return b"\r\n--B-1" not in b"\r\n" + content + b"\r\n--B-1"[:-1]


@given(st.lists(nasty.filter(is_free_of_the_boundary), min_size=1, max_size=4), st.lists(st.integers(0, 200), max_size=8), nasty, nasty)
def test_what_was_put_together_comes_apart_again(contents, pieces, before, behind):
    preamble = before if is_free_of_the_boundary(before) else b""
    assert cut(body_of(contents, preamble=preamble, epilogue=behind), pieces=pieces).contents == contents


@given(st.lists(nasty.filter(is_free_of_the_boundary), min_size=1, max_size=3))
def test_byte_by_byte(contents):
    body = body_of(contents)
    assert cut(body, pieces=range(len(body))).contents == contents


def test_the_first_boundary_may_be_the_first_thing():
    assert cut(body_of([b"one", b"two"])[2:]).contents == [b"one", b"two"]


def test_a_preamble_and_an_epilogue_are_passed_over():
    body = body_of([b"one"], preamble=b"This is a message with multiple parts in MIME format.", epilogue=b"\r\n--B-1\r\n\r\nnothing")
    assert cut(body).contents == [b"one"]


def test_headers_are_read_whatever_their_case_and_may_be_missing():
    assert cut(body_of([b""], headers=b"CONTENT-type:application/dicom ;x=1\r\nX-Y: \xe9\r\n")).headers == [
        {"content-type": "application/dicom ;x=1", "x-y": "é"}
    ]
    assert cut(body_of([b"one"], headers=b"")).headers == [{}]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no multipart at all",
        b"--B-1--\r\n",
        b"x" * (1 << 17) + b"\r\n--B-1\r\n\r\n\r\n--B-1--",
        b"--B-1\r\n\r\ncut off",
        b"--B-1\r\n\r\nits closing boundary is not one\r\n--B-1-\r\n",
        b"--B-1\n\nonly line feeds\n--B-1--\n",
        b"--B-1\r\nContent-Type application/dicom\r\n\r\n\r\n--B-1--",
        b"--B-1\r\nBad Name: x\r\n\r\n\r\n--B-1--",
        b"--B-1\r\n" + b"X: y\r\n" * 17 + b"\r\n\r\n--B-1--",
        b"--B-1\r\nX: " + b"y" * 5000 + b"\r\n\r\n\r\n--B-1--",
        b"--B-2\r\n\r\nanother boundary\r\n--B-2--",
    ],
)
def test_what_is_no_multipart_message_is_refused(body):
    for pieces in ((), range(0, len(body), len(body) >> 10 or 1)):
        with pytest.raises(Refused) as caught:
            cut(body, pieces=pieces)
        assert caught.value.status == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("boundary", ["", "a" * 201, "ends in a space ", "new\nline", "ä", '"'])
def test_a_boundary_that_is_none_is_refused(boundary):
    with pytest.raises(Refused):
        Parts(boundary, Kept())
