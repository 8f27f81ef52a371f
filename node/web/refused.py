"""A request that is answered an HTTP failure."""

from __future__ import annotations

from http import HTTPStatus


class Refused(Exception):
    """The request is given up; what was stored before stays.

    Attributes
    ----------
    status : HTTPStatus
        What it is answered (PS3.18 Table 10.5.3-1, RFC 9110 section 15).
    sentence : str
        For whoever reads the sender's log.
    """

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence
