"""Asking a remote AE how much a study holds: Query SCU, Study Root (PS3.4 Annex C).

The counts are attributes that a peer may leave out (PS3.4 Table C.6-5, PS3.3 C.3.4): whoever does is asked for its series, and at last
for the instances themselves.
"""

from __future__ import annotations

from ssl import SSLContext

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

from node.core.remote import RemoteAE
from node.core.study import StudyCount
from node.dimse.ask import Asking, asking
from node.dimse.associate import Caller


def count_study(caller: Caller, remote: RemoteAE, study_instance_uid: str, tls: SSLContext | None = None) -> StudyCount:
    """Ask ``remote`` how many instances and series of a study it holds; zero of one that it does not know.

    Raises
    ------
    PeerUnavailable
        If it cannot be reached, or does not answer.
    PeerRefused
        If it will not be asked.
    """
    with asking(caller, remote, tls) as peer:
        return _count(peer, study_instance_uid)


def _count(peer: Asking, study_instance_uid: str) -> StudyCount:
    wanted = {"StudyInstanceUID": study_instance_uid}
    counts = {"NumberOfStudyRelatedInstances": "", "NumberOfStudyRelatedSeries": ""}
    found = peer.find("STUDY", {**wanted, **counts})
    instances, series = (_largest(found, keyword) for keyword in counts)
    if not found or instances is not None:
        return StudyCount(instances=instances or 0, series=series)
    wanted_series = {**wanted, "SeriesInstanceUID": "", "NumberOfSeriesRelatedInstances": ""}
    each = {str(match.get("SeriesInstanceUID", "")): match for match in peer.find("SERIES", wanted_series)}
    counted = [_largest([match], "NumberOfSeriesRelatedInstances") for match in each.values()]
    known = [count for count in counted if count is not None]
    if len(known) == len(each):
        return StudyCount(instances=sum(known), series=len(each))
    named: set[str] = set()
    for uid in each:
        matches = peer.find("IMAGE", {**wanted, "SeriesInstanceUID": uid, "SOPInstanceUID": ""})
        named.update(str(match.get("SOPInstanceUID", "")) for match in matches)
    return StudyCount(instances=len(named), series=len(each))


def _largest(matches: list[Dataset], keyword: str) -> int | None:
    """The largest of the numbers that were returned; None when none was."""
    numbers = [_number(match, keyword) for match in matches]
    return max((number for number in numbers if number is not None), default=None)


def _number(match: Dataset, keyword: str) -> int | None:
    try:
        value = match.get(keyword)
        return int(value) if value not in (None, "") else None
    except (TypeError, ValueError, OverflowError, BytesLengthException):
        return None
