"""Query SCP: C-FIND of the Patient Root and Study Root models (PS3.4 section C.4.1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing

import structlog
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_RELEASE

from node.core.errors import IdentifierUnreadable, QueryRefused
from node.core.query import Asked, Root
from node.core.unreadable import UNREADABLE
from node.dimse.visit import FindVisit, Handler

log = structlog.get_logger(__name__)

FIND: Mapping[str, Root] = {"1.2.840.10008.5.1.4.1.2.1.1": "PATIENT", "1.2.840.10008.5.1.4.1.2.2.1": "STUDY"}
#: What an identifier is encoded in.
SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")

_CANCELLED, _PENDING, _PENDING_WITHOUT_SOME_KEYS, _UNABLE = 0xFE00, 0xFF00, 0xFF01, 0xC000
#: So many PDUs may wait to be sent; pynetdicom would take any number, and so hold every match in memory.
_MOST_WAITING = 64


#: Matches as they are found: the identifier of each, and whether every key that was asked for is supported.
Found = Generator[tuple[Dataset, bool]]


class QueryService:
    """Answers C-FIND.

    Parameters
    ----------
    find : callable
        Called with (who asks, identifier); gives the matches, or raises QueryRefused before or between them.
    """

    def __init__(self, find: Callable[[Asked, Dataset], Found]) -> None:
        self._find = find

    def support(self, ae: AE) -> None:
        """Add the FIND classes of both models."""
        # pynetdicom would make a text of each identifier for its log, which we never keep: it takes time, and it names patients.
        _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
        for uid in FIND:
            ae.add_supported_context(uid, list(SYNTAXES))

    def handlers(self, visit_of: FindVisit) -> Sequence[Handler]:
        """C-FIND alone."""
        return [(evt.EVT_C_FIND, lambda event: self._answer(event, visit_of))]

    def _answer(self, event: evt.Event, visit_of: FindVisit) -> Iterator[tuple[Dataset | int, Dataset | None]]:
        visit = visit_of(event.assoc)
        if visit is None:
            return  # the connection broke behind the request: nobody is there to be answered
        root = FIND[str(event.context.abstract_syntax)]
        asked = Asked(association_id=visit.id, peer=visit.peer, service="C-FIND", root=root)
        try:
            with closing(self._find(asked, read_identifier(event))) as found:
                for identifier, is_supported in found:
                    if event.is_cancelled:
                        yield _CANCELLED, None
                        return
                    wait_for_room(event.assoc)
                    yield _PENDING if is_supported else _PENDING_WITHOUT_SOME_KEYS, identifier
        except QueryRefused as refusal:
            yield refusing(refusal), None
        except Exception:  # the boundary: a traceback for the log, a failure for who asked
            log.exception("query.crashed", association_id=visit.id)
            yield _UNABLE, None
        finally:
            keep_alive(event.assoc)


def read_identifier(event: evt.Event) -> Dataset:
    """Decode the identifier of a request.

    Raises
    ------
    IdentifierUnreadable
        If it cannot be.
    """
    try:
        return event.identifier
    except UNREADABLE as error:
        raise IdentifierUnreadable(f"The identifier cannot be decoded ({type(error).__name__}).") from error


def refusing(refusal: QueryRefused) -> Dataset:
    """The status of a failure, with its Error Comment (0000,0902), which is an LO (PS3.7 Annex C)."""
    status = Dataset()
    status.Status = refusal.status
    status.ErrorComment = comment_of(refusal)
    return status


def comment_of(refusal: QueryRefused) -> str:
    """The sentence of a refusal as far as an Error Comment holds it."""
    return refusal.sentence.encode("ascii", "replace").decode().replace("\\", "/")[:64]


def is_gone(association: Association) -> bool:
    """Whether nobody waits for a response any more."""
    is_open = association.is_established and association.dul.is_alive() and not association.acse.is_aborted()
    return not is_open or isinstance(association.dul.peek_next_pdu(), A_RELEASE)


def wait_for_room(association: Association) -> None:
    """Wait while too much waits to be sent; memory must not grow with the number of answers."""
    waiting = association.dul.to_provider_queue
    while waiting.qsize() > _MOST_WAITING and not is_gone(association):
        time.sleep(0.001)


def keep_alive(association: Association) -> None:
    """Let the idle time begin anew: pynetdicom counts what comes in alone, and an answer can take longer than that time."""
    association.dul._idle_timer.restart()  # noqa: SLF001
