"""Retrieve SCP: C-MOVE and C-GET of the Patient Root and Study Root models (PS3.4 sections C.4.2 and C.4.3).

pynetdicom's own service sends decoded data sets; here what is stored is sent from its file, byte for byte. So these two requests are
served here, and everything else is left to pynetdicom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_GET, C_MOVE

from node.core.errors import DeliveryError, QueryRefused, StorageError, UnknownDestination
from node.core.query import Asked, Retrieval, Root, Subject
from node.core.remote import RemoteAE
from node.dimse.associate import Caller, associate
from node.dimse.query import SYNTAXES, keep_alive
from node.dimse.scu import Outgoing
from node.dimse.suboperations import Exchange, Progress
from node.dimse.visit import FindVisit, Handler, Visit

log = structlog.get_logger(__name__)

MOVE: Mapping[str, Root] = {"1.2.840.10008.5.1.4.1.2.1.2": "PATIENT", "1.2.840.10008.5.1.4.1.2.2.2": "STUDY"}
GET: Mapping[str, Root] = {"1.2.840.10008.5.1.4.1.2.1.3": "PATIENT", "1.2.840.10008.5.1.4.1.2.2.3": "STUDY"}

#: At most this many presentation contexts fit into one association (PS3.8 section 9.3.2.2).
_MOST_CONTEXTS = 128

Select = Callable[[Asked, Dataset], tuple[Subject, Sequence[Outgoing]]]
Finish = Callable[[Asked, Subject, Retrieval], None]
#: Each file with the status of its C-STORE response; None when there was none.
Steps = Iterator[tuple[Outgoing, int | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """Where a C-MOVE may lead: remote AEs by title, and how the connections to them are secured, by name."""

    caller: Caller
    remotes: Mapping[str, RemoteAE]
    tls: Mapping[str, SSLContext]


class RetrieveService:
    """Answers C-MOVE and C-GET.

    Parameters
    ----------
    select : callable
        Called with (who asks, identifier); gives what is to be sent, or raises QueryRefused.
    finish : callable
        Told what became of it.
    """

    def __init__(self, select: Select, finish: Finish, destinations: Destinations) -> None:
        self._select, self._finish, self._destinations = select, finish, destinations

    def support(self, ae: AE) -> None:
        """Add the MOVE and GET classes of both models."""
        _config.STORE_SEND_CHUNKED_DATASET = True  # from the file, undecoded; pynetdicom keeps this for the whole process
        for uid in (*MOVE, *GET):
            ae.add_supported_context(uid, list(SYNTAXES))

    def handlers(self, visit_of: FindVisit) -> Sequence[Handler]:
        """None of pynetdicom's for these services; each association is fitted when it is established."""
        return [(evt.EVT_ESTABLISHED, lambda event: self._install(event.assoc, visit_of(event.assoc)))]

    def _install(self, association: Association, visit: Visit | None) -> None:
        """Stand between the association and its services, for this association only."""
        serve_otherwise = association._serve_request  # noqa: SLF001 - the one seam before pynetdicom's own C-MOVE and C-GET

        def serve(message: Any, context_id: int) -> None:
            context = association._accepted_cx.get(context_id)  # noqa: SLF001
            served = {C_MOVE: MOVE, C_GET: GET}.get(type(message), {})
            if visit is None or context is None or not message.is_valid_request or context.abstract_syntax not in served:
                serve_otherwise(message, context_id)
                return
            association.dimse.cancel_req = {}
            association._is_paused = True  # noqa: SLF001 - as pynetdicom does, so that a handler may send requests
            try:
                self._serve(Exchange(association, message, context), visit, served[str(context.abstract_syntax)])
            except Exception:  # the boundary: a traceback for the log, an abort for who asked
                log.exception("retrieve.crashed", association_id=visit.id)
                association.abort()
            finally:
                association._is_paused = False  # noqa: SLF001
                association.dimse.cancel_req = {}
                keep_alive(association)

        association._serve_request = serve  # type: ignore[method-assign, assignment]  # noqa: SLF001

    def _serve(self, exchange: Exchange, visit: Visit, root: Root) -> None:
        request = exchange.request
        is_move = isinstance(request, C_MOVE)
        asked = Asked(association_id=visit.id, peer=visit.peer, service="C-MOVE" if is_move else "C-GET", root=root)
        title = str(request.MoveDestination or "").strip() if isinstance(request, C_MOVE) else visit.peer.calling_ae
        try:
            subject, files = self._select(asked, exchange.read_identifier())
        except QueryRefused as refusal:
            exchange.refuse(refusal)
            return
        remote = self._destinations.remotes.get(title)
        if is_move and remote is None:
            unknown = UnknownDestination("The move destination is no [[peer]] or [[destination]].")
            exchange.refuse(unknown)
            self._finish(asked, subject, Retrieval(destination=title, status=unknown.status, reason=str(unknown)))
            return
        reasons: list[str] = []
        steps = self._move(exchange, visit, remote, files, reasons) if is_move and remote else _get(exchange, files)
        progress, gone = _carry_out(exchange, steps, len(files))
        counts = {"completed": progress.completed, "failed": progress.failed, "warned": progress.warned}
        reason = "; ".join(dict.fromkeys(reasons))
        self._finish(asked, subject, Retrieval(destination=title, status=None if gone else progress.status, reason=reason, **counts))
        if not gone:
            exchange.end(progress)

    def _move(self, exchange: Exchange, visit: Visit, remote: RemoteAE, files: Sequence[Outgoing], reasons: list[str]) -> Steps:
        """Send over associations of our own, as few as hold all presentation contexts; ``reasons`` takes why one could not be had."""
        originator = (visit.peer.calling_ae, exchange.message_id)
        for batch in batches(files):
            contexts = [build_context(*pair) for pair in dict.fromkeys(map(_pair, batch))]
            try:
                association = associate(self._destinations.caller, remote, contexts, self._destinations.tls.get(remote.name))
            except DeliveryError as error:
                reasons.append(str(error))
                yield from ((file, None) for file in batch)
                continue
            try:
                for number, file in enumerate(batch):
                    yield file, _store(association, file, number % 65535 + 1, originator)
            finally:
                if association.is_established:
                    association.release()


def _carry_out(exchange: Exchange, steps: Steps, total: int) -> tuple[Progress, bool]:
    """Go through the sub-operations until the end, a C-CANCEL, or nobody waits for them; True in the last case."""
    progress = Progress(remaining=total)
    with closing(steps):  # type: ignore[type-var]
        for file, status in steps:
            progress.count(file.sop_instance_uid, status)
            if exchange.is_gone():
                return progress, True
            progress.cancelled = progress.remaining > 0 and exchange.is_cancelled()
            if progress.cancelled:
                break
            if progress.remaining:
                exchange.tell(progress)
    return progress, False


def _get(exchange: Exchange, files: Sequence[Outgoing]) -> Steps:
    """Send over the requester's association, whatever it proposed to take as an SCP (PS3.7 Annex D.3.3.4)."""
    association = exchange.association
    roles = association.requestor.role_selection
    for number, file in enumerate(files, 1):
        role = roles.get(UID(file.sop_class_uid))
        takes = role is not None and bool(role.scp_role)
        yield file, _store(association, file, (exchange.message_id + number) % 65535 + 1) if takes else None


def _store(
    association: Association, file: Outgoing, message_id: int, originator: tuple[str, int] | tuple[None, None] = (None, None)
) -> int | None:
    """Send one file; None when it could not be sent, or nothing was answered."""
    title, number = originator
    try:
        path = file.locate() if file.locate else file.path
        response = association.send_c_store(path, msg_id=message_id, originator_aet=title, originator_id=number)
    except (OSError, RuntimeError, ValueError, AttributeError, StorageError) as error:  # no context, no association, or no such file
        log.info("suboperation.not_sent", sop_instance_uid=file.sop_instance_uid, error=type(error).__name__)
        return None
    return int(response.Status) if "Status" in response else None


def batches(files: Sequence[Outgoing]) -> Iterator[Sequence[Outgoing]]:
    """Share the files out so that no batch needs more presentation contexts than an association has."""
    number = {pair: index // _MOST_CONTEXTS for index, pair in enumerate(dict.fromkeys(map(_pair, files)))}
    for batch in range(max(number.values(), default=-1) + 1):
        yield [file for file in files if number[_pair(file)] == batch]


def _pair(file: Outgoing) -> tuple[str, str]:
    return file.sop_class_uid, file.transfer_syntax_uid
