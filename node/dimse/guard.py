"""An association has two threads in pynetdicom; however one of them ends, the association, its connection and its place end with it."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import structlog
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_P_ABORT
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.association import Association

log = structlog.get_logger(__name__)

#: A state machine that has been told to abort is done well before this.
_PATIENCE_S = 5.0


def connection_of(association: Association) -> socket.socket | None:
    """The socket of an association; None when it is closed."""
    transport = association.dul.socket
    return transport.socket if transport is not None else None


def hang_up(association: Association, how: int = socket.SHUT_RDWR) -> None:
    """Wake whoever waits for the peer: nothing more will come, or go."""
    if (connection := connection_of(association)) is not None:
        with suppress(OSError):
            socket.socket.shutdown(connection, how)  # not TLS's own, which another thread may be in


def guard(association: Association, reading_ended: Callable[[], None], ended: Callable[[], None]) -> None:
    """Stand around both threads, before they are started.

    Parameters
    ----------
    reading_ended : callable
        Called in the thread that reads the socket, when it ends.
    ended : callable
        Called when the association has ended.
    """
    _guard_reading(association, reading_ended)
    _guard_association(association, ended)
    _guard_requests(association)


def _guard_reading(association: Association, reading_ended: Callable[[], None]) -> None:
    dul = association.dul
    read, process = dul.run, dul._process_recv_primitive  # noqa: SLF001

    def run() -> None:
        try:
            read()
        except Exception as error:  # noqa: BLE001 - the boundary: pynetdicom's state machine raises at what it does not expect
            log.warning("association.broke", error=type(error).__name__)
            hang_up(association)
            asked = association.requestor.primitive is not None
            cast("Any", dul.to_user_queue).put(A_P_ABORT() if asked else None)  # None: no request will come
        finally:
            reading_ended()

    def process_primitive() -> bool:
        """Turn what is to be sent into an event, unless one waits already: it may be that the association is over."""
        if not dul.event_queue.empty():
            return True
        if dul.state_machine.current_state != "Sta13":
            return process()
        while not dul.to_provider_queue.empty():  # pynetdicom's state machine breaks at what was still to be said
            dul.to_provider_queue.get(block=False)
        return False

    dul.run, dul._process_recv_primitive = run, process_primitive  # type: ignore[method-assign]  # noqa: SLF001


def _guard_association(association: Association, ended: Callable[[], None]) -> None:
    dul, serve, kill, connection = association.dul, association.run, association.kill, connection_of(association)

    def run() -> None:
        try:
            serve()
        except Exception as error:  # noqa: BLE001 - the boundary: negotiation and service classes of pynetdicom
            log.warning("association.broke", error=type(error).__name__)
            dul.event_queue.put("Evt19")
        finally:
            dul.join(_PATIENCE_S)
            dul.kill_dul()
            hang_up(association)
            if connection is not None:
                connection.close()  # pynetdicom leaves it to the collector when the other side was faster
            ended()

    def end() -> None:
        # A request that comes just when its time is over would not be answered by anyone, nor its connection closed.
        if association.requestor.primitive is None:
            hang_up(association)
        kill()

    association.run, association.kill = run, end  # type: ignore[method-assign]


def _guard_requests(association: Association) -> None:
    serve = association._serve_request  # noqa: SLF001

    def serve_or_abort(message: Any, context_id: int) -> None:
        # pynetdicom leaves a request without what it must have unanswered, and its sender waiting. And it takes whatever names a class for
        # storage for a C-STORE; those never come here.
        is_broken = message.MessageIDBeingRespondedTo is None and not message.is_valid_request
        named = getattr(message, "AffectedSOPClassUID", None) or getattr(message, "RequestedSOPClassUID", None)
        is_storage = named is not None and uid_to_service_class(named) is StorageServiceClass
        if is_broken or is_storage or isinstance(message, C_STORE):
            log.warning("association.garbled", sentence="a request without what it must have, or an answer to nothing")
            association.dul.event_queue.put("Evt19")
            return
        serve(message, context_id)

    association._serve_request = serve_or_abort  # type: ignore[method-assign,assignment]  # noqa: SLF001
