"""Asking a remote AE by C-FIND, Study Root (PS3.4 Annex C): one association, any number of questions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ssl import SSLContext

from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.status import code_to_category

from node.core.errors import PeerRefused, PeerUnavailable
from node.core.remote import RemoteAE
from node.dimse.associate import Caller, associate

_STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]
#: A study has fewer series and instances than this; a peer that goes on and on is not listened to for ever.
_MOST_MATCHES = 100_000


class Asking:
    """An association over which a remote AE is asked."""

    def __init__(self, association: Association, remote: RemoteAE) -> None:
        self._association, self._remote = association, remote

    def find(self, level: str, keys: dict[str, str]) -> list[Dataset]:
        """What matches ``keys`` at ``level``; whatever else a peer returns that takes no notice of them is passed over."""
        identifier = Dataset()
        identifier.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            setattr(identifier, keyword, value)
        unique = {keyword: value for keyword, value in keys.items() if value}
        return [match for match in self._matches(identifier) if all(match.get(key) == value for key, value in unique.items())]

    def _matches(self, identifier: Dataset) -> Iterator[Dataset]:
        name = self._remote.name
        for number, (status, match) in enumerate(self._association.send_c_find(identifier, _STUDY_ROOT_FIND)):
            if "Status" not in status:
                raise PeerUnavailable(f"{name} did not answer the C-FIND.", reason="no_answer")
            code = int(status.Status)
            category = code_to_category(code)
            if category == "Pending":
                if match is None or number >= _MOST_MATCHES:
                    self._association.abort()
                    raise PeerUnavailable(f"{name} answers the C-FIND with what cannot be read, or without end.", reason="matches")
                yield match
            elif category != "Success":
                refused = PeerUnavailable if 0xA700 <= code < 0xA800 else PeerRefused
                raise refused(f"{name} answered the C-FIND with 0x{code:04X}.", reason="find")


@contextmanager
def asking(caller: Caller, remote: RemoteAE, tls: SSLContext | None = None) -> Iterator[Asking]:
    """Open an association on which ``remote`` is asked, and release it at the end.

    Raises
    ------
    PeerUnavailable
        If it cannot be reached, or does not answer.
    PeerRefused
        If it will not be asked.
    """
    association = associate(caller, remote, [build_context(_STUDY_ROOT_FIND, _SYNTAXES)], tls)
    try:
        yield Asking(association, remote)
    except (RuntimeError, ValueError) as error:  # pynetdicom's words for an association that has ended, or for no such context
        raise PeerUnavailable(f"{remote.name} ended the association before it had answered.", reason="aborted") from error
    finally:
        if association.is_established:
            association.release()
