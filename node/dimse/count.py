"""Asking a remote AE how much a study holds: Query SCU, Study Root (PS3.4 Annex C).

The counts are attributes that a peer may leave out (PS3.4 Table C.6-5, PS3.3 C.3.4): whoever does is asked for its series, and at last
for the instances themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from ssl import SSLContext

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.status import code_to_category

from node.core.errors import PeerRefused, PeerUnavailable
from node.core.remote import RemoteAE
from node.core.study import StudyCount
from node.dimse.associate import Caller, associate

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]
#: A study has fewer series and instances than this; a peer that goes on and on is not listened to for ever.
_MOST_MATCHES = 100_000


def count_study(caller: Caller, remote: RemoteAE, study_instance_uid: str, tls: SSLContext | None = None) -> StudyCount:
    """Ask ``remote`` how many instances and series of a study it holds; zero of one that it does not know.

    Raises
    ------
    PeerUnavailable
        If it cannot be reached, or does not answer.
    PeerRefused
        If it will not be asked.
    """
    association = associate(caller, remote, [build_context(STUDY_ROOT_FIND, SYNTAXES)], tls)
    try:
        return _count(association, remote, study_instance_uid)
    except (RuntimeError, ValueError) as error:  # pynetdicom's words for an association that has ended, or for no such context
        raise PeerUnavailable(f"{remote.name} ended the association before it had answered.", reason="aborted") from error
    finally:
        if association.is_established:
            association.release()


def _count(association: Association, remote: RemoteAE, study_instance_uid: str) -> StudyCount:
    wanted = {"StudyInstanceUID": study_instance_uid}
    counts = {"NumberOfStudyRelatedInstances": "", "NumberOfStudyRelatedSeries": ""}
    found = find(association, remote, "STUDY", {**wanted, **counts})
    instances, series = (_largest(found, keyword) for keyword in counts)
    if not found or instances is not None:
        return StudyCount(instances=instances or 0, series=series)
    wanted_series = {**wanted, "SeriesInstanceUID": "", "NumberOfSeriesRelatedInstances": ""}
    each = {str(match.get("SeriesInstanceUID", "")): match for match in find(association, remote, "SERIES", wanted_series)}
    counted = [_largest([match], "NumberOfSeriesRelatedInstances") for match in each.values()]
    known = [count for count in counted if count is not None]
    if len(known) == len(each):
        return StudyCount(instances=sum(known), series=len(each))
    named: set[str] = set()
    for uid in each:
        matches = find(association, remote, "IMAGE", {**wanted, "SeriesInstanceUID": uid, "SOPInstanceUID": ""})
        named.update(str(match.get("SOPInstanceUID", "")) for match in matches)
    return StudyCount(instances=len(named), series=len(each))


def find(association: Association, remote: RemoteAE, level: str, keys: dict[str, str]) -> list[Dataset]:
    """What matches ``keys``; whatever else a peer returns that takes no notice of them is passed over."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    unique = {keyword: value for keyword, value in keys.items() if value}
    return [match for match in _matches(association, remote, identifier) if all(match.get(key) == value for key, value in unique.items())]


def _matches(association: Association, remote: RemoteAE, identifier: Dataset) -> Iterator[Dataset]:
    for number, (status, match) in enumerate(association.send_c_find(identifier, STUDY_ROOT_FIND)):
        if "Status" not in status:
            raise PeerUnavailable(f"{remote.name} did not answer the C-FIND.", reason="no_answer")
        code = int(status.Status)
        category = code_to_category(code)
        if category == "Pending":
            if match is None or number >= _MOST_MATCHES:
                association.abort()
                raise PeerUnavailable(f"{remote.name} answers the C-FIND with what cannot be read, or without end.", reason="matches")
            yield match
        elif category != "Success":
            refused = PeerUnavailable if 0xA700 <= code < 0xA800 else PeerRefused
            raise refused(f"{remote.name} answered the C-FIND with 0x{code:04X}.", reason="find")


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
